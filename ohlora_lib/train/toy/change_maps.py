"""Where the defects and the glasses of a rendered face are: its difference from the same face
without them.

They are small and rare, so a generator learns them only if their pixels are weighted up.
"""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import cpu_workers
from ohlora_lib.toyworld.attributes import GLASSES, FaceAttributes
from ohlora_lib.toyworld.face_sets import (
    CACHE,
    DEFECTS_BELOW,
    PER_SHARD,
    Faces,
    FaceSet,
    texture_seeds,
)
from ohlora_lib.toyworld.renderer import render

FULL = 32  # gray levels of difference at which a pixel counts fully


@dataclass(frozen=True)
class ChangeMaps:
    """`changes` (M, S, S) uint8: the largest change of a color, for the faces `rows` (M,)."""

    rows: np.ndarray
    changes: np.ndarray

    def of(self, rows: np.ndarray) -> np.ndarray:
        """(N, S, S) weights in 0..1 for some of the faces: 0 where nothing rare is."""
        found = np.zeros((len(rows), *self.changes.shape[1:]), np.float32)
        for i, row in enumerate(rows):
            at = np.searchsorted(self.rows, row)
            if at < len(self.rows) and self.rows[at] == row:
                found[i] = np.minimum(self.changes[at] / FULL, 1)
        return found


def load_change_maps(
    wanted: FaceSet, faces: Faces, cache: Path = CACHE, workers: int | None = None
) -> ChangeMaps:
    """The change maps of `faces`, which are the set `wanted`; rendered once and cached."""
    rare = (faces.column("quality") < DEFECTS_BELOW) | (faces.column("glasses") > GLASSES)
    rows, jobs = np.flatnonzero(rare), []
    for start in range(0, len(rows), PER_SHARD):
        those = rows[start : start + PER_SHARD]
        some = faces.part(those)
        path = cache / f"{faces.name}-changes" / f"{start:06d}-{len(those)}.npy"
        jobs.append(Job(path, (wanted, those, some.images, some.attributes)))
    with cpu_workers(workers) if len(jobs) > 1 else contextlib.nullcontext() as executor:
        shards = run_jobs(_render_changes, jobs, "faces without defects and glasses", executor)
    empty = np.zeros((0, *faces.images.shape[1:3]), np.uint8)
    return ChangeMaps(rows, np.concatenate([empty, *(np.load(shard) for shard in shards)]))


def _render_changes(task, path: Path) -> None:
    changes = np.stack([_change(task[0], *face) for face in zip(*task[1:], strict=True)])
    with path.open("wb") as file:
        np.save(file, changes)


def _change(wanted, index, image, values):
    good = replace(FaceAttributes(*map(float, values)), quality=1.0, glasses=0.0)
    texture, hair = texture_seeds(wanted, int(index))
    clean = render(good, texture, len(image), hair).image.astype(int)
    return np.abs(clean - image).max(2).astype(np.uint8)
