"""Published and embedded weights: `load("original")`, `save`, `fetch`.

torch is imported with the first use, not with this package: `resolver` does without.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ohlora_lib.store import ROOT

if TYPE_CHECKING:
    from ohlora_lib.checkpoints.files import WeightsError, save
    from ohlora_lib.checkpoints.registry import (
        CHECKPOINTS,
        Checkpoint,
        fetch,
        load,
        missing,
        problem,
        resolve,
    )

__all__ = [
    "CHECKPOINTS",
    "EMBEDDED",
    "FOLDER",
    "Checkpoint",
    "WeightsError",
    "fetch",
    "load",
    "missing",
    "problem",
    "resolve",
    "save",
]
FOLDER = ROOT / "data" / "weights"
EMBEDDED = Path(__file__).resolve().parents[1] / "weights"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ohlora_lib.checkpoints import registry

    return getattr(registry, name)
