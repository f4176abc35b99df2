"""The concept: a young woman without glasses in an image of good quality.

Everything here takes the four filter properties by name (a DataFrame or a mapping of (N,) arrays):
gender, quality, age and glass, as probabilities (female, good, old, wears glasses) or 0/1 labels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import FILTER_PROPERTIES

FITS = "fits the concept"


def concept_conditions(values: Mapping[str, np.ndarray] | pd.DataFrame) -> pd.DataFrame:
    """A bool column per condition, decided at a probability of 0.5, and `FITS`: all four hold."""
    said = {name: np.asarray(values[name]) for name in FILTER_PROPERTIES}
    conditions = pd.DataFrame(
        {
            "female": said["gender"] >= 0.5,
            "good quality": said["quality"] >= 0.5,
            "young": said["age"] < 0.5,
            "without glasses": said["glass"] < 0.5,
        }
    )
    return conditions.assign(**{FITS: conditions.all(axis=1)})


def fits_concept(values: Mapping[str, np.ndarray] | pd.DataFrame) -> np.ndarray:
    """(N,) bool: which images show a young woman without glasses in good quality."""
    return concept_conditions(values)[FITS].to_numpy()


def concept_fitness(values: Mapping[str, np.ndarray] | pd.DataFrame) -> np.ndarray:
    """(N,) the probability of all four conditions, as if they were independent: for ranking."""
    fits = {
        name: np.asarray(values[name]) if name in AT_LEAST else 1 - np.asarray(values[name])
        for name in FILTER_PROPERTIES
    }
    return np.prod(list(fits.values()), axis=0)


@dataclass(frozen=True)
class Cutoffs:
    """The published filter: gender and quality at least, age and glass at most these scores.

    A cutoff of None is not applied.
    """

    gender: float | None = 0.92
    quality: float | None = 0.9
    age: float | None = 0.008
    glass: float | None = 0.01


AT_LEAST = ("gender", "quality")
ALL = "all"


def passes(scores: pd.DataFrame, cutoffs: Cutoffs | None = None) -> pd.DataFrame:
    """Scores (a row per image) -> a bool column per applied cutoff and `all`: the image passes.

    A missing score (NaN) never passes.
    """
    asked = {name: cut for name, cut in asdict(cutoffs or Cutoffs()).items() if cut is not None}
    missing = [name for name in asked if name not in scores]
    if missing:
        raise ValueError(
            f"no scores of {missing[0]!r}: score the images, or set its cutoff to None"
        )
    passed = pd.DataFrame(
        {
            name: scores[name] >= cut if name in AT_LEAST else scores[name] <= cut
            for name, cut in asked.items()
        },
        index=scores.index,
    )
    return passed.assign(**{ALL: passed.all(axis=1)})
