"""The concept: a young woman without glasses in an image of good quality.

Everything here takes the four filter properties by name (a DataFrame or a mapping of (N,) arrays):
gender, quality, age and glass, as probabilities (female, good, old, wears glasses) or 0/1 labels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.faces.shares import percent

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


def label_uncertainty(values: Mapping[str, np.ndarray] | pd.DataFrame) -> np.ndarray:
    """(N,) entropy in bits of the four answers, as if they were independent: 0 sure, 4 unknown."""
    p = np.stack([np.asarray(values[name], np.float64) for name in FILTER_PROPERTIES])
    p = np.stack([p, 1 - p]).clip(1e-12, 1)
    return -(p * np.log2(p)).sum((0, 1))


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


@dataclass(frozen=True)
class FilteredImages:
    """Which images pass which cutoff (as `passes`), and the numbers of those that are kept."""

    passed: pd.DataFrame
    numbers: np.ndarray
    by_rank: bool
    """Too few passed, so the best-ranked were kept instead."""

    @property
    def headline(self) -> str:
        """How many images pass, and how many are kept if that is not the same."""
        passing, total = int(self.passed[ALL].sum()), len(self.passed)
        low, high = _interval(passing, total)
        share = percent(passing / total, 1)
        text = f"{passing:,} of {total:,} ({share}; {percent(low, 1)}–{percent(high, 1)})"
        return f"{text} pass; {len(self.numbers):,} kept by rank" if self.by_rank else text


def filter_images(scores: pd.DataFrame, cutoffs: Cutoffs, min_kept: int) -> FilteredImages:
    """Scores (a row per image: idx and the four scores) -> the images that pass all cutoffs.

    If fewer than `min_kept` pass, that many with the highest `concept_fitness` are kept.
    """
    passed = passes(scores, cutoffs)
    numbers = scores.loc[passed[ALL], "idx"].to_numpy()
    by_rank = len(numbers) < min(min_kept, len(scores))
    if by_rank:
        best = np.argsort(-concept_fitness(scores), kind="stable")[:min_kept]
        numbers = np.sort(scores["idx"].to_numpy()[best])
    return FilteredImages(passed, numbers, by_rank)


def borderline(scores: pd.DataFrame, cutoffs: Cutoffs, count: int) -> pd.DataFrame:
    """The `count` images on each side of each cutoff whose scores are nearest to it.

    Columns: property, side (passes or fails), rank (0 is nearest), idx.
    """
    rows = []
    for name, cutoff in asdict(cutoffs).items():
        if cutoff is None:
            continue
        passed = scores[name] >= cutoff if name in AT_LEAST else scores[name] <= cutoff
        nearest = (scores[name] - cutoff).abs().sort_values(kind="stable").index
        for side, chosen in (("passes", passed), ("fails", ~passed)):
            for rank, row in enumerate(nearest[chosen[nearest].to_numpy()][:count]):
                rows.append((name, side, rank, scores.loc[row, "idx"]))
    return pd.DataFrame(rows, columns=["property", "side", "rank", "idx"])


def filter_quality(passed: np.ndarray, fits: np.ndarray) -> dict[str, float]:
    """How well a filter works, from (N,) bools: the image passes; it fits the concept.

    precision: how many of those that pass fit; recall: how many of those that fit pass. NaN if
    there are none.
    """
    passed, fits = np.asarray(passed, bool), np.asarray(fits, bool)
    both = (passed & fits).sum()
    return {
        "images": len(fits),
        "fit": fits.mean(),
        "pass": int(passed.sum()),
        "precision": both / passed.sum() if passed.any() else np.nan,
        "recall": both / fits.sum() if fits.any() else np.nan,
    }


def rejections(passed: pd.DataFrame, fits: np.ndarray, groups: pd.Series) -> pd.DataFrame:
    """Faces (N rows) that fit the concept but are rejected, as shares per group and cutoff.

    `passed` is of `passes`, `fits` (N,) bool, `groups` (N,) names. A row per group and cutoff:
    group, cutoff, count, faces, share, and the bounds `low` and `high` of its 95 % Wilson interval.
    """
    rows = []
    for group, own in passed[fits].groupby(groups[fits], sort=False, observed=True):
        for cutoff, column in own.items():
            count = int((~column).sum())
            share = count / len(own)
            rows.append((group, cutoff, count, len(own), share, *_interval(count, len(own))))
    return pd.DataFrame(rows, columns=["group", "cutoff", "count", "faces", "share", "low", "high"])


def concept_shares(sets: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Sets of images (name -> filter probabilities or labels) -> how many meet each condition.

    A row per condition and set, in these orders: condition, set, count, images, share, and the
    bounds `low` and `high` of its 95 % Wilson interval.
    """
    tables = {name: concept_conditions(values) for name, values in sets.items()}
    conditions = next(iter(tables.values())).columns
    rows = []
    for condition in conditions:
        for name, table in tables.items():
            count, images = int(table[condition].sum()), len(table)
            interval = _interval(count, images)
            rows.append((condition, name, count, images, count / images, *interval))
    columns = ["condition", "set", "count", "images", "share", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def paired_change(before: np.ndarray, after: np.ndarray) -> tuple[int, int, float]:
    """Answers (N,) bool to one question on the same N cases, twice -> how many became true, how
    many became false, and the p of the exact McNemar test that both are equally likely."""
    from scipy.stats import binomtest

    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return gained, lost, float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _interval(count: int, images: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    from scipy.stats import binomtest

    return tuple(binomtest(count, images).proportion_ci(method="wilson"))


def shares_as_text(shares: pd.DataFrame) -> pd.DataFrame:
    """`concept_shares` as a table to read: a row per condition, a column per set."""
    text = [
        f"{percent(one.share, 1)} ({percent(one.low, 1)} to {percent(one.high, 1)})"
        for one in shares.itertuples()
    ]
    table = shares.assign(text=text).pivot(index="condition", columns="set", values="text")
    order = shares["condition"].unique(), shares["set"].unique()
    return table.loc[order[0], order[1]].rename_axis(index="share of images", columns=None)
