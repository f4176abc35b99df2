"""The ground floor: files, images and tables on disk, shards."""

import os
from pathlib import Path


def _project_root() -> Path:
    """The checkout that this file belongs to. An installed library: the checkout that the current
    folder lies in, or the current folder itself, so that data/ and reports/ are made there."""
    here = Path(__file__).resolve().parents[2]
    around = [here, *(folder for folder in (Path.cwd(), *Path.cwd().parents))]
    return next((folder for folder in around if (folder / "pipelines").is_dir()), Path.cwd())


ROOT = _project_root()
"""Every path that a pipeline or a notebook names is relative to this folder."""


class StoreError(Exception):
    """What a person can mend about files: the message names the file and the remedy."""


def inside_root(path: str | Path) -> Path:
    """A path that was given relative to the repository, as an absolute one inside it."""
    full = Path(os.path.normpath(ROOT / path))  # links stay: data/ may lie on a larger disk
    if not full.is_relative_to(ROOT):
        raise StoreError(f"{path} lies outside the repository: give a path below it")
    return full
