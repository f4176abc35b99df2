"""Published and embedded weights: `load("original")`, `save`, `fetch`."""

from ohlora_lib.checkpoints.files import WeightsError, save
from ohlora_lib.checkpoints.registry import (
    CHECKPOINTS,
    EMBEDDED,
    FOLDER,
    Checkpoint,
    fetch,
    load,
    missing,
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
    "resolve",
    "save",
]
