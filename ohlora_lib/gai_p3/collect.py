"""The images of GAI-P3: women, men and unlabeled faces, each with a brighter or darker variant.

By default faces are rendered, so that the truth about each is known; a person's own photographs
come from three folders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ohlora_lib.faces.classes import BACKGROUND, HAIR
from ohlora_lib.measure.conditions import conditions_of
from ohlora_lib.models.nvae import CONDITIONS
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import atomic_path
from ohlora_lib.store.tables import read_table, write_table
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, FEMALE, sample_attributes
from ohlora_lib.toyworld.face_sets import Faces, FaceSet, load_faces

KINDS = ("female", "male", "unlabeled")
LABELED_SEED, UNLABELED_SEED = 20_036, 20_037  # of rendered faces; no other stage renders these
RATIOS = tuple(
    np.round(np.concatenate([np.arange(6) * 0.024 + start for start in (0.84, 1.04)]), 3)
)
"""The author's twelve brightness factors, used in turn: 0.84 … 0.96 and 1.04 … 1.16."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
REGIONS = {"hair_color": HAIR, "background": BACKGROUND}
"""Condition -> the class whose brightness it describes."""


@dataclass(frozen=True)
class Collection:
    """A folder with images.npy, (N, R, R, 3) uint8, and table.parquet, one row per image.

    Columns: kind (of KINDS), name (a file name), source (row of the original image), ratio (its
    brightness factor, 1 for an original), and, if known, the truth: female and the conditions.
    """

    folder: Path

    @property
    def images(self) -> np.ndarray:
        path = self.folder / "images.npy"
        if not path.exists():
            raise StoreError(f"{path} is missing: run notebook gai_p3/01_collect first")
        return np.load(path, mmap_mode="r")

    @property
    def table(self) -> pd.DataFrame:
        return read_table(self.folder / "table.parquet", ["kind", "name", "source", "ratio"])

    @classmethod
    def write(cls, folder: Path, images: np.ndarray, table: pd.DataFrame) -> "Collection":
        with atomic_path(folder / "images.npy") as temporary, temporary.open("wb") as file:
            np.save(file, images)
        write_table(table, folder / "table.parquet")
        return cls(folder)


# Rendered faces


def rendered_originals(counts: Mapping[str, int], size: int) -> tuple[Faces, pd.DataFrame]:
    """Rendered faces and their table: `counts` by kind. Women and men are the first of one seed."""
    number = _enough(counts["female"], counts["male"])
    labeled = load_faces(FaceSet(LABELED_SEED, number, size))
    female = labeled.column("gender") > FEMALE
    parts = []
    for kind, rows in (("female", np.flatnonzero(female)), ("male", np.flatnonzero(~female))):
        parts.append((kind, labeled.part(rows[: counts[kind]])))
    if counts["unlabeled"]:
        unlabeled = FaceSet(UNLABELED_SEED, counts["unlabeled"], size)
        parts.append(("unlabeled", load_faces(unlabeled)))
    faces, tables = None, []
    for kind, some in parts:
        faces = some if faces is None else faces.with_others(some)
        tables.append(pd.DataFrame({"kind": kind, "name": _names(kind, len(some))}))
    table = pd.concat(tables, ignore_index=True)
    table["female"] = faces.column("gender") > FEMALE
    table[list(CONDITIONS)] = true_conditions(faces)
    return faces, table


def true_conditions(faces: Faces) -> np.ndarray:
    """Rendered faces -> their conditions (N, 5)."""
    return conditions_of({name: faces.column(name) for name in ATTRIBUTE_NAMES})


def _enough(women: int, men: int) -> int:
    """How many faces of the seed have this many women and men among them."""
    wanted, number = {True: women, False: men}, 0
    while max(wanted.values()) > 0:
        wanted[bool(sample_attributes(LABELED_SEED, number).is_female)] -= 1
        number += 1
    return number


def _names(kind: str, count: int) -> list[str]:
    return [f"{kind}/{number:05d}.png" for number in range(count)]


def collect_rendered(
    folder: Path, counts: Mapping[str, int], size: int
) -> tuple[Collection, dict[str, "Brightness"]]:
    """Rendered faces and their variants with corrected conditions, and how those were corrected."""
    faces, table = rendered_originals(counts, size)
    images, table = with_variants(np.array(faces.images), table)
    table, relations = correct_conditions(images, table, np.array(faces.maps))
    return Collection.write(folder, images, table), relations


