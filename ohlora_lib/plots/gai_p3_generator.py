"""Figures of notebook gai_p3/04: training and latent groups of the NVAE."""

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.plots.style import MUTED, SERIES


def training_losses(losses: pd.DataFrame, smooth: int = 10) -> Figure:
    """Columns step, bits, kl, swap (optional), beta: a panel each, with a moving average."""
    names = {"bits": "bits per dimension (bound)", "kl": "of these: KL", "swap": "swap loss"}
    shown = [name for name in names if name in losses]
    figure, row = pyplot.subplots(1, len(shown), figsize=(2.9 * len(shown), 2.4))
    for axes, name in zip(np.atleast_1d(row), shown, strict=True):
        axes.plot(losses["step"], losses[name], color=MUTED, lw=0.6)
        mean = losses[name].rolling(smooth, min_periods=1, center=True).mean()
        axes.plot(losses["step"], mean, color=SERIES[0], lw=1.6)
        axes.set(title=names[name], xlabel="step")
    return figure


def kl_bars(table: pd.DataFrame) -> Figure:
    """The table of `kl_table`: bits per dimension and active channels of each group."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.2, 2.7))
    colors = dict(zip(table["size"].unique(), SERIES, strict=False))
    for size, some in table.groupby("size", sort=False):
        left.bar(some.index, some["bits per dimension"], color=colors[size], label=size)
        right.bar(some.index, some["active channels"], color=colors[size])
    right.axhline(table["channels"].max(), color=MUTED, ls="--", lw=1)
    left.set(xlabel="group, coarsest first", title="KL, bits per dimension")
    right.set(xlabel="group, coarsest first", title="Active channels (dashed: all)")
    left.legend(title="size")
    for axes in (left, right):
        axes.set_xticks(table.index)
    return figure
