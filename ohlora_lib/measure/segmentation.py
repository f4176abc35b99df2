"""Parsed faces on disk: class maps, face crops and their boxes; areas and errors of class maps."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.compute.cluster import Cluster
from ohlora_lib.compute.jobs import Job, gather, run_jobs
from ohlora_lib.compute.workers import ready_workers, single_threaded
from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.measure.parse import Parsed, Parser, class_pixels, face_scores, parse
from ohlora_lib.measure.segments import EYE_COLUMNS, EYE_ROWS, SIZE
from ohlora_lib.store import StoreError
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import read_table, write_table
from ohlora_lib.store.work import keep_work

SHARD = 64  # faces
SEGMENTATION = ("parts", "parse_maps", "faces", "boxes.parquet")
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
        """The face crops of these maps, (N, 224, 224, 3)."""
        return ImageSet(self.folder / "faces")

    @property
    def boxes(self) -> pd.DataFrame:
        """One row per image."""
        return read_table(self.folder / "boxes.parquet", ["idx", "found", *EDGES])

    def read(self, rows: pd.DataFrame) -> Parsed:
        """The faces of some rows of `boxes`."""
        idx = rows["idx"].tolist()
        boxes = rows[EDGES].to_numpy(np.float32)
        return Parsed(self.maps.read(idx), self.faces.read(idx), boxes, rows["found"].to_numpy())

    def batches(self, size: int = SHARD) -> Iterator[Parsed]:
        """All faces in the order of `boxes`, some at a time."""
        table = self.boxes
        for at in range(0, len(table), size):
            yield self.read(table[at : at + size])


def segment(
    images: ImageSet,
    idx: np.ndarray,
    folder: Path,
    parser: Parser,
    executor: Executor | Cluster | None = None,
) -> Segmentation:
    """Parse images number `idx` of the set into `folder`, here or on an executor.

    Maps of the same images by the same parser are kept, and shards that an interrupted run has
    finished.
    """
    if not len(idx):
        raise ValueError(f"no image of {images.folder} was selected: give at least one index")
    made = Segmentation(folder)
    made_from = {"images": images, "idx": idx, "parser": parser}
    keep_work(folder, "class maps", __name__, made_from, SEGMENTATION)
    parts = [idx[at : at + SHARD] for at in range(0, len(idx), SHARD)]
    jobs = []
    for part in parts:
        path = folder / "parts" / f"{part[0]:06d}-{part[-1]:06d}.parquet"
        jobs.append(Job(path, part, partial(images.paths, part)))
    work = partial(single_threaded, _part, images, made, parser)
    tables = [read_table(path) for path in run_jobs(work, jobs, "shards of class maps", executor)]
    boxes = pd.concat(tables, ignore_index=True)
    numbers = boxes[["idx"]].rename(columns={"idx": "index"})
    made.maps.finish(numbers)
    made.faces.finish(numbers)
    write_table(boxes, folder / "boxes.parquet")
    return made


def _part(images: ImageSet, made: Segmentation, parser: Parser, idx: np.ndarray, path: Path):
    """Parse one shard; the table of boxes is written last and marks it as finished."""
    parsed = parse(images.read(idx), parser)
    made.maps.write(idx, parsed.maps)
    made.faces.write(idx, parsed.faces)
    table = pd.DataFrame(parsed.boxes, columns=EDGES)
    table.insert(0, "idx", idx)
    table.insert(1, "found", parsed.found)
    write_table(table, path)


def segmentation_scores(segmentation: Segmentation, which: Mapping[str, str]) -> pd.DataFrame:
    """Raw scores of every parsed face: idx and a column for each of `which` (column -> score)."""
    boxes = segmentation.boxes
    parts = [(_Rows(segmentation, boxes[at : at + SHARD]),) for at in range(0, len(boxes), SHARD)]
    with ready_workers() as pool:
        tables = gather(partial(single_threaded, _scores, dict(which)), parts, pool)
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "idx", boxes["idx"].to_numpy())
    return table


@dataclass(frozen=True)
class _Rows:
    """Some rows of a segmentation's boxes."""

    segmentation: Segmentation
    boxes: pd.DataFrame

    def reads(self) -> list[Path]:
        """The files of their maps and faces."""
        idx = self.boxes["idx"].tolist()
        return self.segmentation.maps.paths(idx) + self.segmentation.faces.paths(idx)


def _scores(which: dict[str, str], rows: _Rows) -> pd.DataFrame:
    return face_scores(rows.segmentation.read(rows.boxes), which)


def class_areas(segmentation: Segmentation) -> tuple[pd.DataFrame, np.ndarray]:
    """Over the faces that were found: pixels per class, one row per face (index idx); and the
    fraction of faces in which each pixel is of each class, (11, 224, 224)."""
    boxes = segmentation.boxes
    idx = boxes.loc[boxes.found, "idx"].to_numpy()
    pixels, count = np.zeros((len(idx), len(CLASS_NAMES)), np.int64), 0
    frequency = np.zeros((len(CLASS_NAMES), SIZE, SIZE))
    for at in range(0, len(idx), SHARD):
        maps = segmentation.maps.read(idx[at : at + SHARD])
        pixels[at : at + SHARD] = class_pixels(maps)
        frequency += np.stack([(maps == number).sum(0) for number in range(len(CLASS_NAMES))])
        count += len(maps)
    table = pd.DataFrame(pixels, columns=list(CLASS_NAMES), index=pd.Index(idx, name="idx"))
    return table, frequency / max(count, 1)


