"""How long a step is: one stated rule for every method, whatever its directions' own lengths.

The independent meter sets it, never the CNN alone: on the CNN, longer steps always look better.
"""

from dataclasses import dataclass, replace

import numpy as np

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import ScaledDirections
from ohlora_lib.steering.meters import MeterSet, expression_scores, mean_of_finite
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.responses import MIDDLE, REQUESTS
from ohlora_lib.steering.sampling import Sampler

ENDS = np.tile(np.float32(MIDDLE), (2 * len(EXPRESSION), 1))
"""The lowest and the highest level of each property, the others in the middle, (6, 3)."""
for place in range(len(EXPRESSION)):
    ENDS[2 * place : 2 * place + 2, place] = REQUESTS[[0, -1], place]
APART = REQUESTS[-1] - REQUESTS[0]
"""From the lowest level to the highest, (3,)."""


@dataclass(frozen=True)
class CalibrationRule:
    """How long a step is, the same rule for every method: one unit asked for moves the property by
    `gain` deviations of the population on the *independent* meter, unless asking for the ends of
    the levels would change the background by more than `background` of what two faces differ by.
    """

    gain: float = 1.0
    background: float = 0.15
    first: float = 0.1  # of the latents' distance from their mean: a unit before it is measured
    rounds: int = 3
    most: float = 4.0  # how much longer or shorter a step may get in a round


def calibrate(
    method: Method,
    sampler: Sampler,
    meters: MeterSet,
    vectors: np.ndarray,
    rule: CalibrationRule | None = None,
) -> Method:
    """The method with steps by the rule, measured on latents (N, D) that no test may see."""
    rule = rule or CalibrationRule()
    factors = rule.first / _lengths(method, sampler, meters, vectors)
    for _ in range(rule.rounds):
        scaled = replace(method, directions=ScaledDirections(method.directions, tuple(factors)))
        start = scaled.start(sampler, meters, vectors)
        gains, changes = _effects(meters, scaled.every(sampler, start, ENDS))
        wanted = np.minimum(
            rule.gain / np.maximum(gains, rule.gain / rule.most),
            rule.background / np.maximum(changes, rule.background / rule.most),
        )
        factors = factors * np.maximum(wanted, 1 / rule.most)
    return replace(
        method, directions=ScaledDirections(method.directions, tuple(map(float, factors)))
    )


def _lengths(method: Method, sampler: Sampler, meters: MeterSet, vectors) -> np.ndarray:
    """How long the directions' own units are, against the latents' distance from their mean, (3,).

    Steps far too long say nothing of the gain: whatever they move is at its end.
    """
    start = replace(method, recentering=0, measured=False).start(sampler, meters, vectors)
    radius = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).mean()
    units = np.eye(len(EXPRESSION), dtype=np.float32)
    steps = [method.directions.step(vectors, np.tile(u, (len(vectors), 1)), start.groups)
             for u in units]  # fmt: skip
    lengths = np.linalg.norm(steps, axis=2).mean(axis=1)
    return np.where(lengths > 0, lengths, 1) / radius


def _effects(meters: MeterSet, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 6, H, W, 3) of the ends -> deviations per unit asked for on the independent
    meter (3,), and how much the way from end to end changes the background (3,)."""
    pairs = images.reshape(len(images), len(EXPRESSION), 2, *images.shape[2:])
    reading = meters.parser(images.reshape(-1, *images.shape[2:]))
    measured = expression_scores(meters.parser, reading).reshape(*pairs.shape[:3], -1)
    rise = np.nan_to_num(mean_of_finite(measured[:, :, 1] - measured[:, :, 0]))
    where = reading.background.reshape(pairs.shape[:5]).all(axis=2)
    change = meters.background_change(pairs[:, :, 0], pairs[:, :, 1], where)
    return np.diag(rise) / APART, np.nan_to_num(mean_of_finite(change))
