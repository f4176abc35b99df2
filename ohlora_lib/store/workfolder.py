"""A folder that belongs to one piece of work: kept while the work is the same, emptied when not."""

import json
import os
import shutil
from pathlib import Path

from ohlora_lib.store import ROOT, StoreError, inside_root
from ohlora_lib.store.atomic import sweep, write_json

IDENTITY = "made_by.json"
FINGERPRINT = "OHLORA_FINGERPRINT"
"""The environment variable in which the runner hands down a digest of all that a stage rests on."""


def claim(path: str, parameters: dict[str, object]) -> Path:
    """The folder below data/ for the work that `parameters` (and the FINGERPRINT, if any) describe.

    What the same work left there unfinished stays, so it can go on; another work's files go. A
    folder that holds anything else is refused: nothing is deleted that this did not make.
    """
    folder = inside_root(path)
    if not folder.is_relative_to(ROOT / "data") or folder == ROOT / "data":
        raise StoreError(f"out = {path!r}: notebooks write into a folder below data/")
    mark = folder / IDENTITY
    identity = {"parameters": parameters, "fingerprint": os.environ.get(FINGERPRINT, "")}
    if _read(mark) != identity:
        release(folder)
        write_json(mark, identity)
    sweep(folder)
    return folder


def release(folder: Path) -> None:
    """Delete a folder that `claim` made; refuse one that it did not make."""
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / IDENTITY).exists():
        raise StoreError(f"{folder} holds files that no notebook made: move them away first")
    shutil.rmtree(folder)


def _read(mark: Path) -> object:
    try:
        return json.loads(mark.read_text())
    except (OSError, ValueError):
        return None  # none yet, or a damaged one: the work starts anew
