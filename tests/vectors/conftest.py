"""Latents whose scores follow planted directions, other ones in every group."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.vectors.directions import EXPRESSION
from ohlora_lib.vectors.groups import V7, Grouping, median_grouping

SIZE = 24


class Planted(NamedTuple):
    vectors: np.ndarray  # (N, D)
    scores: pd.DataFrame  # hair and background along the first axes, the expression along the rest
    grouping: Grouping
    truth: np.ndarray  # (8, 3, D), unit length


@pytest.fixture(scope="session")
def planted() -> Planted:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((12_000, SIZE)).astype(np.float32)
    scores = pd.DataFrame(vectors[:, : len(V7)].astype(float), columns=list(V7))
    grouping = median_grouping(scores, V7)
    truth = np.zeros((8, 3, SIZE))
    for group in truth:
        group[:, len(V7) :] = np.linalg.qr(rng.standard_normal((SIZE - len(V7), 3)))[0].T
    followed = np.einsum("nd,npd->np", vectors, truth[grouping.indices(scores)])
    scores[list(EXPRESSION)] = followed + 0.5 * rng.standard_normal(followed.shape)
    return Planted(vectors, scores, grouping, truth)


def cosines(arrows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(…, D) and (…, D) -> (…)."""
    lengths = np.linalg.norm(arrows, axis=-1) * np.linalg.norm(truth, axis=-1)
    return (arrows * truth).sum(axis=-1) / lengths
