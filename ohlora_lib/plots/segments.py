"""Figures of notebook 03: class maps over faces, where classes lie, agreement with the truth."""

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ohlora_lib.faces.classes import BACKGROUND, CLASS_NAMES, HAIR, SKIN
from ohlora_lib.measure.segments import EYE_COLUMNS, EYE_ROWS, HALF
from ohlora_lib.plots.sheets import LINE, fitting, labeled_sheet
from ohlora_lib.plots.style import DPI, INK, MUTED, SERIES

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
"""RGB of each class, in the order of CLASS_NAMES."""
OPACITY = 0.6  # of the color over the face
MOST_ROWS = 3


def overlay(faces: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Faces (N, 224, 224, 3) with their classes in color; background pixels stay as they are."""
    mixed = (1 - OPACITY) * faces + OPACITY * COLORS[maps]
    return np.where((maps == BACKGROUND)[..., None], faces, mixed.round()).astype(np.uint8)


def overlays(faces: np.ndarray, maps: np.ndarray, columns: int) -> Figure:
    """At most MOST_ROWS rows of faces (N, 224, 224, 3), each above the same faces with their
    classes; a legend."""
    columns = min(columns, len(faces), fitting(faces.shape[2]))
    rows = min(len(faces) // columns, MOST_ROWS)
    pairs = np.stack([faces, overlay(faces, maps)])[:, : rows * columns]
    in_rows = pairs.reshape(2, rows, columns, *faces.shape[1:]).swapaxes(0, 1)
    figure = labeled_sheet(in_rows.reshape(-1, *faces.shape[1:]), columns, foot=4 * LINE)
    handles = [
        Patch(color=COLORS[number] / 255, label=CLASS_NAMES[number])
        for number in range(SKIN, len(CLASS_NAMES))
    ]
    figure.legend(handles=handles, ncols=5, loc="lower center", handlelength=1.2)
    return figure


def class_frequencies(frequency: np.ndarray) -> Figure:
    """A map per class from (11, 224, 224) fractions, with the windows that the scores read."""
    figure, grid = pyplot.subplots(2, 5, figsize=(8.6, 4.1))
    for number, axes in zip(range(SKIN, len(CLASS_NAMES)), grid.flat, strict=True):
        colors = LinearSegmentedColormap.from_list("", ["white", COLORS[number] / 255 * 0.9])
        axes.imshow(frequency[number], cmap=colors, vmin=0)
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


def iou_bars(iou: pd.Series) -> Figure:
    """A bar per class (index CLASS_NAMES) and a line at the mean."""
    figure, axes = pyplot.subplots(figsize=(6.6, 3.2))
    values, mean = iou[::-1], iou.mean()
    axes.barh(list(values.index), values, color=COLORS[::-1] / 255, ec=MUTED, lw=0.5)
    axes.axvline(mean, color=SERIES[0], ls="--", lw=1.4, label=f"mean {mean:.3f}")
    for place, value in enumerate(values):
        axes.text(value + 0.01, place, f"{value:.2f}", va="center", color=INK)
    axes.set(xlabel="intersection over union", xlim=(0, 1.08))
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def detections(image: np.ndarray, boxes: np.ndarray, points: np.ndarray) -> Figure:
    """A photograph (H, W, 3) with boxes (K, 4) of faces and their points (K, 5, 2), in pixels."""
    height, width = image.shape[:2]
    figure, axes = pyplot.subplots(figsize=(width / DPI, height / DPI))
    axes.imshow(image, extent=(0, width, height, 0))
    for (left, top, right, bottom), five in zip(boxes, points, strict=True):
        corners = [(left, right, right, left, left), (top, top, bottom, bottom, top)]
        axes.plot(*corners, color=SERIES[0], lw=2)
        axes.plot(*five.T, "o", color=SERIES[0], ms=4)
    axes.set_axis_off()
    return figure
