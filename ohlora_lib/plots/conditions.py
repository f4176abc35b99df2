"""Figures of requested and measured conditions (notebook gai_p3/07)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.plots.style import MUTED, SERIES


def requested_and_measured(
    names: Sequence[str], sets: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Per set of faces a row of panels: conditions (N, K) that are true or asked against those
    measured."""
    figure, grid = pyplot.subplots(
        len(sets), len(names), figsize=(8.6, 2.0 * len(sets)), sharex=True, sharey=True
    )
    for row, (label, (given, measured)), color in zip(
        np.atleast_2d(grid), sets.items(), SERIES, strict=False
    ):
        for axes, name, x, y in zip(row, names, given.T, measured.T, strict=True):
            axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8)
            axes.scatter(x, y, s=5, lw=0, alpha=0.5, color=color)
            axes.set_title(name)
        row[0].set_ylabel(f"{label}\nmeasured")
    for axes in np.atleast_2d(grid)[-1]:
        axes.set_xlabel("requested or true")
    return figure


def intervention_matrices(matrices: Mapping[str, pd.DataFrame]) -> Figure:
    """Slopes of measured conditions (columns) on the one that was changed (rows), side by side."""
    figure, row = pyplot.subplots(1, len(matrices), figsize=(8.6, 3.3), squeeze=False)
    for axes, (label, matrix) in zip(row[0], matrices.items(), strict=True):
        seaborn.heatmap(matrix, ax=axes, annot=True, fmt=".2f", vmin=-1, vmax=1, cmap="vlag",
                        cbar=False, square=True, annot_kws={"size": 8})  # fmt: skip
        axes.set(title=label, xlabel="measured", ylabel="changed")
        axes.tick_params(axis="x", rotation=40)
        axes.tick_params(axis="y", rotation=0)
    return figure


def rate_of_groups(kl: np.ndarray, sizes: Sequence[int]) -> Figure:
    """KL (groups, latents) in nats and each group's side: nats per group, and per value of z."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.6, 2.6))
    labels = [f"{number + 1}\n{size}²" for number, size in enumerate(sizes)]
    left.bar(labels, kl.sum(1), color=SERIES[0])
    left.set(xlabel="group, and its size", ylabel="KL (nats per image)")
    right.bar(labels, kl.mean(1) / np.square(sizes), color=SERIES[1])
    right.set(xlabel="group, and its size", ylabel="KL (nats per value)")
    return figure
