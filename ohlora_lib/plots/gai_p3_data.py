"""Figures of notebooks gai_p3/01 to 03: brightness variants, the gender model, condition values."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.plots.style import INK, MUTED, SERIES


def brightness_changes(table: pd.DataFrame, changes: Mapping[str, np.ndarray]) -> Figure:
    """Changes (N,) of the variants' conditions, the last N rows of the table, over their factor."""
    figure, row = pyplot.subplots(1, len(changes), figsize=(8.2, 2.9), sharey=True)
    for axes, (name, change) in zip(row, changes.items(), strict=True):
        ratio = table["ratio"].to_numpy()[-len(change) :]
        axes.plot(ratio, change, ".", ms=3, color=SERIES[1], alpha=0.3)
        means = pd.Series(change).groupby(ratio).mean()
        axes.plot(means.index, means, "o", ms=5, color=SERIES[0], label="mean")
        axes.axhline(0, color=MUTED, lw=0.8)
        axes.set(title=name.replace("_", " "), xlabel="brightness factor")
    row[0].set_ylabel("change of the condition")
    row[0].legend()
    return figure


def gender_losses(folds: pd.DataFrame) -> Figure:
    """Training and validation loss of each fold's kept try; the table of `train_folds`."""
    figure, axes = pyplot.subplots(figsize=(5.6, 2.8))
    for row in folds.itertuples():
        kept = row.tries[row.kept]
        epochs = np.arange(1, len(kept["losses"]) + 1)
        first = row.fold == 0
        axes.plot(epochs, kept["training_losses"], color=MUTED, lw=1.2, label="training" * first)
        axes.plot(epochs, kept["losses"], color=SERIES[0], lw=1.5, label="validation" * first)
        axes.plot(row.best_epoch + 1, row.loss, "o", color=SERIES[0], ms=5, label="kept" * first)
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


def probabilities_by_truth(
    probabilities: np.ndarray, female: np.ndarray, cutoff: float, curve: pd.DataFrame
) -> Figure:
    """P(female) (N,) of women and men, and precision and recall over the cutoff (the index)."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.2, 2.9))
    sides = [probabilities[female], probabilities[~female]]
    left.hist(
        sides, np.linspace(0, 1, 41), color=[SERIES[0], SERIES[1]], label=["women", "men"], log=True
    )
    left.axvline(cutoff, color=INK, lw=1)
    left.set(xlabel="P(female)", ylabel="images", title="Probabilities by true gender")
    left.legend(loc="upper center")
    for column, color in (("precision", SERIES[0]), ("recall", SERIES[3])):
        right.plot(curve.index, curve[column], color=color, label=column)
    right.axvline(cutoff, color=INK, lw=1)
    right.set(xlabel="cutoff", title="Precision and recall", ylim=(min(0.8, curve.min().min()), 1))
    right.legend(loc="lower left")
    return figure


def value_scatter(truth: pd.DataFrame, values: Mapping[str, np.ndarray]) -> Figure:
    """Values (N, 5) by method over the true conditions (N rows); a row of panels per method."""
    names = list(truth)
    figure, grid = pyplot.subplots(
        len(values),
        len(names),
        figsize=(8.6, 1.9 * len(values) + 0.3),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for row, (method, found) in zip(grid, values.items(), strict=True):
        for at, (axes, name) in enumerate(zip(row, names, strict=True)):
            true = truth[name].to_numpy()
            axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8)
            axes.plot(true, found[:, at], ".", ms=2.5, color=SERIES[1], alpha=0.4)
            r = np.corrcoef(true, found[:, at])[0, 1] if found[:, at].std() else np.nan
            axes.text(0.03, 0.9, f"r = {r:.3f}", fontsize=8)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        row[0].set_ylabel(method)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name.replace("_", " "))
    figure.supxlabel("truth", fontsize=9)
    return figure


def value_losses(curves: pd.DataFrame) -> Figure:
    """Columns condition, epoch (from 0), training, validation -> a panel per condition."""
    groups = list(curves.groupby("condition", sort=False))
    figure, row = pyplot.subplots(1, len(groups), figsize=(8.6, 2.1))
    for axes, (name, curve) in zip(row, groups, strict=True):
        axes.plot(curve["epoch"] + 1, curve["training"], color=MUTED, lw=1.2, label="training")
        axes.plot(
            curve["epoch"] + 1, curve["validation"], color=SERIES[0], lw=1.4, label="validation"
        )
        axes.set(title=name.replace("_", " "), xlabel="epoch", ylim=(0, None))
    row[0].set_ylabel("loss")
    row[-1].legend()
    return figure


def value_histograms(values: pd.DataFrame, truth: pd.DataFrame | None) -> Figure:
    """Distribution of each condition over the training data, and that of the truth if known."""
    figure, row = pyplot.subplots(1, len(values.columns), figsize=(8.6, 2.1), sharey=True)
    bins = np.linspace(0, 1, 26)
    for axes, name in zip(row, values, strict=True):
        if truth is not None:
            axes.hist(truth[name], bins, color="#c9ced6", label="truth")
        axes.hist(values[name], bins, histtype="step", color=SERIES[0], lw=1.4, label="value")
        axes.set(title=name.replace("_", " "), xlim=(0, 1))
    row[0].set_ylabel("images")
    row[-1].legend()
    return figure
