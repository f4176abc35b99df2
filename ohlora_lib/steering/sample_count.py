"""Leakage of directions, and what more samples change about it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import LinearDirections, checked_samples
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.ridge import fit_ridge, moments, whitening
from ohlora_lib.steering.svm import SvmConfig, fit_svm, overall_accuracy


def score_slopes(vectors: np.ndarray, scores: pd.DataFrame) -> pd.DataFrame:
    """The linear regression of every score on the vectors (N, D): (D, P), a column per score."""
    columns = checked_samples(vectors, scores, scores.columns.drop("idx", errors="ignore"))
    fit = moments(vectors, columns.to_numpy(dtype=float), np.arange(len(vectors)))
    whiten, _ = whitening(fit)
    return pd.DataFrame(whiten @ (whiten.T @ fit.cross), columns=columns.columns)


def score_changes(directions: LinearDirections, slopes: pd.DataFrame) -> pd.DataFrame:
    """The change of every score along each direction, per unit change of its own score, (3, P).

    By the regression `slopes`; of directions that differ by group, along their mean.
    """
    moved = directions.vectors.mean(axis=0) @ slopes.to_numpy()
    own = np.diag(moved[:, [slopes.columns.get_loc(name) for name in EXPRESSION]])
    own = np.where(np.abs(own) > 1e-12, own, 1e-12)
    return pd.DataFrame(moved / own[:, None], list(EXPRESSION), slopes.columns)


def leakage(changes: pd.DataFrame) -> pd.Series:
    """`score_changes` -> the mean |change| of the other scores per unit of its own, by property."""
    return (changes.abs().sum(axis=1) - 1) / (changes.shape[1] - 1)


def agreement(one: LinearDirections, other: LinearDirections) -> np.ndarray:
    """Cosines of two sets of directions (1, 3, D), by property."""
    first, second = one.vectors[0], other.vectors[0]
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / lengths


def sample_count_curve(
    vectors: np.ndarray,
    scores: pd.DataFrame,
    counts: Sequence[int],
    config: SvmConfig | None = None,
) -> pd.DataFrame:
    """Vectors (N, D), scores -> a row per count n, method (svm, ridge) and property.

    `agreement`: the cosine of the directions of two disjoint samples of n latents; `leakage`, by a
    regression on all N; `accuracy`, the SVM's. All without groups.
    """
    config = config or SvmConfig()
    if max(counts) * 2 > len(vectors):
        raise VectorError(f"two samples of {max(counts)} need more than {len(vectors)} latents")
    order = np.random.default_rng(config.seed).permutation(len(vectors))
    slopes = score_slopes(vectors, scores)
    rows = []
    for count in counts:
        halves = [np.sort(order[:count]), np.sort(order[count : 2 * count])]
        samples = [(vectors[half], scores.iloc[half]) for half in halves]
        fits = {
            "svm": [fit_svm(*sample, None, config) for sample in samples],
            "ridge": [fit_ridge(*sample) for sample in samples],
        }
        for method, (one, other) in fits.items():
            table = pd.DataFrame(
                {
                    "n": count,
                    "method": method,
                    "agreement": agreement(one.directions, other.directions),
                    "leakage": leakage(score_changes(one.directions, slopes)),
                    "accuracy": overall_accuracy(one.report) if method == "svm" else np.nan,
                },
                index=pd.Index(EXPRESSION, name="property"),
            )
            rows.append(table.reset_index())
    return pd.concat(rows, ignore_index=True)
