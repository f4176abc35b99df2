"""Figures of notebook 07: groups, SVM accuracy, leakage, projections, the number of samples."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.plots.style import GRID, INK, MUTED, SERIES

COLORS = dict(zip(EXPRESSION, SERIES, strict=False))
"""A color each for eyes, mouth and pose."""
MOST_DOTS = 300
"""Of a class, in a strip of dots."""


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


def score_changes(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """For each kind of directions a table (3, P): the change of every score per unit of its own,
    which is left blank."""
    others = {
        name: table.mask(np.equal.outer(table.index, table.columns)).round(2) + 0.0  # no "-0.00"
        for name, table in tables.items()
    }
    limit = max(0.05, *(table.abs().max().max() for table in others.values()))
    figure, panels = pyplot.subplots(len(tables), 1, figsize=(8.6, 1.9 * len(tables)), sharex=True)
    for axes, (name, table) in zip(np.atleast_1d(panels), others.items(), strict=True):
        seaborn.heatmap(
            table, annot=True, fmt=".2f", ax=axes, cmap="RdBu_r", vmin=-limit, vmax=limit,
            annot_kws={"size": 8}, cbar_kws={"label": "change"},
        )  # fmt: skip
        axes.set_facecolor(GRID)
        axes.grid(visible=False)
        axes.tick_params(axis="y", rotation=0)
        axes.set_xticks(axes.get_xticks(), list(table.columns), rotation=40, ha="right")
        axes.set(title=name, xlabel="", ylabel="step along")
    axes.set_xlabel("score")
    return figure


def projections(values: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Property -> projections (N,) of the `lowest`, `between` and `highest` -> a panel for each,
    with a strip of dots and its median per class."""
    figure, panels = pyplot.subplots(1, len(values), figsize=(8.6, 2.4), sharey=True)
    rng = np.random.default_rng(0)
    for axes, (name, parts) in zip(panels, values.items(), strict=True):
        for at, (points, color) in enumerate(
            zip(parts.values(), (SERIES[4], MUTED, COLORS[name]), strict=True)
        ):
            points = points[:MOST_DOTS]
            places = at + rng.uniform(-0.3, 0.3, len(points))
            axes.scatter(points, places, s=9, alpha=0.6, color=color, lw=0, zorder=3)
            axes.vlines(np.median(points), at - 0.4, at + 0.4, color=INK, lw=1.5)
        axes.set(title=name, xlabel="projection onto the normal")
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(parts)), list(parts))
    panels[0].set_ylabel("class by score")
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
