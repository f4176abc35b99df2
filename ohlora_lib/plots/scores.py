"""Figures of notebook 04: distributions, correlations, extremes and truth of the scores."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ohlora_lib.faces.classes import (
    BACKGROUND,
    HAIR,
    INNER_MOUTH,
    LEFT_EYE,
    LOWER_LIP,
    RIGHT_EYE,
    UPPER_LIP,
)
from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.measure.rendered import TRUE_ATTRIBUTES
from ohlora_lib.measure.scores import BLOCK, DIFFERENT, DISTANCE, FIRST, HAIRY_ROW, TOP_QUARTER
from ohlora_lib.measure.segments import HALF, SIZE
from ohlora_lib.plots.segments import COLORS as CLASS_COLORS
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import INK, MUTED, SERIES

ENDS = {
    "eyes": ("closed", "open"),
    "hair_color": ("dark", "light"),
    "hair_length": ("short", "long"),
    "mouth": ("closed", "open"),
    "pose": ("turned left", "turned right"),
    "background_mean": ("dark", "light"),
    "background_std": ("even", "uneven"),
    "hairstyle": ("straight", "curly"),
}
"""What the lowest and the highest score of each property mean."""


def definitions(classes: np.ndarray, scores: Mapping[str, float]) -> Figure:
    """What each score measures, drawn on a class map (224, 224), with its value."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4.9))
    for axes, name in zip(grid.flat, PROPERTIES, strict=True):
        axes.imshow(_marked(classes, name))
        axes.set(title=f"{name} = {scores[name]:.3g}", xticks=[], yticks=[], xlim=(0, SIZE),
                 ylim=(SIZE, 0))  # fmt: skip
        axes.grid(False)
    at = dict(zip(PROPERTIES, grid.flat, strict=True))
    centers = []
    for eye in (LEFT_EYE, RIGHT_EYE):
        y, x = np.nonzero(classes == eye)
        if not len(x):
            continue
        tallest = max(set(x), key=lambda column: np.ptp(y[x == column]))
        rows = y[x == tallest]
        at["eyes"].plot([tallest] * 2, [rows.min(), rows.max() + 1], color=SERIES[0], lw=2)
        ends = np.array([(x[k], y[k]) for k in (x.argmin(), x.argmax())])
        at["eyes"].plot(*ends.T, color=INK, lw=1)
        centers.append((x.mean(), y.mean()))
    if len(centers) == 2:
        at["pose"].plot(*np.transpose(centers), "o-", color=SERIES[0], lw=2, ms=3)
        at["pose"].plot(
            [centers[0][0], centers[1][0]], [centers[0][1]] * 2, color=INK, lw=1, ls=":"
        )
    for name, row in {"hair_length": TOP_QUARTER, "background_mean": HALF, "background_std": HALF,
                      "hairstyle": HALF}.items():  # fmt: skip
        at[name].axhline(row, color=INK, lw=1, ls="--")
    _draw_blocks(at["hairstyle"], classes == HAIR)
    return figure


def _marked(classes: np.ndarray, name: str) -> np.ndarray:
    """The class map in pale colors, and in full color the pixels that a score reads."""
    rows = np.arange(SIZE)[:, None]
    hair, background = classes == HAIR, classes == BACKGROUND
    long = (hair.sum(1, keepdims=True) >= HAIRY_ROW) & (rows >= TOP_QUARTER)
    read = {
        "eyes": np.isin(classes, (LEFT_EYE, RIGHT_EYE)),
        "hair_color": hair,
        "hair_length": hair & long,
        "mouth": np.isin(classes, (UPPER_LIP, INNER_MOUTH, LOWER_LIP)),
        "pose": np.isin(classes, (LEFT_EYE, RIGHT_EYE)),
        "background_mean": background & (rows < HALF),
        "background_std": background & (rows < HALF),
        "hairstyle": hair & (rows >= HALF),
    }[name]
    colors = np.where((classes == BACKGROUND)[..., None], 150, CLASS_COLORS[classes])
    pale = 255 - (255 - colors) // 5
    return np.where(read[..., None], colors, pale).astype(np.uint8)


