"""The ground floor: files, images and tables on disk, shards."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository: every path that a pipeline or a notebook names is relative to it."""


class StoreError(Exception):
    """What a person can mend about files: the message names the file and the remedy."""


def inside_root(path: str | Path) -> Path:
    """A path that was given relative to the repository, as an absolute one inside it."""
    full = Path(os.path.normpath(ROOT / path))  # links stay: data/ may lie on a larger disk
    if not full.is_relative_to(ROOT):
        raise StoreError(f"{path} lies outside the repository: give a path below it")
    return full
