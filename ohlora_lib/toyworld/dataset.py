"""Toy faces as image files with their truth, the same for any number of workers."""

from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import cpu_workers
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import read_table, write_table
from ohlora_lib.toyworld.renderer import face

PER_SHARD = 64
TRUTH = {
    "female": "is_female",
    "good": "is_good",
    "old": "is_old",
    "glasses_worn": "has_glasses",
}
"""Column of the table -> property of the attributes: the four conditions of the concept."""


@dataclass(frozen=True)
class FaceFolder:
    """A folder of rendered faces: images, class maps and a table with all attributes.

    The table's columns TRUTH tell whether a face is female, of good quality, old, wears glasses.
    """

    folder: Path

    @property
    def images(self) -> ImageSet:
        """The images, (N, size, size, 3)."""
        return ImageSet(self.folder / "images")

    @property
    def parse_maps(self) -> ImageSet:
        """Each pixel's class, (N, size, size)."""
        return ImageSet(self.folder / "parse_maps")

    @property
    def table(self) -> pd.DataFrame:
        """One row per face."""
        return self.images.table


@dataclass(frozen=True)
class _Task:
    faces: FaceFolder
    seed: int
    size: int
    indices: range


def make_faces(
    folder: Path, seed: int, count: int, size: int = 128, workers: int | None = None
) -> FaceFolder:
    """Render faces 0 to count - 1 of a seed into `folder` in parallel; finished shards are kept."""
    faces = FaceFolder(folder)
    jobs = []
    for start in range(0, count, PER_SHARD):
        indices = range(start, min(start + PER_SHARD, count))
        part = folder / "parts" / f"{indices.start:06d}-{indices.stop:06d}.parquet"
        jobs.append(Job(part, _Task(faces, seed, size, indices)))
    with cpu_workers(workers) as pool:
        parts = run_jobs(_render, jobs, "shards of faces", pool)
    table = pd.concat([read_table(part) for part in parts], ignore_index=True)
    faces.parse_maps.finish(table[["index"]])
    faces.images.finish(table)
    return faces


def _render(task: _Task, part: Path) -> None:
    """Render one shard; its part of the table is written last and marks it as finished."""
    cv2.setNumThreads(1)
    rendered = [face(task.seed, index, task.size) for index in task.indices]
    task.faces.images.write(task.indices, np.stack([one.image for one in rendered]))
    task.faces.parse_maps.write(task.indices, np.stack([one.parse_map for one in rendered]))
    table = pd.DataFrame([asdict(one.attributes) for one in rendered])
    table.insert(0, "index", list(task.indices))
    for column, truth in TRUTH.items():
        table[column] = [getattr(one.attributes, truth) for one in rendered]
    write_table(table, part)
