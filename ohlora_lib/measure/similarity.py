"""How similar two sets of faces are, in the annotator's feature space.

The Fréchet distance compares the distributions; precision and density tell how many faces of the
second set lie among the first, recall and coverage how much of the first the second reaches. As a
Fréchet distance depends on the number of faces, it is given beside the distance between two real
sets of the same size.
"""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Similarity:
    """A set compared with real faces. All but `frechet` lie in 0..1; `density` may exceed 1."""

    frechet: float
    precision: float
    recall: float
    density: float
    coverage: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def compare(real: np.ndarray, other: np.ndarray, neighbors: int = 5) -> Similarity:
    """Features (N, F) of real faces and (M, F) of others -> how similar the sets are."""
    return Similarity(frechet_distance(real, other), **neighborhoods(real, other, neighbors))


def compare_with_reference(real: np.ndarray, other: np.ndarray) -> pd.DataFrame:
    """Features (2 N, F) of real faces and (N, F) of others -> a row of similarities each for the
    others against the first N real faces, and for the second N real faces against the first N."""
    size = len(other)
    rows = {"generated": compare(real[:size], other)}
    rows["second rendered set"] = compare(real[:size], real[size : 2 * size])
    return pd.DataFrame({name: row.to_dict() for name, row in rows.items()}).T.rename_axis("faces")


def relative_path_length(points: np.ndarray) -> np.ndarray:
    """Paths (..., S, F) of S points -> (...): length over the distance between the two ends."""
    walked = np.linalg.norm(np.diff(points, axis=-2), axis=-1).sum(-1)
    return walked / np.linalg.norm(points[..., -1, :] - points[..., 0, :], axis=-1)


def features(annotator, images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 faces -> (N, F) float64, what the other functions compare."""
    return annotator.annotate(images).features.astype(np.float64)


def frechet_distance(real: np.ndarray, other: np.ndarray) -> float:
    """Squared distance of the means plus that of the covariances, as in FID."""
    _check(real, other)
    means = real.mean(0) - other.mean(0)
    first, second = np.cov(real, rowvar=False), np.cov(other, rowvar=False)
    return float(
        means @ means + np.trace(first) + np.trace(second) - 2 * _root_trace(first, second)
    )


def _root_trace(first: np.ndarray, second: np.ndarray) -> float:
    """Trace of (first second)^1/2, by way of a symmetric matrix with the same eigenvalues."""
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum())


def neighborhoods(real: np.ndarray, other: np.ndarray, neighbors: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage with balls that reach to the k-th neighbor."""
    _check(real, other, neighbors + 1)
    across = distances(real, other)
    real_ball = _radius(distances(real, real), neighbors)[:, None]
    other_ball = _radius(distances(other, other), neighbors)[None]
    inside = across <= real_ball
    return {
        "precision": float(inside.any(0).mean()),
        "recall": float((across <= other_ball).any(1).mean()),
        "density": float(inside.sum(0).mean() / neighbors),
        "coverage": float(inside.any(1).mean()),
    }


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, F), (M, F) -> (N, M) Euclidean distances."""
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    return np.sqrt(np.clip(squares, 0, None))


def nearest_gap(
    first: np.ndarray, second: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Distances (N, A), (N, B) of N faces to two sets -> by how much the nearest face of the second
    set is farther, in the mean, and the one-sided p of a permutation of the sets' faces."""
    both = np.concatenate([first, second], axis=1)
    rng = np.random.default_rng(seed)

    def gap(order: np.ndarray) -> float:
        near, far = np.split(both[:, order], [first.shape[1]], axis=1)
        return float((far.min(1) - near.min(1)).mean())

    found = gap(np.arange(both.shape[1]))
    at_least = sum(gap(rng.permutation(both.shape[1])) >= found for _ in range(draws))
    return found, (1 + at_least) / (1 + draws)


def _radius(own: np.ndarray, neighbors: int) -> np.ndarray:
    """(N, N) distances within a set -> (N,) distance to the k-th other."""
    return np.partition(own, neighbors, axis=1)[:, neighbors]


def _check(real: np.ndarray, other: np.ndarray, least: int = 2) -> None:
    if real.ndim != 2 or other.ndim != 2 or real.shape[1] != other.shape[1]:
        raise ValueError(
            f"features must be (N, F) and (M, F) of the same space, not {real.shape}, {other.shape}"
        )
    if min(len(real), len(other)) < least:
        raise ValueError(f"{len(real)} and {len(other)} faces: at least {least} of each are needed")