def collect_photographs(folder: Path, folders: Mapping[str, Path], size: int) -> Collection:
    """Photographs and their variants."""
    return Collection.write(folder, *with_variants(*photographs(folders, size)))


# A person's photographs


def read_folder(folder: Path, size: int) -> tuple[np.ndarray, list[str]]:
    """The images of a folder by name order -> (N, size, size, 3) uint8 and the names.

    The largest centered square of each is resized.
    """
    if not folder.is_dir():
        raise StoreError(f"{folder} is no folder: give one with images ({', '.join(SUFFIXES)})")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise StoreError(f"{folder} has no images ({', '.join(SUFFIXES)})")
    return np.stack([_read_square(path, size) for path in paths]), [path.name for path in paths]


def _read_square(path: Path, size: int) -> np.ndarray:
    content = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise StoreError(f"{path} cannot be read as an image: replace or remove it")
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    way = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.cvtColor(cv2.resize(square, (size, size), interpolation=way), cv2.COLOR_BGR2RGB)


def photographs(folders: Mapping[str, Path], size: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Folders by kind -> images and table; nothing is known about them but the kind."""
    images, tables = [], []
    for kind, folder in folders.items():
        found, names = read_folder(folder, size)
        images.append(found)
        tables.append(pd.DataFrame({"kind": kind, "name": [f"{kind}/{name}" for name in names]}))
    return np.concatenate(images), pd.concat(tables, ignore_index=True)


# Brightness


def change_brightness(images: np.ndarray, ratios: Sequence[float] | np.ndarray) -> np.ndarray:
    """The author's rule: r · x below 1, (2 - r) · x + 255 (r - 1) above; (N, H, W, 3) uint8."""
    r = np.asarray(ratios, np.float32)[:, None, None, None]
    factor, added = np.where(r < 1, r, 2 - r), np.where(r < 1, 0, 255 * (r - 1))
    changed = np.empty_like(images)
    for at in range(0, len(images), 512):  # in parts: float32 takes four times the memory
        part = slice(at, at + 512)
        changed[part] = np.rint(factor[part] * images[part] + added[part])
    return changed


def with_variants(images: np.ndarray, table: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Originals, and after them a variant of each, its brightness factor taken from RATIOS in turn;
    conditions are still those of the originals."""
    rows = np.arange(len(images))
    ratios = np.array(RATIOS)[rows % len(RATIOS)]
    originals = table.assign(source=rows, ratio=1.0)
    variants = table.assign(source=rows, ratio=ratios)
    variants["name"] = [
        f"{Path(name).with_suffix('')}_{ratio:.3f}.png"
        for name, ratio in zip(table["name"], ratios, strict=True)
    ]
    both = np.concatenate([images, change_brightness(images, ratios)])
    return both, pd.concat([originals, variants], ignore_index=True)


def region_brightness(images: np.ndarray, maps: np.ndarray, region: int) -> np.ndarray:
    """(N,) mean luma 0..1 of the pixels of a class in (N, H, W); NaN where there are none."""
    inside = maps == region
    luma = np.array(images) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    count = inside.sum((1, 2))
    return np.where(count > 0, (luma * inside).sum((1, 2)) / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class Brightness:
    """How a condition depends on the brightness of its region, fitted on originals.

    `slope`: of the condition over the luma; `r`: their correlation.
    """

    slope: float
    r: float

    @classmethod
    def fit(cls, luma: np.ndarray, values: np.ndarray) -> "Brightness":
        known = np.isfinite(luma)
        slope = np.polyfit(luma[known], values[known], 1)[0]
        return cls(float(slope), float(np.corrcoef(luma[known], values[known])[0, 1]))

    def corrected(self, values: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Conditions of images whose region's luma has changed, within 0..1."""
        change = np.nan_to_num(after - before)
        return np.clip(values + self.slope * change, 0, 1)


def correct_conditions(
    images: np.ndarray, table: pd.DataFrame, maps: np.ndarray
) -> tuple[pd.DataFrame, dict[str, Brightness]]:
    """The table of `with_variants` with the true hair color and background of the variants, and the
    relations used; `maps` (N, H, W) are the class maps of the originals."""
    table, count, found = table.copy(), len(maps), {}
    for name, region in REGIONS.items():
        before = region_brightness(images[:count], maps, region)
        after = region_brightness(images[count:], maps, region)
        values = table[name].to_numpy()[:count]
        found[name] = Brightness.fit(before, values)
        corrected = found[name].corrected(values, before, after)
        table.loc[count:, name] = corrected.astype(np.float32)
    return table, found
