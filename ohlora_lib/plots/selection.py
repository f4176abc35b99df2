"""Figures of notebook 09: the selection funnel, the selected faces and their expressions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.plots.sheets import fitting, labeled_sheet
from ohlora_lib.plots.style import INK, SERIES


def funnel(counts: pd.Series) -> Figure:
    """Stage -> number of latents, as horizontal bars from top to bottom."""
    figure, axes = pyplot.subplots(figsize=(8.6, 2.2))
    axes.barh(counts.index, counts, color=SERIES[1])
    for place, count in enumerate(counts):
        axes.text(count, place, f" {count:,}", va="center", color=INK)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="latents", xlim=(0, counts.max() * 1.08))
    return figure


def paired_rows(
    above: np.ndarray, below: np.ndarray, labels: tuple[str, str], columns: int = 8
) -> Figure:
    """Two images (N, H, W, 3) of each of N faces: rows of up to `columns` faces, `above` each on
    top of its `below`."""
    columns = min(columns, len(above), fitting(above.shape[2]))
    images = []
    for at in range(0, len(above), columns):
        for part in (above[at : at + columns], below[at : at + columns]):
            blank = np.full((columns - len(part), *part.shape[1:]), 255, np.uint8)
            images += [part, blank]
    images = np.concatenate(images)
    return labeled_sheet(images, columns, list(labels) * (len(images) // columns // 2))


def by_mouth(images: np.ndarray, eyes: int, mouth: int) -> np.ndarray:
    """Images (E*M*P, H, W, 3), mouth varying slower than pose and faster than eyes -> the same in
    rows of one mouth level each: eyes, then pose vary along a row."""
    grid = images.reshape(eyes, mouth, -1, *images.shape[1:])
    return grid.swapaxes(0, 1).reshape(images.shape)


def expression_grid(
    images: np.ndarray, eyes: Sequence[float], mouth: Sequence[float], pose: Sequence[float]
) -> Figure:
    """Images (E*M*P, H, W, 3), pose varying fastest, then mouth, then eyes: a row per level of eyes
    and mouth, a column per level of pose."""
    rows = [f"eyes {e:g}, mouth {m:g}" for e in eyes for m in mouth]
    return labeled_sheet(images, len(pose), rows, [f"pose {p:g}" for p in pose])


def strips(images: np.ndarray, names: Sequence[str]) -> Figure:
    """One strip (L, H, W, 3) per name, as (S, L, H, W, 3); the level increases to the right. Where
    a page is too narrow for all levels, every second or so is shown, the last included."""
    last, most = images.shape[1] - 1, fitting(images.shape[3])
    steps = (step for step in range(1, last + 1) if last % step == 0 and last // step < most)
    images = images[:, :: next(steps, 1)]
    count = images.shape[1]
    heads = ["lowest", *[""] * (count - 2), "highest"]
    return labeled_sheet(images.reshape(-1, *images.shape[2:]), count, list(names), heads)
