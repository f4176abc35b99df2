"""Where a poor face's defects are: how far each pixel is from the same face without them.

Defects are small and rare. A generator that is to draw them needs to be told where they are.
"""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import processes
from ohlora_lib.toyworld.attributes import FaceAttributes
from ohlora_lib.toyworld.face_sets import CACHE, DEFECTS_BELOW, PER_SHARD, Faces
from ohlora_lib.toyworld.renderer import render

CLEAR = 32  # levels from which on a pixel counts as wholly spoiled


@dataclass(frozen=True)
class Spoiled:
    """`changes` (M, S, S) uint8, the largest of the three colors' each, and of which faces."""

    rows: np.ndarray
    changes: np.ndarray

    def of(self, rows: np.ndarray) -> np.ndarray:
        """(N, S, S) 0..1 for some of the faces: 0 wherever nothing is wrong."""
        found = np.zeros((len(rows), *self.changes.shape[1:]), np.float32)
        for i, row in enumerate(rows):
            at = np.searchsorted(self.rows, row)
            if at < len(self.rows) and self.rows[at] == row:
                found[i] = np.minimum(self.changes[at] / CLEAR, 1)
        return found


def load_spoiled(faces: Faces, cache: Path = CACHE, workers: int | None = None) -> Spoiled:
    """For faces of shared texture: what their defects changed, rendered first where need be."""
    rows = np.flatnonzero(faces.column("quality") < DEFECTS_BELOW)
    jobs = []
    for start in range(0, len(rows), PER_SHARD):
        some = faces.part(rows[start : start + PER_SHARD])
        path = cache / f"{faces.name}-spoiled" / f"{start:06d}-{len(some.images)}.npy"
        jobs.append(Job(path, (some.images, some.attributes)))
    with processes(workers) if len(jobs) > 1 else contextlib.nullcontext() as executor:
        shards = run_jobs(_render_changes, jobs, "faces without their defects", executor)
    empty = np.zeros((0, *faces.images.shape[1:3]), np.uint8)
    return Spoiled(rows, np.concatenate([empty, *(np.load(shard) for shard in shards)]))


def _render_changes(task, path: Path) -> None:
    images, attributes = task
    changes = np.stack([_change(*face) for face in zip(images, attributes, strict=True)])
    with path.open("wb") as file:
        np.save(file, changes)


def _change(image, values):
    good = replace(FaceAttributes(*map(float, values)), quality=1.0)
    clean = render(good, 0, len(image)).image.astype(int)
    return np.abs(clean - image).max(2).astype(np.uint8)
