"""What notebook 03 does and draws: class maps over faces, what they miss, and how true they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ohlora_lib.faces.classes import BACKGROUND, CLASS_NAMES, HAIR, SKIN
from ohlora_lib.measure.parse import PARSERS, Parsed, class_pixels
from ohlora_lib.measure.rendered import ParsedTruth
from ohlora_lib.measure.segmentation import SHARD, Segmentation
from ohlora_lib.measure.segments import EYE_COLUMNS, EYE_ROWS, HALF, SIZE
from ohlora_lib.plots.sheets import contact_sheet, labeled_sheet, paste
from ohlora_lib.plots.style import INK, MUTED, SERIES
from ohlora_lib.runner.settings import Between, OneOf, Settings
from ohlora_lib.store import inside_root
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import read_table
from ohlora_lib.toyworld.dataset import make_faces

COLORS = np.array(
    [
        (245, 245, 245),
        (244, 190, 150),
        (150, 90, 40),
        (200, 140, 60),
        (40, 110, 220),
        (30, 190, 220),
        (245, 200, 40),
        (215, 40, 100),
        (110, 10, 50),
        (240, 110, 170),
        (120, 80, 190),
    ],
    np.uint8,
)
"""A color for each class, as CLASS_NAMES orders them."""
STRENGTH = 0.6  # of the color over the face


@dataclass(frozen=True)
class SegmentSettings(Settings):
    """Which images: 01's folder and, of those, the `idx` of a table (02's); without, rendered ones.

    `rendered` faces, whose true maps are known, check the parser; 0 leaves that out.
    """

    images: str
    kept: str
    parser: Annotated[str, OneOf(PARSERS)]
    rendered: Annotated[int, Between(0, 100_000)]
    columns: Annotated[int, Between(4, 12)]


def images_to_segment(settings: SegmentSettings, folder: Path) -> tuple[ImageSet, np.ndarray]:
    """The pictures and the numbers of those to parse."""
    if not settings.images:
        count = max(settings.rendered, 1)
        pictures = make_faces(folder / "rendered", settings.seed, count).images
    else:
        pictures = ImageSet(inside_root(settings.images))
    if settings.kept:
        return pictures, read_table(inside_root(settings.kept), ["idx"])["idx"].to_numpy()
    return pictures, pictures.table["index"].to_numpy()


def origin(settings: Settings, images: str) -> str:
    """Where the pictures come from, for the foot of the page."""
    return f"images in {images}" if images else f"toy world, rendered with seed {settings.seed}"


@dataclass(frozen=True)
class Areas:
    """Over all faces that were found: pixels of each class, and how often each pixel is of it."""

    pixels: pd.DataFrame  # a row for each face, by its idx
    shares: np.ndarray  # (11, 224, 224)


def measure_areas(made: Segmentation) -> Areas:
    """Read all maps, some at a time."""
    boxes = made.boxes
    idx = boxes.loc[boxes.found, "idx"].tolist()
    shares, pixels = np.zeros((len(CLASS_NAMES), SIZE, SIZE)), []
    for at in range(0, len(idx), SHARD):
        maps = made.maps.read(idx[at : at + SHARD])
        shares += np.stack([(maps == number).sum(0) for number in range(len(CLASS_NAMES))])
        pixels.append(class_pixels(maps))
    counted = np.concatenate([np.zeros((0, len(CLASS_NAMES)), int), *pixels])
    table = pd.DataFrame(counted, columns=list(CLASS_NAMES), index=pd.Index(idx, name="idx"))
    return Areas(table, shares / max(len(idx), 1))


def overlay(faces: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Faces (N, 224, 224, 3) with their classes in color; the background stays as it is."""
    mixed = (1 - STRENGTH) * faces + STRENGTH * COLORS[maps]
    return np.where((maps == BACKGROUND)[..., None], faces, mixed.round()).astype(np.uint8)


