"""Pass or fail in the image generation test; as a command, for a table in the published format.

    python -m ohlora_lib.steering.select TABLE.csv

counts how many latents of TABLE.csv pass. The table has the format of VectorFind-v7 to v9: one row
per latent with eyes_corr, mouth_corr, pose_corr. A latent passes if the absolute value of each
correlation reaches its cutoff. The published correlations are negative because the published
directions point downwards.
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
    """Minimum |correlation| per property. Default: the published cutoffs of VectorFind-v8, v9."""

    eyes: float = 0.92
    mouth: float = 0.88
    pose: float = 0.88

    def __post_init__(self):
        for name, cutoff in asdict(self).items():
            if not 0 <= cutoff <= 1:
                raise VectorError(f"the cutoff of {name} is {cutoff}: it must be between 0 and 1")


CUTOFFS_V7 = CorrelationCutoffs(0.92, 0.88, 0.92)
CUTOFFS_V7_RECHECK = CorrelationCutoffs(0.90, 0.90, 0.88)
"""The second cutoffs of VectorFind-v7 (column `passed_rechecked`)."""
CUTOFFS_V8 = CorrelationCutoffs()
"""VectorFind-v8 and v9."""


def read_test_table(path: str | Path) -> pd.DataFrame:
    """Read a test result in the published format; correlations become floats.

    Only the three correlation columns are required: the table of v9's gradient variant has no
    groups. An unnamed first column of row numbers, which some files have, is dropped.
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
        raise StoreError(f"{path} has no rows: there is no tested latent to count")
    return table


def _correlations(cells: pd.Series, name: str, path: str | Path) -> pd.Series:
    """A column as floats; an empty cell is NaN (undefined: a constant score)."""
    numbers = pd.to_numeric(cells, errors="coerce")
    wrong = (numbers.isna() & cells.notna()) | (numbers.abs() > 1 + 1e-9)
    if wrong.any():
        row = wrong.idxmax()
        raise StoreError(
            f"{path}: {name} in row {row} is {cells[row]!r}: must be a number from -1 to 1"
        )
    return numbers


def passes(
    table: pd.DataFrame, cutoffs: CorrelationCutoffs = CUTOFFS_V8, signed: bool = False
) -> pd.Series:
    """Which rows reach all three cutoffs (bool); a row with an undefined correlation does not.

    Absolute values are compared, because the published directions point downwards. `signed`
    requires positive correlations: the property must move in the requested direction.
    """
    least = np.array([getattr(cutoffs, name) for name in EXPRESSION])
    correlations = table[list(CORRELATIONS)]
    return ((correlations if signed else correlations.abs()) >= least).all(axis=1)


def mean_correlations(table: pd.DataFrame) -> pd.Series:
    """Mean signed correlation per property, and mean sum of absolute values; NaN is skipped."""
    correlations = table[list(CORRELATIONS)]
    sums = correlations.abs().sum(axis=1, skipna=False)
    return pd.Series([*correlations.mean(), sums.mean()], [*EXPRESSION, SUM])


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """95 % Wilson confidence interval of the proportion count / total."""
    from scipy.stats import binomtest  # slow to import

    interval = binomtest(int(count), int(total)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def summary(table: pd.DataFrame, cutoffs: CorrelationCutoffs) -> Iterator[str]:
    """The lines that the command prints."""
    tested, passed = len(table), int(passes(table, cutoffs).sum())
    low, high = wilson_interval(passed, tested)
    means = mean_correlations(table)
    shown = ", ".join(f"{name} {cutoff:g}" for name, cutoff in asdict(cutoffs).items())
    yield f"tested {tested}"
    yield (f"passed {passed} ({passed / tested:.2%}, 95% interval {low:.2%} to {high:.2%}) "
           f"with |correlation| >= {shown}")  # fmt: skip
    yield "mean correlation " + ", ".join(f"{name} {means[name]:.4f}" for name in EXPRESSION)
    yield f"mean sum of absolute correlations {means[SUM]:.4f}"
    if undefined := int(table[list(CORRELATIONS)].isna().any(axis=1).sum()):
        yield f"rows without a correlation: {undefined} (they do not pass and enter no mean)"
    for column in table.columns.intersection(["passed", "passed_rechecked"]):
        yield f"column {column!r} of the table: {int((table[column] == PASSED).sum())} passed"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ohlora_lib.steering.select",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", type=Path, metavar="TABLE.csv", help="test result")
    for name in EXPRESSION:
        cutoff = getattr(CUTOFFS_V8, name)
        parser.add_argument(
            f"--{name}", type=float, default=cutoff, help=f"cutoff (default: {cutoff})"
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
