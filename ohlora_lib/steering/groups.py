"""Groups of latents with similar hair and background, split at the medians of a sample."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import GROUP_PROPERTIES

EVERYWHERE = "all"
"""The name of the one group without a grouping."""


class VectorError(ValueError):
    """Vectors, scores or tables that cannot be used: the message says which and why."""


@dataclass(frozen=True)
class Grouping:
    """One bit per property, as a letter: h where a score is the median or above, l below it."""

    properties: tuple[str, ...]
    medians: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All groups in order: hhh, hhl, hlh, … lll."""
        return tuple("".join(bits) for bits in product("hl", repeat=len(self.properties)))

    def indices(self, scores: pd.DataFrame) -> np.ndarray:
        """Scores with the properties as columns -> each row's group, (N,) indices into `names`."""
        low = checked_scores(scores, self.properties).to_numpy() < np.array(self.medians)
        return low @ (1 << np.arange(len(self.properties))[::-1])

    def of(self, scores: pd.DataFrame) -> pd.Series:
        """Scores -> the name of each row's group."""
        return pd.Series(
            np.array(self.names)[self.indices(scores)], scores.index, name="group_name"
        )


def median_grouping(scores: pd.DataFrame, properties: Sequence[str] = GROUP_PROPERTIES) -> Grouping:
    """Scores of a sample -> its groups.

    If a score never varies, all images are h, and the groups with its l stay empty.
    """
    medians = checked_scores(scores, properties).median()
    return Grouping(tuple(properties), tuple(float(value) for value in medians))


def rows_by_group(scores: pd.DataFrame, grouping: Grouping | None) -> dict[str, np.ndarray]:
    """Group -> the numbers of its rows; without a grouping, one group of all rows."""
    if grouping is None:
        return {EVERYWHERE: np.arange(len(scores))}
    groups = grouping.indices(scores)
    return {name: np.flatnonzero(groups == place) for place, name in enumerate(grouping.names)}


def checked_scores(scores: pd.DataFrame, properties: Iterable[str]) -> pd.DataFrame:
    """These columns of the scores, or an error that names a missing or non-finite one."""
    properties = list(properties)
    missing = [name for name in properties if name not in scores]
    if missing:
        there = ", ".join(map(str, scores.columns))
        raise VectorError(f"no scores of {missing[0]!r}: the table has {there}")
    if scores.empty:
        raise VectorError("the score table has no rows: sample some images first")
    chosen = scores[properties]
    if len(words := chosen.select_dtypes(exclude="number").columns):
        raise VectorError(f"the scores of {words[0]!r} are not numbers")
    bad = ~np.isfinite(chosen.to_numpy(dtype=float))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise VectorError(
            f"the score of {chosen.columns[column]!r} in row {scores.index[row]} is "
            f"{chosen.iat[row, column]} ({bad.sum()} such scores): leave those images out"
        )
    return chosen
