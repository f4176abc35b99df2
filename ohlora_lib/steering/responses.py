"""What 50 pictures of one latent say: how well each property follows, and what moves along."""

from itertools import product

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION

EYES = (-1.2, 1.2)
MOUTH = (-1.8, -0.9, 0.0, 0.9, 1.8)
POSE = (-1.8, -1.2, -0.6, 0.0, 0.6)
"""The published levels."""
REQUESTS = np.array(list(product(EYES, MOUTH, POSE)), np.float32)
"""The 50 requests of the image generation test, (50, 3)."""
GRID = (len(EYES), len(MOUTH), len(POSE))
MIDDLE = (0.0, 0.0, -0.6)
"""The mean of the levels."""


def responses(scores: np.ndarray, properties: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Measured (Z, 50, P) -> column -> (Z,), for each property of the expression:

    `_corr` (Pearson, with its sign) and `_spearman` of wanted and measured; `_slope`, measured per
    unit wanted; `_monotonic`, the share of steps to the next level that raise it, all else equal;
    `_leakage`, the mean change of all other properties per unit wanted. A score that never changes
    has no correlation: NaN.
    """
    columns = {}
    slopes = _slopes(scores)
    for place, name in enumerate(EXPRESSION):
        own = scores[..., properties.index(name)]
        wanted = REQUESTS[:, place]
        others = [i for i, other in enumerate(properties) if other != name]
        columns[f"{name}_corr"] = _pearson(own, wanted)
        columns[f"{name}_spearman"] = _pearson(_ranks(own), _ranks(wanted[None])[0])
        columns[f"{name}_slope"] = slopes[:, place, properties.index(name)]
        columns[f"{name}_monotonic"] = _monotonic(own, place)
        columns[f"{name}_leakage"] = np.abs(slopes[:, place, others]).mean(axis=1)
    return columns


def _slopes(scores: np.ndarray) -> np.ndarray:
    """(Z, 50, P) -> (Z, 3, P): change of each score per unit wanted of eyes, mouth, pose."""
    wanted = REQUESTS - np.array(MIDDLE)  # all combinations are there, so the three do not mix
    return np.einsum("lw,zlp->zwp", wanted / np.square(wanted).sum(axis=0), scores)


def _pearson(measured: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(Z, 50), (50,) -> (Z,)."""
    measured, wanted = measured - measured.mean(axis=1, keepdims=True), wanted - wanted.mean()
    lengths = np.linalg.norm(measured, axis=1) * np.linalg.norm(wanted)
    still = np.abs(measured).max(axis=1) < 1e-9
    return np.where(still, np.nan, measured @ wanted / np.where(still, 1, lengths))


def _monotonic(measured: np.ndarray, place: int) -> np.ndarray:
    """(Z, 50) -> (Z,) share of steps along one property that raise it."""
    steps = np.diff(measured.reshape(-1, *GRID), axis=1 + place)
    return (steps > 0).mean(axis=(1, 2, 3))


def _ranks(values: np.ndarray) -> np.ndarray:
    """(N, M) -> the rank of each value in its row; equal ones share theirs."""
    return pd.DataFrame(values).rank(axis=1).to_numpy()
