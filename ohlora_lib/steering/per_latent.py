"""Per-latent directions: fitted directions, corrected by the measured response of one latent.

A regression predicts the mean effect of a step. At a single latent, a step moves its own property
by more or less than predicted, and moves other scores too. So every known step is tried there in
both directions, including the steps that move the controlled scores. From the measured response
matrix we solve for the combination of steps that has the wanted effects: its own score by 1, the
others (but for companions, see `ridge`) by 0. The measured response and the predicted one, that
each step has its wanted effects, are averaged with equal weight.
"""

from collections.abc import Callable

import numpy as np

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import Directions, LinearDirections, ScaledDirections
from ohlora_lib.steering.groups import VectorError

LEAST = 0.1
"""Cutoff of the pseudo-inverse, relative to the strongest response: weaker steps are not used."""


def per_latent_directions(
    directions: Directions,
    measure: Callable[[np.ndarray, tuple[str, ...]], np.ndarray],
    vectors: np.ndarray,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """What one unit of eyes, mouth and pose adds at each of the vectors (N, D): (N, 3, D).

    `measure(trials, names)` returns the scores `names` (N, P, len(names)) of trial vectors
    (N, P, D), P per latent.
    """
    linear, factors = _with_factors(directions)
    steps = linear.every(len(vectors), groups)  # (N, P, D)
    sizes = np.concatenate([factors, np.ones(len(linear.names) - len(factors), np.float32)])
    trials = sizes[:, None] * steps
    up, down = (measure(vectors[:, None] + sign * trials, linear.names) for sign in (1, -1))
    response = (up - down) / (2 * sizes[:, None])  # (N, P steps, P scores)
    wanted = np.eye(len(sizes))
    if linear.effects is not None:
        wanted[: len(factors)] = linear.effects
    expected = (response + wanted) / 2
    mixture = wanted[: len(factors)] @ np.linalg.pinv(expected, rcond=LEAST)
    own = np.einsum("nkp,npd->nkd", mixture, steps) * factors[:, None]
    return own.astype(np.float32)


def _with_factors(directions: Directions) -> tuple[LinearDirections, np.ndarray]:
    """Directions with one step per score, and the factors of eyes, mouth and pose, (3,)."""
    factors = np.ones(len(EXPRESSION), np.float32)
    if isinstance(directions, ScaledDirections):
        factors, directions = np.float32(directions.factors), directions.directions
    if not isinstance(directions, LinearDirections) or directions.controlled is None:
        raise VectorError("per-latent directions need a ridge, which knows a step for every score")
    return directions, factors
