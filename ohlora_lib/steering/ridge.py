"""Ridge directions: one regression of all scores at once, so that each direction keeps the others.

In whitened vectors the length of a step says how unusual the latent becomes. Among all steps that
move one score by 1 and, according to the regression, every other score by 0, the pseudo-inverse of
the regression gives the shortest. An SVM's normal has neither property: it also moves whatever is
correlated with the score. Where the colors around the faces (`scene`) are given, a step that
changes them counts as longer.

On whitened vectors a ridge penalty shrinks all weights alike and turns no direction, so the
regression over all images has none; a group's is shrunk toward that one instead of toward zero.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION, PROPERTIES
from ohlora_lib.steering.directions import (
    FittedDirections,
    LinearDirections,
    checked_samples,
    pieces,
)
from ohlora_lib.steering.groups import Grouping, VectorError, rows_by_group


@dataclass(frozen=True)
class RidgeConfig:
    """`controlled` scores do not change along a step; None: all that the property CNN predicts.

    `natural` properties change as they do from face to face: their step starts from the mean
    difference of vectors per unit of the property, with all that goes with it, and is corrected so
    that the controlled scores stay, except for their `companions`, (property, score) pairs.
    """

    controlled: tuple[str, ...] | None = None
    natural: tuple[str, ...] = ()
    companions: tuple[tuple[str, str], ...] = ()
    pooling: float = 1000.0  # images of all groups that count as much as the group's own
    stillness: float = 10_000.0  # how much longer a step counts that changes only the scene
    floor: float = 1e-6  # of the largest variance; components below it are not used
    train: float = 0.8
    seed: int = 2025

    def __post_init__(self):
        if min(self.pooling, self.stillness) <= 0 or not 0 < self.train < 1:
            raise VectorError("pooling and stillness must be above 0, train between 0 and 1")


IMAGES_PER_COMPONENT = 4
"""The least number of images for each principal component that a regression uses."""


class Moments(NamedTuple):
    """Means and covariances of a set of images: all that the regression needs."""

    count: int
    vector: np.ndarray  # (D,) mean
    score: np.ndarray  # (P,) mean
    covariance: np.ndarray  # (D, D)
    cross: np.ndarray  # (D, P) covariance of vectors and scores


def fit_ridge(
    vectors: np.ndarray,
    scores: pd.DataFrame,
    grouping: Grouping | None = None,
    config: RidgeConfig | None = None,
    scene: np.ndarray | None = None,
) -> FittedDirections:
    """Vectors (N, D), scores of their images -> directions per unit of score, held-out R².

    `scene` (N, C), the colors around each face, should not change either. With a grouping each
    group has its own regression, shrunk toward that of all images, the more so the fewer images it
    has: an empty group gets the directions of all.
    """
    config = config or RidgeConfig()
    controlled = config.controlled
    if controlled is None:
        controlled = scores.columns.intersection(PROPERTIES)
    columns = checked_samples(vectors, scores, controlled)
    targets = columns.to_numpy(dtype=float)
    train = np.random.default_rng(config.seed).random(len(targets)) < config.train
    everywhere = moments(vectors, targets, np.flatnonzero(train))
    whiten, unwhiten = whitening(everywhere, config.floor)
    shared = whiten.T @ everywhere.cross
    length = np.eye(whiten.shape[1])
    if scene is not None:
        colors = whiten.T @ moments(vectors, scene, np.flatnonzero(train)).cross
        total = max(np.square(colors).sum(), np.finfo(float).tiny)  # 0 where nothing ever changes
        length += config.stillness * colors @ colors.T / total
    effects = _effects(columns.iloc[np.flatnonzero(train)], config.companions)
    directions, report = [], []
    for name, rows in rows_by_group(scores, grouping).items():
        fit = moments(vectors, targets, rows[train[rows]]) if grouping else everywhere
        weights = _pooled(fit, whiten, shared, config.pooling) if grouping else shared
        steps = _steps(weights, length, effects, columns.columns, config.natural)
        directions.append((unwhiten @ steps).T)
        errors = _r2(vectors, targets, rows[~train[rows]], fit, whiten @ weights)
        report.append(_rows(name, len(rows), columns.columns, errors))
    every, own = np.stack(directions).astype(np.float32), len(EXPRESSION)
    found = LinearDirections(
        every[:, :own], grouping, every[:, own:], tuple(columns.columns), effects[:own]
    )
    return FittedDirections(found, pd.concat(report, ignore_index=True))


def _effects(scores: pd.DataFrame, companions: tuple[tuple[str, str], ...]) -> np.ndarray:
    """What one unit of each direction does to each score, (P, P): 1 to its own, the slope of their
    regression to its companions, 0 to the others."""
    effects = pd.DataFrame(np.eye(scores.shape[1]), scores.columns, scores.columns)
    covariance = scores.cov()
    for name, other in companions:
        if other in effects:
            effects.loc[name, other] = covariance.loc[name, other] / covariance.loc[name, name]
    return effects.to_numpy()


def moments(vectors: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> Moments:
    """Means and covariances over these rows, in float64 and in chunks; zeros for no rows."""
    size, scores = vectors.shape[1], targets.shape[1]
    total, squares, cross = np.zeros(size), np.zeros((size, size)), np.zeros((size, scores))
    for piece in pieces(rows):
        x = vectors[piece].astype(float)
        total += x.sum(axis=0)
        squares += x.T @ x
        cross += x.T @ targets[piece]
    count = max(len(rows), 1)
    mean, score = total / count, targets[rows].sum(axis=0) / count
    return Moments(
        len(rows), mean, score, squares / count - np.outer(mean, mean),
        cross / count - np.outer(mean, score),
    )  # fmt: skip


def whitening(fit: Moments, floor: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """(D, R) that whitens vectors, (D, R) that maps whitened steps back.

    Few images support only the largest principal components: a regression on as many components as
    there are images would fit those perfectly and no others.
    """
    variances, basis = np.linalg.eigh(fit.covariance)
    used = variances > floor * variances[-1]
    used[: max(0, len(used) - fit.count // IMAGES_PER_COMPONENT)] = False
    if variances[-1] <= 0 or not used.any():
        raise VectorError("all vectors are the same: sample different latents")
    deviations = np.sqrt(variances[used])
    return basis[:, used] / deviations, basis[:, used] * deviations


def _pooled(fit: Moments, whiten: np.ndarray, shared: np.ndarray, pooling: float) -> np.ndarray:
    """A group's weights (R, P) from whitened vectors to scores, shrunk toward those of all."""
    own = fit.count * (whiten.T @ fit.covariance @ whiten)
    own[np.diag_indices_from(own)] += pooling
    return np.linalg.solve(own, fit.count * (whiten.T @ fit.cross) + pooling * shared)


