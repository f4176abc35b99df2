"""Methods side by side: a control test's rows in, one line for each method out."""

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.control_test import meter_columns
from ohlora_lib.steering.select import CORRELATIONS, CorrelationCutoffs, passes, wilson_interval

METERS = ("cnn", "parser")
UNWANTED = ("background", "outline", "identity", "gender_change", "quality_change", "age_change",
         "glass_change")  # fmt: skip
"""What should not move."""


def pass_rates(tested: pd.DataFrame, meter: str, cutoffs: CorrelationCutoffs) -> pd.DataFrame:
    """Per method: tested, passed, rate, and the 95 % interval low to high."""
    passed = passes(meter_columns(tested, meter), cutoffs, signed=True).groupby(
        tested["method"], sort=False
    )
    table = pd.DataFrame({"tested": passed.size(), "passed": passed.sum()})
    ends = [wilson_interval(row.passed, row.tested) for row in table.itertuples()]
    return table.assign(
        rate=table.passed / table.tested, low=[e[0] for e in ends], high=[e[1] for e in ends]
    )


def mean_correlations(tested: pd.DataFrame, meter: str) -> pd.DataFrame:
    """Per method: mean correlation of eyes, mouth and pose with their sign."""
    rows = meter_columns(tested, meter).groupby(tested["method"], sort=False)
    return rows[list(CORRELATIONS)].mean().set_axis(list(EXPRESSION), axis=1)


def gains(tested: pd.DataFrame) -> pd.DataFrame:
    """Per method and property: deviations per unit asked for on the independent meter ÷ on the CNN.

    Far below 1, a method moves what the CNN looks at and not the face.
    """
    slopes = tested.groupby("method", sort=False)
    slopes = {m: slopes[[f"{m}_{name}_slope" for name in EXPRESSION]].mean() for m in METERS}
    parser, cnn = (slopes[m].set_axis(list(EXPRESSION), axis=1) for m in ("parser", "cnn"))
    return parser / cnn.where(cnn.abs() > 1e-6)


def slope_variation(tested: pd.DataFrame, meter: str = "parser") -> pd.DataFrame:
    """Per method and property: how much what a unit moves differs from latent to latent, as the
    deviation of its slopes ÷ their mean."""
    methods = tested.groupby("method", sort=False)
    slopes = [methods[f"{meter}_{name}_slope"] for name in EXPRESSION]
    parts = [each.std(ddof=0) / each.mean().where(each.mean().abs() > 1e-6) for each in slopes]
    return pd.concat(parts, axis=1).set_axis(list(EXPRESSION), axis=1)


def side_effects(tested: pd.DataFrame, meter: str = "parser") -> pd.DataFrame:
    """Per method, per deviation that the target itself moves by on this meter:

    mean change of the other properties (for eyes, mouth, pose), and of what should not move, for
    which all three count as the target.
    """
    methods = tested.groupby("method", sort=False)
    moved = pd.DataFrame({n: methods[f"{meter}_{n}_slope"].mean().abs() for n in EXPRESSION})
    moved = moved.where(moved > 1e-6)
    table = pd.DataFrame({n: methods[f"{meter}_{n}_leakage"].mean() for n in EXPRESSION}) / moved
    return table.join(methods[list(UNWANTED)].mean().div(moved.mean(axis=1), axis=0))


def tightened(tested: pd.DataFrame, method: str, meter: str, most: float = 0.1) -> tuple:
    """The published cutoffs raised alike until this method passes at most `most`: for a generator
    on which the baseline is high -> (cutoffs, what was added)."""
    mine = meter_columns(tested[tested["method"] == method], meter)
    for added in np.arange(0, 0.12, 0.005):
        cutoffs = CorrelationCutoffs(*(min(c + added, 1.0) for c in (0.92, 0.88, 0.88)))
        if passes(mine, cutoffs, signed=True).mean() <= most:
            break
    return cutoffs, float(added)