def overlays(parsed: Parsed, columns: int) -> Figure:
    """Rows of faces, each row above the same faces with their segments; the colors' legend."""
    columns = min(columns, len(parsed.faces))
    rows = len(parsed.faces) // columns
    drawn = overlay(parsed.faces, parsed.maps)
    pairs = [
        half[row * columns : (row + 1) * columns]
        for row in range(rows)
        for half in (parsed.faces, drawn)
    ]
    sheet = contact_sheet(np.concatenate(pairs), columns)
    width = 8.6
    figure, axes = pyplot.subplots(figsize=(width, width * sheet.shape[0] / sheet.shape[1] + 0.6))
    paste(axes, sheet)
    axes.set_axis_off()
    handles = [
        Patch(color=COLORS[number] / 255, label=CLASS_NAMES[number])
        for number in range(SKIN, len(CLASS_NAMES))
    ]
    figure.legend(handles=handles, ncols=5, loc="outside lower center", handlelength=1.2)
    return figure


def area_table(areas: Areas) -> pd.DataFrame:
    """Each class's share of the frame over the faces, and in how many faces it is missing."""
    share = 100 * areas.pixels / SIZE**2
    table = pd.DataFrame(
        {
            "area (% of the frame)": share.mean(),
            "5th percentile": share.quantile(0.05),
            "95th percentile": share.quantile(0.95),
            "faces without it": (areas.pixels == 0).sum(),
        }
    )
    return table.rename_axis("class")


def where_classes_lie(areas: Areas) -> Figure:
    """How often each pixel is of each class, with the windows in which the scores look."""
    figure, grid = pyplot.subplots(2, 5, figsize=(8.6, 4.1))
    for number, axes in zip(range(SKIN, len(CLASS_NAMES)), grid.flat, strict=True):
        colors = LinearSegmentedColormap.from_list("", ["white", COLORS[number] / 255 * 0.9])
        axes.imshow(areas.shares[number], cmap=colors, vmin=0)
        axes.set_title(CLASS_NAMES[number], loc="center")
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(True)
        if number in EYE_COLUMNS:
            rows, columns = EYE_ROWS, EYE_COLUMNS[number]
            corner = (columns.start, rows.start)
            width, height = columns.stop - columns.start, rows.stop - rows.start
            axes.add_patch(Rectangle(corner, width, height, fill=False, ec=INK, ls="--"))
        if number == HAIR:
            axes.axhline(HALF, color=INK, ls="--", lw=1)
    return figure


def windows_told(areas: Areas) -> str:
    """Whether the eyes lie in the windows that the published scores look in."""
    inside = total = 0.0
    for number, columns in EYE_COLUMNS.items():
        inside += areas.shares[number][EYE_ROWS, columns].sum()
        total += areas.shares[number].sum()
    return (
        f"Of all eye pixels {inside / max(total, 1e-9):.1%} lie in the windows (dashed) in which "
        "the published scores look for them; the line across the hair is where the lower half "
        "begins, from which the hairstyle is read."
    )


def lacking(areas: Areas, most: int) -> tuple[list[int], list[str]]:
    """Up to `most` faces that lack a class, those that lack most first: numbers, what they lack."""
    missing = areas.pixels == 0
    order = missing.sum(axis=1).sort_values(ascending=False, kind="stable")
    idx = order[order > 0].index[:most].tolist()
    names = [[name for name in CLASS_NAMES if missing.at[number, name]] for number in idx]
    return idx, ["no " + "\nno ".join(name[:3]) for name in names]


def lacking_sheet(made: Segmentation, idx: list[int], names: list[str]) -> Figure:
    """Those faces, and below each what was read."""
    rows = made.boxes.set_index("idx").loc[idx].reset_index()
    parsed = made.read(rows)
    images = np.concatenate([parsed.faces, overlay(parsed.faces, parsed.maps)])
    return labeled_sheet(images, len(idx), rows=["face", "read as"], heads=names)