def _draw_blocks(axes: pyplot.Axes, hair: np.ndarray) -> None:
    """One block of hair in the lower half whose neighbors are hair, too, and these neighbors."""
    reach = DISTANCE + BLOCK
    for y in range(HALF, SIZE - reach):
        for x in range(DISTANCE, SIZE - reach):
            below, beside = hair[y : y + reach, x : x + BLOCK], hair[y : y + BLOCK, x - DISTANCE :]
            if below.all() and beside[:, : 2 * DISTANCE + BLOCK].all():
                places = {(x, y): SERIES[0], (x, y + DISTANCE): SERIES[2],
                          (x - DISTANCE, y): SERIES[1], (x + DISTANCE, y): SERIES[1]}  # fmt: skip
                for corner, color in places.items():
                    axes.add_patch(Rectangle(corner, BLOCK, BLOCK, color=color, lw=0))
                return


def histograms(scores: pd.DataFrame) -> Figure:
    """A histogram of each raw score with its mean; the outer 0.2 % are drawn at the ends."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4.2))
    for axes, name in zip(grid.flat, PROPERTIES, strict=True):
        values = scores[name]
        low, high = values.quantile([0.002, 0.998])
        axes.hist(values.clip(low, high), bins=26, color=SERIES[1], alpha=0.85)
        axes.axvline(values.mean(), color=INK, lw=1, ls="--")
        lowest, highest = ENDS[name]
        axes.set(title=name, xlabel=f"{lowest}  →  {highest}")
    for axes in grid[:, 0]:
        axes.set_ylabel("faces")
    return figure


def correlation_heatmap(correlation: pd.DataFrame) -> Figure:
    """A square matrix of correlations with their values."""
    figure, axes = pyplot.subplots(figsize=(6.2, 5))
    names = [name.replace("_", " ") for name in correlation.columns]
    seaborn.heatmap(
        correlation.set_axis(names, axis=0).set_axis(names, axis=1),
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 8},
        cbar_kws={"label": "correlation", "shrink": 0.8},
        ax=axes,
    )
    axes.set(xlabel="", ylabel="")
    pyplot.setp(axes.get_xticklabels(), rotation=40, ha="right")
    return figure


def extremes(faces: np.ndarray, columns: int) -> Figure:
    """Faces (8 * 2 * columns, H, W, 3): per property the lowest scores, then the highest."""
    heads = [""] * (2 * columns)
    heads[0], heads[columns] = "lowest scores", "highest scores"
    rows = [f"{name.replace('_', ' ')}: {' → '.join(ENDS[name])}" for name in PROPERTIES]
    return labeled_sheet(faces, 2 * columns, rows=rows, heads=heads)


def first_against_second(raw: pd.DataFrame) -> Figure:
    """Both algorithms' scores of the same faces, where they differ."""
    figure, grid = pyplot.subplots(1, len(DIFFERENT), figsize=(8.6, 2.3))
    for axes, name in zip(grid, DIFFERENT, strict=True):
        axes.plot(raw[FIRST[name]], raw[name], ".", ms=2.5, color=SERIES[1], alpha=0.4)
        axes.set(title=name, xlabel="first")
    grid[0].set_ylabel("second algorithm")
    return figure


def truth_scatter(
    computed: pd.DataFrame, attributes: pd.DataFrame, correlations: Sequence[float]
) -> Figure:
    """Computed score over true attribute, rows alike, with each property's correlation."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4.6))
    for axes, name, r in zip(grid.flat, PROPERTIES, correlations, strict=True):
        attribute = TRUE_ATTRIBUTES[name]
        axes.plot(attributes[attribute], computed[name], ".", ms=3, color=SERIES[3], alpha=0.5)
        axes.set_title(name)
        axes.text(0.04, 0.9, f"r = {r:.2f}", transform=axes.transAxes, color=INK)
        axes.set_xlabel(f"true {attribute.replace('_', ' ')}", color=MUTED)
    for axes in grid[:, 0]:
        axes.set_ylabel("computed score")
    return figure
