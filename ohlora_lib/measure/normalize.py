"""Raw scores -> normalized scores, which the models use: z, or min-max as in the first version."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_json

DECIMALS = 4
"""As in the published tables."""


@dataclass(frozen=True)
class Normalization:
    """score -> (score - center) / spread per column, fitted on one data set."""

    center: Mapping[str, float]
    spread: Mapping[str, float]

    def __call__(self, raw: pd.DataFrame, decimals: int | None = DECIMALS) -> pd.DataFrame:
        """The fitted columns, normalized and rounded; NaN and infinite scores become NaN."""
        columns = list(self.center)
        scores = (_finite(raw[columns]) - pd.Series(self.center)) / pd.Series(self.spread)
        return scores if decimals is None else scores.round(decimals)


def z_scores(raw: pd.DataFrame) -> Normalization:
    """Mean 0 and sample standard deviation 1 over the finite scores, as in the published tables."""
    finite = _finite(raw)
    return _normalization(finite.mean(), finite.std(ddof=1))


def min_max(raw: pd.DataFrame) -> Normalization:
    """The smallest score becomes 0 and the largest 1; for a pose, -1 and +1."""
    finite = _finite(raw)
    smallest, largest = finite.min(), finite.max()
    center, spread = smallest.copy(), largest - smallest
    pose = [column for column in raw.columns if column.endswith("pose")]
    center[pose], spread[pose] = (smallest + largest)[pose] / 2, spread[pose] / 2
    return _normalization(center, spread)


def _finite(raw: pd.DataFrame) -> pd.DataFrame:
    return raw.replace([np.inf, -np.inf], np.nan)


def _normalization(center: pd.Series, spread: pd.Series) -> Normalization:
    """A constant score has a spread of 0: dividing by 1 instead keeps it at 0."""
    return Normalization(center.to_dict(), spread.where(spread > 0, 1.0).to_dict())


NORMALIZATIONS = {"z": z_scores, "min_max": min_max}
"""By the names that parameters use."""


def write_statistics(normalization: Normalization, path: Path, method: str = "z") -> None:
    """Save what turns raw scores into normalized ones, (raw - mean) / std, as JSON."""
    statistics = {"mean": dict(normalization.center), "std": dict(normalization.spread)}
    write_json(path, statistics | {"method": method})


def read_statistics(path: Path) -> Normalization:
    """The normalization that `write_statistics` saved."""
    try:
        statistics = json.loads(path.read_text())
        return Normalization(statistics["mean"], statistics["std"])
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} is missing or damaged: run notebook 04 again") from error