def failures_told(made: Segmentation, areas: Areas) -> str:
    """How many images had no face, and how many faces lack a class."""
    found, total = int(made.boxes.found.sum()), len(made.boxes)
    lacks = int((areas.pixels == 0).any(axis=1).sum())
    none = "In every image" if found == total else f"In {found:,} of {total:,} images"
    if not lacks:
        return f"{none} a face was found. No face lacks a class."
    return (
        f"{none} a face was found. {lacks:,} faces ({lacks / max(found, 1):.1%}) lack at least one "
        "class: hair over a brow, closed lips, a turned head. What the scores then say is fixed "
        "(a missing eye gives the pose 0, no open mouth the mouth 0)."
    )


def iou(rendered: ParsedTruth) -> pd.Series:
    """Intersection over union of every class with the truth, over the faces that were found."""
    truth, said = rendered.maps[rendered.parsed.found], rendered.parsed.maps[rendered.parsed.found]
    both = confusion(truth, said)
    union = both.sum(0) + both.sum(1) - np.diag(both)
    return pd.Series(np.diag(both) / np.maximum(union, 1), index=list(CLASS_NAMES), name="IoU")


def confusion(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Two sets of maps -> (11, 11) pixels of each true class by the class that was read."""
    classes = len(CLASS_NAMES)
    places = truth.astype(np.int64) * classes + said
    return np.bincount(places.ravel(), minlength=classes**2).reshape(classes, classes)


def iou_bars(values: pd.Series) -> Figure:
    """A bar for each class and the mean."""
    figure, axes = pyplot.subplots(figsize=(6.6, 3.2))
    names, heights = list(values.index), values.to_numpy()
    axes.barh(names[::-1], heights[::-1], color=(COLORS[::-1] / 255), ec=MUTED, lw=0.5)
    axes.axvline(
        heights.mean(), color=SERIES[0], ls="--", lw=1.4, label=f"mean {heights.mean():.3f}"
    )
    for place, value in enumerate(heights[::-1]):
        axes.text(value + 0.01, place, f"{value:.2f}", va="center", color=INK)
    axes.set(xlabel="intersection over union", xlim=(0, 1.08))
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def confusions(rendered: ParsedTruth, most: int = 6) -> pd.DataFrame:
    """The commonest errors, as a share of the true class's pixels."""
    found = rendered.parsed.found
    both = confusion(rendered.maps[found], rendered.parsed.maps[found])
    share = both / np.maximum(both.sum(1, keepdims=True), 1)
    np.fill_diagonal(share, 0)
    worst = np.argsort(share, axis=None)[::-1][:most]
    rows = [
        {
            "truly": CLASS_NAMES[true],
            "read as": CLASS_NAMES[said],
            "of its pixels": share[true, said],
        }
        for true, said in zip(*np.unravel_index(worst, share.shape), strict=True)
    ]
    table = pd.DataFrame(rows)
    return table.assign(**{"of its pixels": table["of its pixels"].map("{:.1%}".format)})


def found(made: Segmentation, rendered: ParsedTruth | None) -> tuple[str, dict[str, str]]:
    """The page's finding and headline."""
    boxes = made.boxes
    share = boxes.found.mean()
    sentence = f"A face was found in {share:.1%} of {len(boxes):,} images"
    headline = {"images with a face": f"{boxes.found.sum():,} of {len(boxes):,}"}
    if rendered is None or not rendered.parsed.found.any():
        return f"{sentence}; how true the maps are is not known for these.", headline
    values = iou(rendered)
    sentence += (
        f"; on {len(rendered.maps):,} rendered faces, where the truth is known, the maps agree "
        f"with it to a mean IoU of {values.mean():.2f} "
        f"(worst: {values.idxmin()}, {values.min():.2f})."
    )
    return sentence, headline | {"mean IoU on rendered faces": f"{values.mean():.3f}"}
