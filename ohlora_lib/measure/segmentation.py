"""Parsed faces on disk: a folder of class maps, one of face images, and where the faces were."""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import single_threaded
from ohlora_lib.measure.parse import Parsed, Parser, parse
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import read_table, write_table

AT_ONCE = 64
EDGES = ["x1", "y1", "x2", "y2"]


@dataclass(frozen=True)
class Segmentation:
    """`parse_maps/`, `faces/` (PNG, numbered as the images) and boxes.parquet, written last.

    The table has idx, found, and the box x1, y1, x2, y2 in the image's pixels.
    """

    folder: Path

    @property
    def maps(self) -> ImageSet:
        """Class maps, (N, 224, 224)."""
        return ImageSet(self.folder / "parse_maps")

    @property
    def faces(self) -> ImageSet:
        """The pixels that they are of, (N, 224, 224, 3)."""
        return ImageSet(self.folder / "faces")

    @property
    def boxes(self) -> pd.DataFrame:
        """A row for each image."""
        return read_table(self.folder / "boxes.parquet", ["idx", "found", *EDGES])

    def read(self, rows: pd.DataFrame) -> Parsed:
        """The faces of some of the table's rows."""
        idx = rows["idx"].tolist()
        boxes = rows[EDGES].to_numpy(np.float32)
        return Parsed(self.maps.read(idx), self.faces.read(idx), boxes, rows["found"].to_numpy())

    def batches(self, size: int = AT_ONCE):
        """All of them, some at a time."""
        table = self.boxes
        for at in range(0, len(table), size):
            yield self.read(table[at : at + size])


def segment(
    images: ImageSet,
    idx: np.ndarray,
    folder: Path,
    parser: Parser,
    executor: Executor | None = None,
) -> Segmentation:
    """Parse these of the set's images into `folder`, here or on an executor's processes; what a
    killed run finished is kept."""
    if not len(idx):
        raise ValueError(f"none of the images of {images.folder} is to be parsed: choose some")
    made = Segmentation(folder)
    parts = [idx[at : at + AT_ONCE] for at in range(0, len(idx), AT_ONCE)]
    jobs = [Job(folder / "parts" / f"{part[0]:06d}-{part[-1]:06d}.parquet", part) for part in parts]
    work = partial(single_threaded, _part, images, made, parser)
    tables = [read_table(path) for path in run_jobs(work, jobs, "parts", executor)]
    boxes = pd.concat(tables, ignore_index=True)
    numbers = boxes[["idx"]].rename(columns={"idx": "index"})
    made.maps.finish(numbers)
    made.faces.finish(numbers)
    write_table(boxes, folder / "boxes.parquet")
    return made


def _part(images: ImageSet, made: Segmentation, parser: Parser, idx: np.ndarray, path: Path):
    """Parse some; the table of their boxes is the file that says that all are there."""
    parsed = parse(images.read(idx), parser)
    made.maps.write(idx, parsed.maps)
    made.faces.write(idx, parsed.faces)
    table = pd.DataFrame(parsed.boxes, columns=EDGES)
    table.insert(0, "idx", idx)
    table.insert(1, "found", parsed.found)
    write_table(table, path)
