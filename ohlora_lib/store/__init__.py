"""Files on disk: atomic writes, manifests, image sets, tables, work folders."""

import os
from pathlib import Path


def _project_root() -> Path:
    """The checkout of this file. For an installed library: the checkout around the current
    folder, or the current folder itself, where data/ and reports/ are then created."""
    here = Path(__file__).resolve().parents[2]
    around = [here, *(folder for folder in (Path.cwd(), *Path.cwd().parents))]
    return next((folder for folder in around if (folder / "pipelines").is_dir()), Path.cwd())


ROOT = _project_root()
"""Every path that a pipeline or a notebook names is relative to this folder."""


class StoreError(Exception):
    """A problem with files that the user can fix: the message names the file and what to do."""


def inside_root(path: str | Path) -> Path:
    """A path relative to the repository -> the absolute path; it must be inside."""
    full = Path(os.path.normpath(ROOT / path))  # links are kept: data/ may be on a larger disk
    if not full.is_relative_to(ROOT):
        raise StoreError(f"{path} is outside the repository: give a path inside it")
    return full
