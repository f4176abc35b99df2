"""Figures of notebook 01: framing, attributes and entanglement of a generator's images."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.plots.style import INK, SERIES

ATTRIBUTES = {
    "gender": "gender: female",
    "age": "age",
    "quality": "image quality",
    "glasses": "glasses",
    "background_mean": "background: lightness",
    "eyes": "eyes: opening",
    "mouth": "mouth: opening",
    "pose": "pose: turn of the head",
    "hair_color": "hair: lightness",
    "hair_length": "hair: length",
}
"""Attribute -> label of its axis."""


def average_face(mean: np.ndarray, std: np.ndarray) -> Figure:
    """Mean image (H, W, 3) and a map (H, W) of the standard deviation, both in gray levels."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(6.4, 3.2))
    left.imshow(mean.round().astype(np.uint8))
    left.set_title("mean of the faces")
    shown = right.imshow(std, cmap="magma")
    right.set_title("standard deviation")
    figure.colorbar(shown, ax=right, label="gray levels (of 255)", shrink=0.85)
    for axes in (left, right):
        axes.set_axis_off()
    return figure


def attribute_histograms(
    generated: Mapping[str, np.ndarray],
    rendered: Mapping[str, np.ndarray],
    cutoffs: Mapping[str, float],
) -> Figure:
    """Histograms of ATTRIBUTES, name -> (N,) values each, in generated and in rendered faces, with
    a dashed line at each of the `cutoffs`."""
    figure, grid = pyplot.subplots(2, 5, figsize=(8.6, 3.8))
    sets = {"rendered": (rendered, SERIES[5]), "generated": (generated, SERIES[0])}
    for axes, (name, label) in zip(grid.flat, ATTRIBUTES.items(), strict=True):
        both = np.concatenate([rendered[name], generated[name]])
        bins = np.linspace(*np.quantile(both, (0.002, 0.998)), 26)
        for which, (values, color) in sets.items():
            own = values[name]
            style = {"element": "step", "fill": which == "rendered", "stat": "percent", "lw": 1.4}
            which = f"{which} ({len(own):,})"
            seaborn.histplot(x=own, bins=bins, ax=axes, color=color, label=which, **style)
        if name in cutoffs:
            axes.axvline(cutoffs[name], color=INK, ls="--", lw=1)
        axes.set(xlabel=label, ylabel="")
    figure.supylabel("faces (%)", fontsize="medium")
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def side_effect_heatmap(effects: pd.DataFrame) -> Figure:
    """Edited property (rows) by attribute (columns), in standard deviations."""
    figure, axes = pyplot.subplots(figsize=(8.6, 2.3))
    seaborn.heatmap(
        effects,
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        annot=True,
        fmt="+.2f",
        annot_kws={"size": 8},
        cbar_kws={"label": "standard deviations", "pad": 0.02},
        ax=axes,
    )
    axes.set(xlabel="", ylabel="edited")
    axes.tick_params(axis="x", rotation=25)
    axes.tick_params(axis="y", rotation=0)
    return figure


def attribute_bars(tables: Mapping[str, pd.DataFrame], attributes: Sequence[str]) -> Figure:
    """By label of the axis, values of the attributes (rows) of each generator (columns)."""
    figure, panels = pyplot.subplots(
        1, len(tables), figsize=(8.6, 0.9 + 0.28 * len(attributes)), sharey=True, squeeze=False
    )
    for axes, (label, table) in zip(panels[0], tables.items(), strict=True):
        height = 0.8 / table.shape[1]
        for number, name in enumerate(table):
            at = np.arange(len(attributes)) + (number - (table.shape[1] - 1) / 2) * height
            axes.barh(at, table.loc[attributes, name], height, color=SERIES[number], label=name)
        axes.set(xlabel=label, xlim=(min(0, *axes.get_xlim()), None))
        axes.set_yticks(range(len(attributes)), attributes)
        axes.set_ylim(len(attributes) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return figure
