"""Figures of notebook 06: training of the property CNN and its agreement with the scores."""

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.plots.style import INK, MUTED, SERIES


def loss_curves(curves: pd.DataFrame) -> Figure:
    """Columns branch, epoch (from 0), training, validation, kept -> a panel for each branch."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4))
    for axes, (name, curve) in zip(grid.flat, curves.groupby("branch"), strict=False):
        epochs = curve["epoch"] + 1
        axes.plot(epochs, curve["training"], color=MUTED, lw=1.3, label="training")
        axes.plot(epochs, curve["validation"], color=SERIES[0], lw=1.6, label="validation")
        kept = curve[curve["kept"]]
        axes.plot(kept["epoch"] + 1, kept["validation"], "o", color=SERIES[0], ms=5, label="kept")
        axes.set(title=name.replace("_", " "))
        axes.set_ylim(0, min(1.5, axes.get_ylim()[1]))
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("loss")
    for axes in grid[1, :3]:
        axes.set_xlabel("epoch")
    grid[1, 3].set_axis_off()
    grid[1, 3].legend(*grid[0, 0].get_legend_handles_labels(), loc="center")
    return figure


def fit_scatter(predicted: pd.DataFrame, computed: pd.DataFrame) -> Figure:
    """Predicted over computed scores (N, 8), a panel for each property, with the diagonal."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4.6))
    for axes, name in zip(grid.flat, predicted, strict=True):
        x, y = computed[name], predicted[name]
        axes.plot(x, y, ".", ms=3.5, color=SERIES[1], alpha=0.5)
        ends = [np.nanmin([x.min(), y.min()]), np.nanmax([x.max(), y.max()])]
        axes.plot(ends, ends, color=INK, lw=0.8, ls="--")
        axes.set_title(name)
        axes.text(0.04, 0.9, f"r = {x.corr(y):.2f}", transform=axes.transAxes, color=INK)
    for axes in grid[:, 0]:
        axes.set_ylabel("predicted")
    for axes in grid[1]:
        axes.set_xlabel("computed")
    return figure


def error_bars(errors: pd.DataFrame, ylabel: str) -> Figure:
    """A group of bars for each row (property), one bar for each column (at most two)."""
    figure, axes = pyplot.subplots(figsize=(7.4, 3.2))
    places = np.arange(len(errors))
    for shift, color, column in zip((-0.2, 0.2), (SERIES[5], SERIES[0]), errors, strict=True):
        axes.bar(places + shift, errors[column], width=0.38, color=color, label=column)
    axes.set_xticks(places, [name.replace("_", "\n") for name in errors.index])
    axes.set_ylabel(ylabel)
    axes.grid(axis="x", visible=False)
    axes.legend()
    return figure