LARGEST_SHARE = {
    "skin": 0.7, "left brow": 0.05, "right brow": 0.05, "left eye": 0.04, "right eye": 0.04,
    "nose": 0.12, "upper lip": 0.06, "inner mouth": 0.08, "lower lip": 0.06, "hair": 0.75,
}  # fmt: skip
"""Mean share of the map that no class of real face crops exceeds, with a wide margin."""
DOWNWARDS = (("left brow", "right brow"), ("left eye", "right eye"), ("nose",),
             ("upper lip", "lower lip"))  # fmt: skip
"""Features of a face from top to bottom."""


def implausible(areas: pd.DataFrame, frequency: np.ndarray) -> list[str]:
    """What shows that these are no class maps of faces, as of a parser with wrong weights.

    Inputs are those of `class_areas`. Means over all faces: the size of each class, the features'
    order from top to bottom, and the sides of the eyes.
    """
    shares, found = (areas / SIZE**2).mean(), []
    for name, largest in LARGEST_SHARE.items():
        if shares[name] > largest:
            found.append(f"{name} covers {shares[name]:.0%} of the frame (at most {largest:.0%})")
    missing = [name for name in LARGEST_SHARE if name != "inner mouth" and not areas[name].any()]
    if missing:
        return [*found, f"no face has any {' or '.join(missing)}"]
    weights = frequency / frequency.sum((1, 2), keepdims=True).clip(1e-9)
    rows, columns = ((weights.sum(axis) * np.arange(SIZE)).sum(1) for axis in (2, 1))
    heights = [np.mean([rows[CLASS_NAMES.index(name)] for name in names]) for names in DOWNWARDS]
    for place in range(len(heights) - 1):
        if heights[place] >= heights[place + 1]:
            upper, lower = (DOWNWARDS[place + k][0].split()[-1] for k in (0, 1))
            found.append(f"the {upper} lies below the {lower}")
    if columns[CLASS_NAMES.index("left eye")] >= columns[CLASS_NAMES.index("right eye")]:
        found.append("the left eye lies right of the right eye")
    return found


def check_faces(segmentation: "Segmentation") -> pd.DataFrame:
    """The table of boxes, if the parser found a face in any image; else an error."""
    boxes = segmentation.boxes
    if not boxes["found"].any():
        raise StoreError(
            f"the parser found no face in any of {len(boxes):,} images of "
            f"{segmentation.folder.name}: look at the images, and check that the weights of the "
            "parser and its detector are those of the registry"
        )
    return boxes


def area_table(areas: pd.DataFrame) -> pd.DataFrame:
    """Pixels per class (a row per face) -> per class its area and the number of faces without."""
    percent = 100 * areas / SIZE**2
    table = pd.DataFrame(
        {
            "area (% of the frame)": percent.mean(),
            "5th percentile": percent.quantile(0.05),
            "95th percentile": percent.quantile(0.95),
            "faces without it": (areas == 0).sum(),
        }
    )
    return table.rename_axis("class")


def eye_window_fraction(frequency: np.ndarray) -> float:
    """Class frequencies (11, 224, 224) -> the fraction of eye pixels inside the eyes' windows."""
    inside = sum(frequency[eye][EYE_ROWS, columns].sum() for eye, columns in EYE_COLUMNS.items())
    return float(inside / max(frequency[list(EYE_COLUMNS)].sum(), 1e-9))


def class_confusion(truth: np.ndarray, read: np.ndarray) -> pd.DataFrame:
    """Two arrays of class ids -> pixels of each true class (rows) by the class read (columns).

    As scikit-learn's confusion_matrix, in a tenth of the time (0.3 s for 300 maps).
    """
    classes = len(CLASS_NAMES)
    pairs = truth.astype(np.int64) * classes + read
    counts = np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)
    return pd.DataFrame(counts, index=list(CLASS_NAMES), columns=list(CLASS_NAMES))


def iou(confusion: pd.DataFrame) -> pd.Series:
    """Intersection over union of every class."""
    both = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return (both / union.clip(lower=1)).rename("IoU")


def worst_confusions(confusion: pd.DataFrame, most: int = 6) -> pd.DataFrame:
    """The most frequent errors, as a fraction of the true class's pixels."""
    fraction = confusion.div(confusion.sum(axis=1).clip(lower=1), axis=0)
    values = fraction.to_numpy(copy=True)
    np.fill_diagonal(values, 0)
    true, read = np.unravel_index(np.argsort(values, axis=None)[::-1][:most], values.shape)
    return pd.DataFrame(
        {
            "true class": confusion.index[true],
            "read as": confusion.columns[read],
            "of its pixels": values[true, read],
        }
    )
