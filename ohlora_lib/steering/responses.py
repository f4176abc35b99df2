"""The 50 requests of the image generation test, and statistics of the scores measured for them."""

from itertools import product

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION, PROPERTIES

EYES = (-1.2, 1.2)
MOUTH = (-1.8, -0.9, 0.0, 0.9, 1.8)
POSE = (-1.8, -1.2, -0.6, 0.0, 0.6)
"""The published levels."""
REQUESTS = np.array(list(product(EYES, MOUTH, POSE)), np.float32)
"""All combinations of the levels, (50, 3): eyes, mouth, pose; pose varies fastest."""
GRID = (len(EYES), len(MOUTH), len(POSE))
MIDDLE = (0.0, 0.0, -0.6)
"""The mean of the 50 requests. It is not zero: the published pose levels are asymmetric."""


def responses(scores: np.ndarray, properties: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Scores (Z, 50, P) of Z latents at the 50 requests -> column name -> (Z,).

    For eyes, mouth and pose: `_corr` and `_spearman`, Pearson (signed) and Spearman correlation of
    requested and measured values; `_slope`, measured change per requested unit; `_monotonic`, the
    fraction of steps to the next level that increase the score, the other requests fixed; `_lowest`
    and `_highest`, the mean score at the lowest and at the highest level;
    `_to_OTHER`, change of another score per requested unit; `_leakage`, mean |change| of all other
    PROPERTIES per requested unit. A constant score has no correlation: NaN.
    """
    columns = {}
    slopes = _slopes(scores)
    for place, name in enumerate(EXPRESSION):
        own = scores[..., properties.index(name)]
        requested = REQUESTS[:, place]
        others = [i for i, other in enumerate(properties) if other != name]
        known = [i for i in others if properties[i] in PROPERTIES]
        columns[f"{name}_corr"] = _pearson(own, requested)
        columns[f"{name}_spearman"] = _pearson(_ranks(own), _ranks(requested[None])[0])
        columns[f"{name}_slope"] = slopes[:, place, properties.index(name)]
        columns[f"{name}_monotonic"] = _monotonic(own, place)
        ends = {"lowest": requested.min(), "highest": requested.max()}
        columns |= {f"{name}_{e}": own[:, requested == level].mean(1) for e, level in ends.items()}
        columns[f"{name}_leakage"] = np.abs(slopes[:, place, known]).mean(axis=1)
        columns |= {f"{name}_to_{properties[i]}": slopes[:, place, i] for i in others}
    return columns


def _slopes(scores: np.ndarray) -> np.ndarray:
    """(Z, 50, P) -> (Z, 3, P): change of each score per requested unit of eyes, mouth, pose.

    The full grid is orthogonal, so the three simple regressions equal the joint one.
    """
    requested = REQUESTS - np.array(MIDDLE)
    return np.einsum("lw,zlp->zwp", requested / np.square(requested).sum(axis=0), scores)


def _pearson(measured: np.ndarray, requested: np.ndarray) -> np.ndarray:
    """(Z, 50), (50,) -> (Z,)."""
    measured = measured - measured.mean(axis=1, keepdims=True)
    requested = requested - requested.mean()
    lengths = np.linalg.norm(measured, axis=1) * np.linalg.norm(requested)
    constant = np.abs(measured).max(axis=1) < 1e-9
    return np.where(constant, np.nan, measured @ requested / np.where(constant, 1, lengths))


def _monotonic(measured: np.ndarray, place: int) -> np.ndarray:
    """(Z, 50) -> (Z,): fraction of increasing steps along one property."""
    steps = np.diff(measured.reshape(-1, *GRID), axis=1 + place)
    return (steps > 0).mean(axis=(1, 2, 3))


def _ranks(values: np.ndarray) -> np.ndarray:
    """(N, M) -> rank of each value in its row; ties share their mean rank."""
    return pd.DataFrame(values).rank(axis=1).to_numpy()
