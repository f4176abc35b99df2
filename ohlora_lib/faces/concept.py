"""Which images fit the concept: a young woman without glasses in a good picture."""

from dataclasses import asdict, dataclass

import pandas as pd


@dataclass(frozen=True)
class Cutoffs:
    """The published ones: gender and quality at least, age and glass at most. None asks nothing."""

    gender: float | None = 0.92
    quality: float | None = 0.9
    age: float | None = 0.008
    glass: float | None = 0.01


AT_LEAST = ("gender", "quality")
ALL = "all"


def passes(scores: pd.DataFrame, cutoffs: Cutoffs | None = None) -> pd.DataFrame:
    """Scores with columns gender, quality, age, glass -> which pass: a column for each and `all`.

    A score that is missing passes no cutoff.
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
