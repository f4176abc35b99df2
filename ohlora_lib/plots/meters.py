"""Figures of what the meters see (notebook 10)."""

from collections.abc import Mapping

import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.plots.style import SERIES


def truth_and_readings(truth: pd.DataFrame, readings: Mapping[str, pd.DataFrame]) -> Figure:
    """True attributes (N rows) against the readings of the same name: a row of panels per meter."""
    figure, grid = pyplot.subplots(
        len(readings), truth.shape[1], figsize=(8.6, 2.1 * len(readings)), squeeze=False
    )
    for row, (meter, table) in zip(grid, readings.items(), strict=True):
        for axes, name in zip(row, truth, strict=True):
            axes.scatter(truth[name], table[name], s=5, lw=0, alpha=0.5, color=SERIES[0])
            axes.set_title(f"{name}, r = {table[name].corr(truth[name]):.3f}")
        row[0].set_ylabel(f"{meter}\nreading")
    for axes, name in zip(grid[-1], truth, strict=True):
        axes.set_xlabel(f"true {name}")
    return figure


def changes_alone(changes: Mapping[str, pd.DataFrame]) -> Figure:
    """By meter, changes of its readings (columns) per attribute that changed (rows)."""
    heights = [len(table) for table in changes.values()]
    figure, panels = pyplot.subplots(
        len(changes),
        1,
        figsize=(8.6, 0.6 + 0.33 * sum(heights) + 0.8 * len(changes)),
        squeeze=False,
    )
    for axes, (meter, table) in zip(panels[:, 0], changes.items(), strict=True):
        seaborn.heatmap(table, ax=axes, annot=True, fmt=".2f", vmin=-1, vmax=1, cmap="vlag",
                        cbar=False, annot_kws={"size": 7})  # fmt: skip
        axes.set_title(meter)
        axes.tick_params(axis="x", rotation=30)
        axes.tick_params(axis="y", rotation=0)
        axes.set_ylabel("changed alone")
    return figure
