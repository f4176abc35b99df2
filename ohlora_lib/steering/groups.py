"""Groups: images alike in hair and background, by the medians over the generator's images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import GROUP_PROPERTIES

EVERYWHERE = "all"
"""The one group where there is no grouping."""


class VectorError(ValueError):
    """Vectors, scores or tables that the search cannot work on: the message says which and why."""


@dataclass(frozen=True)
class Grouping:
    """A letter per property: h where an image's score is the median or above, l below it."""

    properties: tuple[str, ...]
    medians: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All groups, h before l: hhh, hhl, hlh, … lll."""
        return tuple("".join(letters) for letters in product("hl", repeat=len(self.properties)))

    def indices(self, scores: pd.DataFrame) -> np.ndarray:
        """Scores with the properties as columns -> each row's group, (N,) places in `names`."""
        low = checked_scores(scores, self.properties).to_numpy() < np.array(self.medians)
        return low @ (1 << np.arange(len(self.properties))[::-1])

    def of(self, scores: pd.DataFrame) -> pd.Series:
        """Scores -> each row's group by its name."""
        return pd.Series(
            np.array(self.names)[self.indices(scores)], scores.index, name="group_name"
        )


def median_grouping(scores: pd.DataFrame, properties: Sequence[str] = GROUP_PROPERTIES) -> Grouping:
    """Scores of the generator's images -> the groups that their medians make.

    A score that never varies makes no two halves: all its images are h, and the groups with its l
    stay empty.
    """
    medians = checked_scores(scores, properties).median()
    return Grouping(tuple(properties), tuple(float(value) for value in medians))


def rows_by_group(scores: pd.DataFrame, grouping: Grouping | None) -> dict[str, np.ndarray]:
    """The places of each group's rows, by its name; without a grouping, of all rows."""
    if grouping is None:
        return {EVERYWHERE: np.arange(len(scores))}
    groups = grouping.indices(scores)
    return {name: np.flatnonzero(groups == place) for place, name in enumerate(grouping.names)}


def checked_scores(scores: pd.DataFrame, properties: Iterable[str]) -> pd.DataFrame:
    """These columns of the scores, or an error that names what is missing or is not a number."""
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
