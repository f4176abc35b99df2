"""LinearDirections of each latent's own: what its pictures say that the steps do there.

A regression knows what a step does on average. At one latent it moves its property by more or by
less than that, and others along. So every step is tried there, up and down, those included that
move the scores to be held; and the mixture of steps is taken that moves one property alone, if what
was seen and what the regression said count the same.
"""

from collections.abc import Callable

import numpy as np

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import Directions, LinearDirections, ScaledDirections
from ohlora_lib.steering.groups import VectorError

LEAST = 0.1
"""Of the strongest response: what moves the scores by less is not mixed in to correct anything."""


def _known_arrows(directions: Directions) -> tuple[LinearDirections, np.ndarray]:
    """Directions whose steps can be tried one by one, and what requests are multiplied by, (3,)."""
    factors = np.ones(len(EXPRESSION), np.float32)
    if isinstance(directions, ScaledDirections):
        factors, directions = np.float32(directions.factors), directions.directions
    if not isinstance(directions, LinearDirections) or directions.controlled is None:
        raise VectorError("only a ridge's steps can be measured: it knows one for every score")
    return directions, factors


def per_latent_directions(
    directions: Directions,
    see: Callable[[np.ndarray, tuple[str, ...]], np.ndarray],
    vectors: np.ndarray,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """What one unit of eyes, mouth and pose adds at each of these vectors (N, D): (N, 3, D).

    `see` is given vectors (N, P, D), P for each latent, and names, and tells these scores
    (N, P, names).
    """
    arrows, factors = _known_arrows(directions)
    steps = arrows.every(len(vectors), groups)  # (N, P, D)
    reach = np.concatenate([factors, np.ones(len(arrows.names) - len(factors), np.float32)])
    tried = reach[:, None] * steps
    up, down = (see(vectors[:, None] + way * tried, arrows.names) for way in (1, -1))
    response = (up - down) / (2 * reach[:, None])  # (N, P steps, P scores)
    believed = (response + np.eye(len(reach))) / 2
    mixture = np.linalg.pinv(believed, rcond=LEAST)[:, : len(factors)]
    own = np.einsum("nkp,npd->nkd", mixture, steps) * factors[:, None]
    return own.astype(np.float32)