def _steps(
    weights: np.ndarray, length: np.ndarray, effects: np.ndarray, names: pd.Index, natural=()
) -> np.ndarray:
    """Weights (R, P) -> whitened steps (R, P) that change the scores by the rows of `effects`.

    Among all such steps s it is the one with the smallest s.T @ length @ s; for natural properties
    s is the difference from the step along which the property varies from face to face.
    """
    sizes = np.linalg.norm(weights, axis=0)
    unknown = names[: len(EXPRESSION)][sizes[: len(EXPRESSION)] < 1e-6 * sizes.max()]
    if len(unknown):
        raise VectorError(
            f"the score of {unknown[0]!r} does not depend on the vectors: no step can change it"
        )
    known = names.isin(natural)
    first = np.where(known, weights / np.where(known, sizes, 1) ** 2, 0)
    root = np.linalg.cholesky(length)
    shortest = np.linalg.pinv(np.linalg.solve(root, weights).T, rcond=1e-10)
    return first + np.linalg.solve(root.T, shortest @ (effects.T - weights.T @ first))


def _r2(vectors, targets, rows, fit: Moments, weights: np.ndarray) -> np.ndarray:
    """R² of each score on these held-out rows, (P,)."""
    if len(rows) < 2:
        return np.full(targets.shape[1], np.nan)
    missed = np.zeros(targets.shape[1])
    for piece in pieces(rows):
        predicted = (vectors[piece] - fit.vector) @ weights + fit.score
        missed += np.square(targets[piece] - predicted).sum(axis=0)
    spread = len(rows) * targets[rows].var(axis=0)
    return 1 - np.divide(missed, spread, out=np.full_like(missed, np.nan), where=spread > 0)


def _rows(group: str, images: int, names: pd.Index, r2: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"group": group, "property": names, "images": images, "r2": r2})
