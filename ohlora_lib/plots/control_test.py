"""Figures of the image generation test (notebook 08)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import MUTED, SERIES
from ohlora_lib.steering.responses import MOUTH, POSE
from ohlora_lib.steering.select import CorrelationCutoffs

METER_STYLES = {"cnn": ("property CNN", SERIES[1]), "parser": ("parser", SERIES[0]),
                "annotator": ("annotator", SERIES[3]),
                "judge": ("external judge", SERIES[2])}  # fmt: skip
"""Column prefix -> label and color."""


def response_scatter(
    requests: np.ndarray, measured: Mapping[str, np.ndarray], correlations: Mapping[str, np.ndarray]
) -> Figure:
    """Requests (50, 3) against measured scores (50, 3) by meter, with correlations (3,)."""
    figure, panels = pyplot.subplots(1, 3, figsize=(8.6, 2.7))
    for place, (axes, name) in enumerate(zip(panels, EXPRESSION, strict=True)):
        title = []
        for offset, (meter, scores) in enumerate(measured.items()):
            label, color = METER_STYLES[meter]
            shift = 0.06 * (2 * offset - 1)  # so that the meters do not cover each other
            axes.scatter(requests[:, place] + shift, scores[:, place], s=9, lw=0, color=color,
                         alpha=0.7, label=label)  # fmt: skip
            title.append(f"{label} {correlations[meter][place]:.2f}")
        axes.set(title=name, xlabel=f"requested {name}\ncorr.: {', '.join(title)}")
    panels[0].set_ylabel("measured (std. deviations)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncol=2)
    return figure


def pass_rates(rates: Mapping[str, pd.DataFrame]) -> Figure:
    """`comparison.pass_rates` by meter: a line per method, a dot with its interval per meter."""
    names = list(next(iter(rates.values())).index)
    figure, axes = pyplot.subplots(figsize=(8.6, 1.1 + 0.14 * (1 + len(rates)) * len(names)))
    for offset, (meter, table) in enumerate(rates.items()):
        label, color = METER_STYLES[meter]
        at = np.arange(len(names)) + (offset - (len(rates) - 1) / 2) * 0.7 / len(rates)
        interval = np.clip([table.rate - table.low, table.high - table.rate], 0, None)
        axes.errorbar(table.rate, at, xerr=interval, fmt="o", color=color, label=label, capsize=2)
    axes.set(xlim=(-0.03, 1.03), xlabel="fraction of latents that pass, with 95 % interval")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper right", ncol=len(rates))
    return figure


def pass_curves(curves: Mapping[str, pd.DataFrame], lowest: float = 0.8) -> Figure:
    """`comparison.pass_curves` by the meter's label: a panel per meter, a line per method, from the
    cutoff `lowest` on."""
    methods = max(table.shape[1] for table in curves.values())
    size = (8.6, 2.5 + 0.17 * -(-methods // 2))
    figure, panels = pyplot.subplots(1, len(curves), figsize=size, sharey=True, squeeze=False)
    for axes, (label, table) in zip(panels[0], curves.items(), strict=True):
        for number, name in enumerate(table):
            dashes, color = divmod(number, len(SERIES))
            style = {"color": SERIES[color], "ls": ("-", "--", ":")[dashes % 3]}
            axes.plot(table.index, table[name], label=name, **style)
        axes.set(title=label, xlabel="cutoff of all three", ylim=(-0.03, 1.03))
        axes.set(xlim=(lowest, 1))
        axes.xaxis.set_major_locator(MultipleLocator(0.05 if lowest > 0.7 else 0.1))
    panels[0, 0].set_ylabel("fraction of latents that pass")
    lines = panels[0, 0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=2 if methods > 3 else 1)
    return figure


def mouth_and_pose(images: np.ndarray) -> Figure:
    """25 images of one latent, a row per mouth level, a column per pose level."""
    rows = [f"mouth {level:g}" for level in MOUTH]
    return labeled_sheet(images, len(POSE), rows, [f"pose {level:g}" for level in POSE])


def strips(images: Mapping[str, np.ndarray]) -> Figure:
    """By method, images (15, H, W, 3): five levels of eyes, then of mouth, then of pose."""
    rows = [f"{name}: {one}" for name in images for one in EXPRESSION]
    return labeled_sheet(
        np.concatenate(list(images.values())), 5, rows, ["lowest", "", "middle", "", "highest"]
    )


NEAREST = 1e-3
"""Correlations nearer to 1 are drawn at this distance."""


def correlation_by_start(
    tested: pd.DataFrame, methods: Sequence[str], cutoffs: CorrelationCutoffs, meter: str
) -> Figure:
    """Unedited score against 1 - correlation on a meter, which increases downward: a dot per latent
    (at 1 if it has no correlation), a row of panels per method."""
    figure, grid = pyplot.subplots(
        len(methods), 3, figsize=(8.6, 2.4 * len(methods)), sharey=True, squeeze=False
    )
    least, (label, color) = asdict(cutoffs), METER_STYLES[meter]
    shown = tested[tested["method"].isin(methods)]
    worst = 1 - shown[[f"{meter}_{name}_corr" for name in EXPRESSION]].fillna(0).to_numpy().min()
    for row, method in zip(grid, methods, strict=True):
        mine = tested[tested["method"] == method]
        for axes, name in zip(row, EXPRESSION, strict=True):
            missing = (1 - mine[f"{meter}_{name}_corr"].fillna(0)).clip(lower=NEAREST)
            axes.scatter(mine[f"unedited_{name}"], missing, s=14, lw=0, alpha=0.8, color=color,
                         label=label)  # fmt: skip
            axes.axhline(1 - least[name], color=MUTED, lw=1, ls="--", label="cutoff")
            axes.set(xlabel=f"{name} before steering (std. deviations)", yscale="log")
            axes.set_ylim(max(0.3, 2 * worst), 0.8 * NEAREST)
        row[0].set_title(method, loc="left")
        row[0].set_ylabel("1 − correlation")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncol=2)
    return figure
