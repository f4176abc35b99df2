"""Ridge directions: one regression of all scores at once, so that each arrow holds the rest still.

In whitened vectors a step's length is how unusual it makes the latent. Of all steps that move one
property by 1 and, as far as the regression knows, no other score at all, the pseudo-inverse of the
regression is the shortest. An SVM's normal asks for neither: it also carries whatever goes together
with the property. Where the scene around the faces is known, too, a step that changes it counts as
so much longer.

On white vectors a penalty shrinks all weights alike and turns no arrow, so the regression over all
images needs none; a group's is drawn towards that one instead of towards zero.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION, PROPERTIES
from ohlora_lib.steering.directions import Found, LinearDirections, checked_samples, pieces
from ohlora_lib.steering.groups import Grouping, VectorError, rows_by_group


@dataclass(frozen=True)
class RidgeConfig:
    """`held` are the scores that a step must not change; None: all that the property CNN reads."""

    held: tuple[str, ...] | None = None
    pooling: float = 1000.0  # in images: as many of all kinds count as a group's own
    stillness: float = 10_000.0  # how much longer a step counts that changes the scene altogether
    floor: float = 1e-6  # of the largest variance; ways that vary less are not used
    train: float = 0.8
    seed: int = 2025

    def __post_init__(self):
        if min(self.pooling, self.stillness) <= 0 or not 0 < self.train < 1:
            raise VectorError("pooling and stillness must be above 0, train between 0 and 1")


IMAGES_PER_WAY = 4
"""So many images, at least, for each way of varying that a regression uses."""


class Moments(NamedTuple):
    """What the regression needs of a set of images."""

    count: int
    vector: np.ndarray  # (D,) mean
    score: np.ndarray  # (P,) mean
    covariance: np.ndarray  # (D, D)
    cross: np.ndarray  # (D, P) covariance of vectors and scores


def ridge(
    vectors: np.ndarray,
    scores: pd.DataFrame,
    grouping: Grouping | None = None,
    config: RidgeConfig | None = None,
    scene: np.ndarray | None = None,
) -> Found:
    """Vectors (N, D), their images' scores -> arrows per unit of score, R² on images held out.

    `scene` (N, C), colors around each face, is what a step shall leave as it is. With a grouping
    each group has its own regression, drawn towards that of all images, the more so the fewer
    images it has: an empty group has the arrows of all.
    """
    config = config or RidgeConfig()
    held = scores.columns.intersection(PROPERTIES) if config.held is None else config.held
    columns = checked_samples(vectors, scores, held)
    targets = columns.to_numpy(dtype=float)
    train = np.random.default_rng(config.seed).random(len(targets)) < config.train
    everywhere = moments(vectors, targets, np.flatnonzero(train))
    whiten, unwhiten = whitening(everywhere, config.floor)
    shared = whiten.T @ everywhere.cross
    length = np.eye(whiten.shape[1])
    if scene is not None:
        colors = whiten.T @ moments(vectors, scene, np.flatnonzero(train)).cross
        told = max(np.square(colors).sum(), np.finfo(float).tiny)  # 0 where nothing ever changes
        length += config.stillness * colors @ colors.T / told
    arrows, report = [], []
    for name, rows in rows_by_group(scores, grouping).items():
        fit = moments(vectors, targets, rows[train[rows]]) if grouping else everywhere
        weights = _pooled(fit, whiten, shared, config.pooling) if grouping else shared
        arrows.append(_arrows(weights, length, unwhiten, columns.columns))
        errors = _r2(vectors, targets, rows[~train[rows]], fit, whiten @ weights)
        report.append(_rows(name, len(rows), columns.columns, errors))
    every, own = np.stack(arrows), len(EXPRESSION)
    found = LinearDirections(every[:, :own], grouping, every[:, own:], tuple(columns.columns))
    return Found(found, pd.concat(report, ignore_index=True))


def moments(vectors: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> Moments:
    """Means and covariances over these rows, a piece at a time in float64; zeros for no rows."""
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
    """(D, R) that makes vectors white, (D, R) that brings white steps back.

    Of few images only the largest ways of varying are used: a regression on as many ways as there
    are images would explain them all, and no other.
    """
    variances, basis = np.linalg.eigh(fit.covariance)
    used = variances > floor * variances[-1]
    used[: max(0, len(used) - fit.count // IMAGES_PER_WAY)] = False
    if variances[-1] <= 0 or not used.any():
        raise VectorError("all vectors are the same: sample different latents")
    deviations = np.sqrt(variances[used])
    return basis[:, used] / deviations, basis[:, used] * deviations


def _pooled(fit: Moments, whiten: np.ndarray, shared: np.ndarray, pooling: float) -> np.ndarray:
    """A group's weights from white vectors to scores, drawn towards those of all images, (R, P)."""
    own = fit.count * (whiten.T @ fit.covariance @ whiten)
    own[np.diag_indices_from(own)] += pooling
    return np.linalg.solve(own, fit.count * (whiten.T @ fit.cross) + pooling * shared)


def _arrows(weights, length, unwhiten, names: pd.Index) -> np.ndarray:
    """(R, P) -> (P, D): the step that moves one score by 1 and the other P - 1 by 0.

    Of all that do, the one with the least s' length s.
    """
    sizes = np.linalg.norm(weights, axis=0)
    silent = names[: len(EXPRESSION)][sizes[: len(EXPRESSION)] < 1e-6 * sizes.max()]
    if len(silent):
        raise VectorError(f"the vectors say nothing of {silent[0]!r}: no step can change it")
    root = np.linalg.cholesky(length)
    shortest = np.linalg.pinv(np.linalg.solve(root, weights).T, rcond=1e-10)
    steps = np.linalg.solve(root.T, shortest)
    return (unwhiten @ steps).T.astype(np.float32)


def _r2(vectors, targets, rows, fit: Moments, weights: np.ndarray) -> np.ndarray:
    """How much of each score's variance the regression explains on rows it has not seen, (P,)."""
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
