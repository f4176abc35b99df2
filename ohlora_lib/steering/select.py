"""`python -m ohlora_lib.steering.select TABLE.csv`: how many latents of a control test pass.

TABLE.csv is a test result in the published layout (VectorFind-v7 to v9): a row per latent with
eyes_corr, mouth_corr, pose_corr. A latent passes when the size of each of its three correlations
reaches its cutoff; the published ones are negative, as their directions point downwards.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table

CORRELATIONS = tuple(f"{name}_corr" for name in EXPRESSION)
SUM = "sum_abs_corr"
PASSED = "O"


@dataclass(frozen=True)
class CorrelationCutoffs:
    """What |correlation| must at least be; VectorFind-v8's and v9's unless told otherwise."""

    eyes: float = 0.92
    mouth: float = 0.88
    pose: float = 0.88

    def __post_init__(self):
        for name, cutoff in asdict(self).items():
            if not 0 <= cutoff <= 1:
                raise VectorError(f"the cutoff of {name} is {cutoff}: it must lie between 0 and 1")


V7_FIRST = CorrelationCutoffs(0.92, 0.88, 0.92)
V7_SECOND = CorrelationCutoffs(0.90, 0.90, 0.88)
V8 = CorrelationCutoffs()


def read_test_table(path: str | Path) -> pd.DataFrame:
    """A test result in the published layout -> its rows, correlations as numbers.

    Only the three correlations have to be there: v9's gradient variant has no groups, and some
    files begin with a column of row numbers without a name, which is dropped.
    """
    table = read_table(path)
    table.columns = [str(name).strip() for name in table.columns]
    table = table.loc[:, ~table.columns.str.match(r"^(Unnamed:.*)?$")]
    missing = [name for name in CORRELATIONS if name not in table]
    if missing:
        raise StoreError(
            f"{path} has no column {missing[0]!r}: a test result has {', '.join(CORRELATIONS)}; "
            f"this table has {', '.join(table.columns)}"
        )
    for name in CORRELATIONS:
        table[name] = _correlations(table[name], name, path)
    if table.empty:
        raise StoreError(f"{path} has no rows: nothing was tested")
    return table


def _correlations(cells: pd.Series, name: str, path: str | Path) -> pd.Series:
    """A column as numbers; an empty cell is NaN (the score never changed: no correlation)."""
    numbers = pd.to_numeric(cells, errors="coerce")
    wrong = (numbers.isna() & cells.notna()) | (numbers.abs() > 1 + 1e-9)
    if wrong.any():
        row = wrong.idxmax()
        raise StoreError(f"{path}: {name} in row {row} is {cells[row]!r}, which is no correlation")
    return numbers


def passes(
    table: pd.DataFrame, cutoffs: CorrelationCutoffs = V8, upwards: bool = False
) -> pd.Series:
    """Which rows reach all three cutoffs; one without a correlation does not.

    Whatever the sign, as the published directions point downwards; `upwards` counts those alone
    that follow what was asked for, not its opposite.
    """
    least = np.array([getattr(cutoffs, name) for name in EXPRESSION])
    correlations = table[list(CORRELATIONS)]
    return ((correlations if upwards else correlations.abs()) >= least).all(axis=1)


def mean_correlations(table: pd.DataFrame) -> pd.Series:
    """Means by property, with their sign, and of the sum of their sizes; of rows that have them."""
    correlations = table[list(CORRELATIONS)]
    sums = correlations.abs().sum(axis=1, skipna=False)
    return pd.Series([*correlations.mean(), sums.mean()], [*EXPRESSION, SUM])


def wilson(passed: int, tested: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % confidence interval of a pass rate, after Wilson: right for rates near 0 too."""
    rate, extra = passed / tested, z * z / tested
    half = z * np.sqrt(rate * (1 - rate) / tested + extra / (4 * tested))
    return (rate + extra / 2 - half) / (1 + extra), (rate + extra / 2 + half) / (1 + extra)


def summary(table: pd.DataFrame, cutoffs: CorrelationCutoffs) -> Iterator[str]:
    """The lines of the command's answer."""
    tested, passed = len(table), int(passes(table, cutoffs).sum())
    low, high = wilson(passed, tested)
    means = mean_correlations(table)
    asked = ", ".join(f"{name} {cutoff:g}" for name, cutoff in asdict(cutoffs).items())
    yield f"tested {tested}"
    yield (f"passed {passed} ({passed / tested:.2%}, 95% interval {low:.2%} to {high:.2%}) "
           f"at |correlation| of at least {asked}")  # fmt: skip
    yield "mean correlation " + ", ".join(f"{name} {means[name]:.4f}" for name in EXPRESSION)
    yield f"mean sum of sizes {means[SUM]:.4f}"
    if undefined := int(table[list(CORRELATIONS)].isna().any(axis=1).sum()):
        yield f"{undefined} rows lack a correlation: they do not pass, and no mean counts them"
    for column in table.columns.intersection(["passed", "passed_rechecked"]):
        yield f"the table's own column {column!r} says {int((table[column] == PASSED).sum())}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ohlora_lib.steering.select", description=__doc__
    )
    parser.add_argument("table", type=Path, metavar="TABLE.csv")
    for name in EXPRESSION:
        cutoff = getattr(V8, name)
        parser.add_argument(
            f"--{name}", type=float, default=cutoff, help=f"cutoff, {cutoff} if not given"
        )
    options = vars(parser.parse_args(arguments))
    try:
        table = read_test_table(options.pop("table"))
        for line in summary(table, CorrelationCutoffs(**options)):
            print(line)
    except (StoreError, VectorError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
