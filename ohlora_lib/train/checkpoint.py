"""Reproducible and resumable training: a random stream per step, and checkpoints on disk.

Step `n` of a training draws all its random numbers from `stream(seed, n)`. So a checkpoint needs no
random state, and a resumed run takes the same steps as an uninterrupted one.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ohlora_lib.store.atomic import atomic_path


def stream(seed: int, step: int) -> np.random.Generator:
    """The random generator of one training step."""
    return np.random.default_rng([seed, step])


def save_checkpoint(training, path: Path, **reached: Any) -> None:
    """Write `training.identity`, the state of all `training.parts` and `reached`, atomically."""
    parts = {name: part.state_dict() for name, part in training.parts.items()}
    with atomic_path(path) as temporary:
        torch.save({"identity": training.identity, "parts": parts, "reached": reached}, temporary)


def load_checkpoint(training, path: Path) -> dict[str, Any] | None:
    """Restore `training.parts` and return `reached`.

    None if there is no checkpoint or it belongs to another training (its identity differs).
    """
    if not path.exists():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["identity"] != training.identity:
        return None
    for name, part in training.parts.items():
        part.load_state_dict(content["parts"][name])
    return content["reached"]
