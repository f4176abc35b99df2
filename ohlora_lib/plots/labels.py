"""Figures of notebook 02: filter CNNs, their scores, and the cutoffs."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.faces.concept import AT_LEAST, Cutoffs
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.faces.shares import percent
from ohlora_lib.plots.sheets import fitting, labeled_sheet
from ohlora_lib.plots.style import INK, MUTED, SERIES

COLORS = dict(zip(FILTER_PROPERTIES, SERIES, strict=False))
FAILED = "#c9ced6"


def learning_curves(folds: pd.DataFrame, max_loss: Mapping[str, float]) -> Figure:
    """Validation loss of each fold's kept try, its best epoch, and the threshold per property.

    `folds` is the table of `train_folds`.
    """
    figure, grid = pyplot.subplots(2, 2, figsize=(8.2, 5))
    for axes, name in zip(grid.flat, FILTER_PROPERTIES, strict=True):
        for row in folds[folds["property"] == name].itertuples():
            losses = row.tries[row.kept]["losses"]
            epochs = np.arange(1, len(losses) + 1)
            axes.plot(epochs, losses, color=COLORS[name], alpha=0.55, lw=1.3)
            axes.plot(row.best_epoch + 1, row.loss, "o", color=COLORS[name], ms=5)
        threshold = max_loss[name]
        axes.axhline(threshold, color=MUTED, ls="--", lw=1)
        axes.set(title=name, xlabel="epoch", ylabel="validation loss")
        axes.set_ylim(0, max(threshold * 1.1, axes.get_ylim()[1]))
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def score_histograms(scores: pd.DataFrame, cutoffs: Cutoffs) -> Figure:
    """The scores of each property; the side of the cutoff that passes is colored."""
    figure, grid = pyplot.subplots(2, 2, figsize=(8.2, 5))
    for axes, (name, cutoff) in zip(grid.flat, asdict(cutoffs).items(), strict=True):
        values, sign = scores[name], "≥" if name in AT_LEAST else "≤"
        passed = values >= cutoff if name in AT_LEAST else values <= cutoff
        labels = [f"passes: {percent(passed.mean())}", f"fails: {percent(1 - passed.mean())}"]
        axes.hist(
            [values[passed], values[~passed]],
            np.linspace(0, 1, 41),
            stacked=True,
            color=[COLORS[name], FAILED],
            label=labels,
        )
        axes.axvline(cutoff, color=INK, lw=1)
        axes.set(
            title=f"{name} {sign} {cutoff:g}", xlabel="score", ylabel="images", yscale="symlog"
        )
        axes.legend(loc="upper center")
    return figure


def borderline_sheet(images: np.ndarray, table: pd.DataFrame, columns: int) -> Figure:
    """Images (N, H, W, 3), one per row of `faces.concept.borderline`'s table, nearest first.

    Two rows of images per property: just passed and just failed; missing ones are white. A row has
    as many of the nearest as fit on a page.
    """
    columns = min(columns, fitting(images.shape[2]))
    labels = [f"{name} just {side}" for name in FILTER_PROPERTIES for side in ("passes", "fails")]
    sheet = np.full((len(labels) * columns, *images.shape[1:]), 255, np.uint8)
    for image, row in zip(images, table.itertuples(), strict=True):
        if row.rank < columns:
            sheet[labels.index(f"{row.property} just {row.side}") * columns + row.rank] = image
    return labeled_sheet(sheet, columns, labels)
