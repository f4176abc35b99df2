"""What notebook 01 draws: its settings, its figures and its tables."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.lab.figures import SERIES
from ohlora_lib.lab.settings import Between, OneOf, Settings

SHOWN = {
    "eyes": "eyes: opening of the lids",
    "mouth": "mouth: opening",
    "pose": "pose: turn of the head",
    "gender": "gender (larger is female)",
    "age": "age (larger is older)",
    "quality": "quality (larger is better)",
    "hair_color": "hair: lightness",
    "hair_length": "hair: length",
    "curl": "hair: curl",
}
"""The attributes that the page shows, with what their axis says."""


@dataclass(frozen=True)
class GenerateSettings(Settings):
    """How many faces, how large, and how many columns the contact sheet has."""

    images: Annotated[int, Between(16, 1_000_000)]
    size: Annotated[int, OneOf((128, 256))]
    columns: Annotated[int, Between(2, 16)]


def attribute_histograms(table: pd.DataFrame) -> Figure:
    """How each shown attribute is spread over the faces, women and men apart."""
    figure, grid = pyplot.subplots(3, 3, figsize=(8.6, 6))
    colours = {"female": SERIES[0], "male": SERIES[1]}
    for axes, (name, label) in zip(grid.flat, SHOWN.items(), strict=True):
        for who, chosen in (("female", table.female), ("male", ~table.female)):
            bins = np.linspace(table[name].min(), table[name].max(), 25)
            values = table.loc[chosen, name]
            seaborn.histplot(x=values, bins=bins, ax=axes, color=colours[who], label=who, lw=0)
        axes.set(xlabel=label, ylabel="faces")
    grid.flat[0].legend()
    return figure


def pixel_statistics(images: np.ndarray) -> pd.DataFrame:
    """Mean, spread and extremes of each colour channel over all pixels of (N, H, W, 3) uint8."""
    rows = {}
    for name, at in (("red", 0), ("green", 1), ("blue", 2)):
        # A histogram of 256 levels holds all of it, however many images there are.
        counts = np.bincount(images[..., at].ravel(), minlength=256)
        levels = np.arange(256)
        mean = (counts * levels).sum() / counts.sum()
        spread = np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum())
        rows[name] = {
            "mean": mean,
            "standard deviation": spread,
            "darkest": int(levels[counts > 0].min()),
            "lightest": int(levels[counts > 0].max()),
        }
    return pd.DataFrame(rows).T.rename_axis("channel").astype({"darkest": int, "lightest": int})


def mean_and_spread(images: np.ndarray) -> Figure:
    """The average face, and where faces differ: shows how they are framed."""
    values = images.astype(np.float32)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(6.4, 3.2))
    left.imshow(values.mean(0).round().astype(np.uint8))
    left.set_title("mean of all faces")
    shown = right.imshow(values.std(0).mean(-1), cmap="magma")
    right.set_title("standard deviation")
    figure.colorbar(shown, ax=right, label="grey levels (of 255)", shrink=0.85)
    for axes in (left, right):
        axes.set_axis_off()
    return figure


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """How many faces are female, of good quality, old, or wear glasses: the concept's four."""
    rows = {
        name: {"faces": int(table[column].sum()), "share": f"{table[column].mean():.1%}"}
        for name, column in (
            ("female", "female"),
            ("good quality", "good"),
            ("old", "old"),
            ("with glasses", "glasses_worn"),
        )
    }
    fits = table.female & table.good & ~table.old & ~table.glasses_worn
    rows["**fits the concept**: all four right"] = {
        "faces": int(fits.sum()),
        "share": f"{fits.mean():.1%}",
    }
    return pd.DataFrame(rows).T.rename_axis("what").astype({"faces": int})
