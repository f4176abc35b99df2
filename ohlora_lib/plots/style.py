"""Colors and rcParams of all figures."""

import matplotlib

DPI = 144  # displayed at half size, which is sharp on high-density screens
INK, MUTED, GRID = "#22252a", "#6b7280", "#e5e7eb"
SERIES = ("#d9486e", "#3b6fb6", "#e39a2d", "#3f9c79", "#8a62b3", "#7d8794")
"""Colors in order of use: the first is Oh-LoRA's own."""


def use_style() -> None:
    """Set rcParams for all figures."""
    matplotlib.rcParams.update(
        {
            "figure.dpi": DPI / 2,
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": matplotlib.cycler(color=SERIES),
            "grid.color": GRID,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "text.color": INK,
            "legend.frameon": False,
        }
    )
