"""Figures of real, generated and retouched faces (notebooks gai_p3/05, 06 and 08)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps, pyplot
from matplotlib.figure import Figure

from ohlora_lib.measure.intervals import Interval
from ohlora_lib.plots.style import MUTED, SERIES

ENLARGED = 2  # faces of 64 px are shown at twice their size


def enlarged(images: np.ndarray) -> np.ndarray:
    """(N, R, R, 3) -> (N, 2 R, 2 R, 3), each pixel four times."""
    return images.repeat(ENLARGED, 1).repeat(ENLARGED, 2)


def log_odds_histograms(panels: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Per judge, log-odds (N,) of several sets of faces by name."""
    figure, row = pyplot.subplots(1, len(panels), figsize=(8.6, 2.6), squeeze=False)
    for axes, (judge, sets) in zip(row[0], panels.items(), strict=True):
        every = np.concatenate(list(sets.values()))
        bins = np.linspace(*np.quantile(every, (0.005, 0.995)), 31)
        for (name, values), color in zip(sets.items(), SERIES, strict=False):
            axes.hist(
                values.clip(bins[0], bins[-1]),
                bins=bins,
                weights=np.full(len(values), 100 / len(values)),
                histtype="step",
                lw=1.4,
                color=color,
                label=name,
            )
        axes.set(title=judge, xlabel="log-odds that the face is real", ylabel="faces (%)")
    figure.legend(*row[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return figure


def attention_of_regions(quotients: pd.DataFrame) -> Figure:
    """Region (rows) by judge (columns): attention per area, 1 is the mean of the image."""
    figure, axes = pyplot.subplots(figsize=(7, 3.4))
    places, height = np.arange(len(quotients)), 0.8 / quotients.shape[1]
    for number, (judge, color) in enumerate(zip(quotients, SERIES, strict=False)):
        axes.barh(places + number * height, quotients[judge], height, color=color, label=judge)
    axes.axvline(1, color=MUTED, lw=1)
    axes.set_yticks(places + 0.4 - height / 2, quotients.index)
    axes.invert_yaxis()
    axes.set(xlabel="attention per area, mean of the image = 1")
    axes.legend()
    return figure


def heated(images: np.ndarray, maps: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """Images (N, R, R, 3) uint8 with maps (N, h, w) over them, each scaled to its own maximum."""
    scale = images.shape[1] // maps.shape[1]
    fine = maps.repeat(scale, 1).repeat(scale, 2)
    fine = fine / fine.max((1, 2), keepdims=True).clip(1e-12)
    colors = 255 * colormaps["inferno"](fine)[..., :3]
    weight = strength * fine[..., None]
    return np.round((1 - weight) * images + weight * colors).astype(np.uint8)


def outlined(images: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Images (N, R, R, 3) uint8, darker outside the cells (N, h, w) of 0 and 1."""
    scale = images.shape[1] // cells.shape[1]
    fine = cells.repeat(scale, 1).repeat(scale, 2)[..., None]
    return np.round(images * (0.35 + 0.65 * fine)).astype(np.uint8)


def dots(rows: Mapping[str, Mapping[str, Interval]], xlabel: str) -> Figure:
    """Per row of a label, one dot with its interval for each named figure."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    figure, axes = pyplot.subplots(figsize=(7.6, 0.6 + 0.42 * len(rows)))
    for number, (name, color) in enumerate(zip(names, SERIES, strict=False)):
        shift = 0.18 * (number - (len(names) - 1) / 2)
        found = [(place, row[name]) for place, row in enumerate(rows.values()) if name in row]
        at = np.array([place for place, _ in found]) + shift
        value, low, high = np.array([each for _, each in found]).T
        axes.errorbar(value, at, xerr=(value - low, high - value), fmt="o", ms=4, color=color,
                      lw=1.2, label=name)  # fmt: skip
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set(xlabel=xlabel)
    figure.legend(loc="outside upper right", ncols=len(names))
    return figure


def by_seed(table: pd.DataFrame, figures: Sequence[str]) -> Figure:
    """A panel per figure: a line per seed over the attempts. Columns: attempt, seed, figures."""
    figure, row = pyplot.subplots(1, len(figures), figsize=(8.6, 2.8), squeeze=False)
    attempts = list(dict.fromkeys(table["attempt"]))
    for axes, name in zip(row[0], figures, strict=True):
        for (seed, rows), color in zip(table.groupby("seed"), SERIES, strict=False):
            values = rows.set_index("attempt")[name].reindex(attempts)
            axes.plot(attempts, values, "o-", ms=4, color=color, label=f"seed {seed}")
        axes.set(title=name)
        axes.tick_params(axis="x", rotation=20)
    figure.legend(*row[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure
