"""The files that a name of weights stands for: the `resolver` of the pipelines.

The runner asks before every stage, so torch and the registry are imported only if the answer
depends on published files.
"""

import fnmatch
import json
from contextlib import suppress
from pathlib import Path

from ohlora_lib.checkpoints import EMBEDDED, FOLDER
from ohlora_lib.store import ROOT

SPEED = ROOT / "data" / "speed.json"


def files(word: str) -> list[Path]:
    """The files that `load(word)` reads, as far as they exist; [] if the word names no weights."""
    for folder in (FOLDER, EMBEDDED):
        with suppress(OSError):  # the word is too long for a file name
            if (folder / f"{word}.safetensors").is_file():
                return [folder / f"{word}.safetensors"]
    if not FOLDER.is_dir():
        return []
    from ohlora_lib.checkpoints.registry import CHECKPOINTS, installed

    return installed(CHECKPOINTS[word], FOLDER) if word in CHECKPOINTS else []


def names(pattern: str) -> list[str]:
    """The published weights whose names match a pattern such as 'age-?'."""
    from ohlora_lib.checkpoints.registry import CHECKPOINTS

    return fnmatch.filter(CHECKPOINTS, pattern)


def problem(word: str) -> str:
    """Why published weights of this name cannot be loaded and what to do; "" otherwise."""
    from ohlora_lib.checkpoints import registry

    return registry.problem(word) if word in registry.CHECKPOINTS else ""


def measure() -> None:
    """Measure how fast this machine runs the networks (about a minute)."""
    from ohlora_lib.checkpoints import speed

    speed.measure()


def measured() -> dict[str, object]:
    """What `measure` found: constants of the pipelines, `device` and `day`; {} before."""
    with suppress(OSError, ValueError):
        return json.loads(SPEED.read_text())
    return {}
