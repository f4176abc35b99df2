"""Figures of notebook 05: the course of a fine-tuning, and its images before and after."""

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import MUTED, SERIES

LABELS = ("female", "good quality", "old", "wears glasses")
MOST_TICKS = 10


def losses(log: pd.DataFrame) -> Figure:
    """The losses of both networks, and the discriminator's AUROC on real and generated images."""
    log = log.dropna(subset=["discriminator"])
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.6, 3))
    for name, color in (("generator", SERIES[0]), ("discriminator", SERIES[1])):
        if name in log:
            left.plot(log.step, log[name], "o-", ms=3, color=color, label=name)
    left.set(xlabel="step", ylabel="logistic loss", title="Losses", ylim=(0, None))
    left.legend()
    right.plot(log.step, log.auroc, "o-", ms=3, color=SERIES[3])
    right.axhline(0.5, color=MUTED, ls="--", lw=1)
    right.annotate(
        "chance", (1, 0.5), (3, 0), ("axes fraction", "data"), "offset points", va="center",
        color=MUTED,
    )  # fmt: skip
    for axes in (left, right):
        axes.set_xticks(_ticks(log.step))
    right.set(
        xlabel="step", ylabel="AUROC", title="Discriminator: real or generated", ylim=(-0.02, 1.02)
    )
    return figure


def _ticks(steps: pd.Series) -> pd.Series:
    """The evaluations, or every second, third, … where they are many."""
    return steps[:: -(-len(steps) // MOST_TICKS)]


def filter_properties(log: pd.DataFrame, images: int, meter: str) -> Figure:
    """The meter's mean probabilities (LABELS) of `images` new images per row of the log."""
    figure, panels = pyplot.subplots(1, 2, figsize=(8.6, 3))
    named = list(zip(FILTER_PROPERTIES, LABELS, SERIES, strict=False))
    for axes, part in zip(panels, (named[:2], named[2:]), strict=True):
        for name, label, color in part:
            axes.plot(log.step, log[name], "o-", ms=3, color=color, label=label)
        axes.set_xticks(_ticks(log.step))
        axes.set(xlabel="step", ylabel=f"mean of {images} images")
        axes.legend()
    panels[0].set_title(f"Probabilities by {meter}")
    panels[0].set_ylim(top=1)
    panels[1].set_ylim(bottom=0)
    return figure


def same_z_rows(steps: np.ndarray, rows: int = 5) -> np.ndarray:
    """Of the steps of all logged images, those to show: first, last, and some in between."""
    steps = np.unique(steps)
    return steps[np.unique(np.linspace(0, len(steps) - 1, rows).round().astype(int))]


def same_z_sheet(images: np.ndarray, steps: np.ndarray) -> Figure:
    """Images (N, H, W, 3), a column per z; `steps` (N,) says after how many steps each was made."""
    shown = np.unique(steps)
    names = ["before", *(f"step {step:,}" for step in shown[1:-1]), "after"]
    return labeled_sheet(images, int((steps == shown[0]).sum()), rows=names)


def shares(table: pd.DataFrame, published: tuple[float, float] | None = None) -> Figure:
    """`concept_shares` before and after with intervals; the published female shares beside them."""
    figure, axes = pyplot.subplots(figsize=(7.4, 2.9))
    names = table["condition"].unique()
    for side, color, shift in (("before", MUTED, -0.13), ("after", SERIES[0], 0.13)):
        part = table[table["set"] == side].set_index("condition").loc[names]
        error = np.clip([part.share - part.low, part.high - part.share], 0, None)
        at = np.arange(len(names)) + shift
        axes.errorbar(part.share, at, xerr=error, fmt="o", ms=5, color=color, label=side, capsize=2)
    if published:
        axes.scatter(
            published,
            [-0.32, -0.32],
            marker="v",
            s=28,
            color=SERIES[1],
            label="published, before and after",
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    least = min([table[table["set"] != "filtered set"].low.min(), *(published or [])])
    axes.set(xlabel="share of images", xlim=(max(least - 0.05, 0), 1.01))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
