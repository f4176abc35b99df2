"""Why more samples do not help: what directions gain with their number, and what they do not."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import LinearDirections, checked_samples
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.ridge import fit_ridge, moments, whitening
from ohlora_lib.steering.svm import SvmConfig, fit_svm, overall_accuracy


def sample_count_curve(
    vectors: np.ndarray,
    scores: pd.DataFrame,
    counts: Sequence[int],
    config: SvmConfig | None = None,
) -> pd.DataFrame:
    """Vectors (N, D), scores -> a row per count n, method (svm, ridge) and property:

    `agreement`, the cosine of the directions of two sets of n that share no latent (1: more samples
    would change nothing); `leakage`, what the direction moves the other scores by per unit of its
    own, as a regression over the whole sample sees it; `accuracy`, the SVM's. Without groups.
    """
    config = config or SvmConfig()
    if max(counts) * 2 > len(vectors):
        raise VectorError(f"two sets of {max(counts)} need more than {len(vectors)} latents")
    order = np.random.default_rng(config.seed).permutation(len(vectors))
    slopes, names = read_out(vectors, scores)
    rows = []
    for count in counts:
        halves = [np.sort(order[:count]), np.sort(order[count : 2 * count])]
        sets = [(vectors[half], scores.iloc[half]) for half in halves]
        found = {
            "svm": [fit_svm(*pair, None, config) for pair in sets],
            "ridge": [fit_ridge(*pair) for pair in sets],
        }
        accuracy = overall_accuracy(found["svm"][0].report)
        for method, (one, other) in found.items():
            cosines = agreement(one.directions, other.directions)
            leaked = leakage(one.directions, slopes, names)
            rows += [
                {"n": count, "method": method, "property": name, "agreement": cosines[place],
                 "leakage": leaked[place],
                 "accuracy": accuracy[name] if method == "svm" else np.nan}
                for place, name in enumerate(EXPRESSION)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def read_out(vectors: np.ndarray, scores: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """The linear regression of every score on the vectors: (D, P), and whose columns they are."""
    columns = checked_samples(vectors, scores, scores.columns.drop("idx", errors="ignore"))
    fit = moments(vectors, columns.to_numpy(dtype=float), np.arange(len(vectors)))
    whiten, _ = whitening(fit)
    return whiten @ (whiten.T @ fit.cross), list(columns)


def agreement(one: LinearDirections, other: LinearDirections) -> np.ndarray:
    """Cosines of two sets of arrows (1, 3, D), by property."""
    first, second = one.vectors[0], other.vectors[0]
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / lengths


def leakage(arrows: LinearDirections, slopes: np.ndarray, names: list[str]) -> np.ndarray:
    """Mean |change| of the other scores per unit that each arrow moves its own by, (3,)."""
    moved = arrows.vectors.mean(axis=0) @ slopes  # (3, P)
    places = [names.index(name) for name in EXPRESSION]
    own = np.abs(moved[np.arange(len(EXPRESSION)), places])
    others = np.abs(moved).sum(axis=1) - own
    return others / (len(names) - 1) / np.maximum(own, 1e-12)
