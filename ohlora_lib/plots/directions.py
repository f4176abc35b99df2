"""Figures of notebook 07: groups, SVM accuracy, cosines, the tails, and the number of samples."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.plots.style import MUTED, SERIES

BETWEEN = "#c9ced6"
COLORS = dict(zip(EXPRESSION, SERIES, strict=False))
"""A color each for eyes, mouth and pose."""


def group_sizes(sizes: pd.Series, properties: Sequence[str]) -> Figure:
    """The number of latents in each group, and their mean."""
    figure, axes = pyplot.subplots(figsize=(8.6, 2.4))
    axes.bar(list(sizes.index), sizes, color=SERIES[1])
    axes.axhline(sizes.mean(), color=MUTED, lw=1, ls="--")
    axes.set(xlabel=f"group: {', '.join(properties)} (h high, l low)", ylabel="latents")
    axes.grid(axis="x", visible=False)
    return figure


def svm_accuracy(report: pd.DataFrame) -> Figure:
    """`fit_svm`'s report -> accuracy by property and group; a star where the SVM is that of all."""
    report = report[report["property"].isin(EXPRESSION)]
    shape = {"index": "property", "columns": "group"}
    accuracy = report.pivot(values="accuracy", **shape).reindex(list(EXPRESSION))
    source = report.pivot(values="learned_from", **shape).reindex(list(EXPRESSION))
    star = np.where(source == list(source.columns), "", "*")
    text = accuracy.map(lambda value: f"{value:.2f}".lstrip("0")) + star
    figure, axes = pyplot.subplots(figsize=(8.6, 2.2))
    seaborn.heatmap(
        accuracy, annot=text, fmt="", ax=axes, cmap="viridis", annot_kws={"size": 8},
        vmin=min(0.8, accuracy.min().min()), vmax=1, cbar_kws={"label": "accuracy", "pad": 0.02},
    )  # fmt: skip
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="group", ylabel="")
    return figure


def cosines(matrix: pd.DataFrame) -> Figure:
    """A square table of cosines with the names of the directions in rows and columns."""
    figure, axes = pyplot.subplots(figsize=(5.6, 4.4))
    _diverging(matrix, axes, "cosine")
    return figure


def score_changes(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """For each kind of directions a table (3, P): the change of every score per unit of its own."""
    figure, panels = pyplot.subplots(len(tables), 1, figsize=(8.6, 1.9 * len(tables)), sharex=True)
    for axes, (name, table) in zip(np.atleast_1d(panels), tables.items(), strict=True):
        _diverging(table, axes, "change")
        axes.set(title=name, ylabel="step along")
    axes.set_xlabel("score")
    return figure


def _diverging(table: pd.DataFrame, axes: pyplot.Axes, label: str) -> None:
    table = table.round(2) + 0.0  # no "-0.00"
    seaborn.heatmap(
        table, annot=True, fmt=".2f", ax=axes, cmap="RdBu_r", vmin=-1, vmax=1,
        annot_kws={"size": 8}, cbar_kws={"label": label},
    )  # fmt: skip
    axes.tick_params(axis="y", rotation=0)
    axes.set_xticks(axes.get_xticks(), list(table.columns), rotation=40, ha="right")
    axes.set(xlabel="", ylabel="")


def projections(values: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Property -> projections (N,) of the `lowest`, `between` and `highest` -> a panel for each."""
    figure, panels = pyplot.subplots(1, len(values), figsize=(8.6, 2.9))
    for axes, (name, parts) in zip(panels, values.items(), strict=True):
        both = np.concatenate(list(parts.values()))
        few = min(map(len, parts.values()))
        bins = np.linspace(both.min(), both.max(), int(np.clip(3 * few**0.5, 6, 25)))
        colors = {"lowest": SERIES[4], "between": BETWEEN, "highest": COLORS[name]}
        for part in ("between", "lowest", "highest"):
            share = np.full(len(parts[part]), 1 / max(len(parts[part]), 1))
            axes.hist(parts[part], bins, weights=share, alpha=0.75, color=colors[part],
                      label=f"{part} ({len(parts[part]):,})")  # fmt: skip
        axes.set(title=name, xlabel="projection", yticks=[], ylim=(0, 1.5 * axes.get_ylim()[1]))
        axes.legend(loc="upper left", fontsize=7)
        axes.grid(visible=False)
    panels[0].set_ylabel("share of each class")
    return figure


def tails(points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Property -> points (N, 2) of the lowest and of the highest scores -> a panel for each."""
    figure, panels = pyplot.subplots(1, len(points), figsize=(8.6, 2.9))
    for axes, (name, (low, high)) in zip(panels, points.items(), strict=True):
        axes.scatter(*low.T, s=9, color=MUTED, label="lowest", lw=0)
        axes.scatter(*high.T, s=9, color=COLORS[name], label="highest", lw=0)
        axes.set(title=name, xticks=[], yticks=[])
        axes.legend(loc="best", fontsize=8, handletextpad=0.1)
        axes.grid(visible=False)
    return figure


def sample_count(curve: pd.DataFrame) -> Figure:
    """`sample_count_curve`'s table -> accuracy, agreement, leakage over the number of latents."""
    figure, panels = pyplot.subplots(1, 3, figsize=(8.6, 2.9))
    labels = {
        "accuracy": ("SVM accuracy", "accuracy on held-out latents"),
        "agreement": ("agreement of two samples", "cosine of their directions"),
        "leakage": ("leakage", "|change| of other scores per unit"),
    }
    ticks = sorted(curve.n.unique())
    for axes, (column, (title, label)) in zip(panels, labels.items(), strict=True):
        for method, dashes in (("svm", "-"), ("ridge", "--")):
            for one in EXPRESSION:
                part = curve[(curve.method == method) & (curve.property == one)]
                style = {"color": COLORS[one], "ls": dashes, "marker": "o", "ms": 3}
                axes.plot(part.n, part[column], label=f"{method}: {one}", **style)
        axes.set(xscale="log", xlabel="latents", ylabel=label, title=title)
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks], rotation=40, ha="right")
        axes.minorticks_off()
    panels[2].set_ylim(bottom=0)
    handles = panels[1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncol=6, fontsize=8)
    return figure
