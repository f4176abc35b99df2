"""Calibration: one rule for the step sizes of all methods.

The slopes are measured by the parser and not by the property CNN from which the directions were
fitted: on the CNN, larger steps always seem better.
"""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import single_threaded, workers
from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.meters import MeterSet, expression_scores, mean_of_finite
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.responses import MIDDLE, REQUESTS
from ohlora_lib.steering.sampling import Sampler
from ohlora_lib.store.work import keep_work

EXTREMES = np.tile(np.float32(MIDDLE), (2 * len(EXPRESSION), 1))
"""The lowest and the highest level of each property, the others at the middle, (6, 3)."""
for place in range(len(EXPRESSION)):
    EXTREMES[2 * place : 2 * place + 2, place] = REQUESTS[[0, -1], place]
RANGE = REQUESTS[-1] - REQUESTS[0]
"""Highest minus lowest level of each property, (3,)."""


@dataclass(frozen=True)
class CalibrationRule:
    """One requested unit moves the property by `gain` standard deviations on the parser.

    Exception: the step is smaller if the change from the lowest to the highest level would change
    the background by more than `background` of the mean difference between two faces.
    """

    gain: float = 1.0
    background: float = 0.15
    first: float = 0.1  # first trial step, relative to the latents' mean distance from their mean
    rounds: int = 3
    most: float = 4.0  # largest change of a factor in one round, up or down


def calibrate_methods(
    methods: Sequence[Method],
    sampler: Sampler,
    meters: MeterSet,
    z: np.ndarray,
    rule: CalibrationRule | None = None,
    folder: Path | None = None,
) -> list[Method]:
    """The methods, those with `spec.calibrated` calibrated on z (N, Z), in parallel on a CPU.

    `folder` keeps the factors: those of the same methods, networks and latents are not measured
    again.
    """
    rule = rule or CalibrationRule()
    wanted = [method for method in methods if method.spec.calibrated]
    with nullcontext(folder) if folder else TemporaryDirectory() as place:
        if folder:
            networks = {"generator": sampler.generator, "meters": meters}
            given = networks | {"z": z, "rule": rule, "methods": wanted}
            keep_work(folder, "calibration", __name__, given)
        work = partial(single_threaded, _calibrate, sampler, meters, z, rule)
        jobs = [Job(Path(place) / f"{at:03d}.json", method) for at, method in enumerate(wanted)]
        with workers(sampler.device) as pool:
            files = run_jobs(work, jobs, "methods calibrated", pool)
        factors = {method.name: tuple(json.loads(file.read_text()))
                   for method, file in zip(wanted, files, strict=True)}  # fmt: skip
    return [replace(one, factors=factors.get(one.name, one.factors)) for one in methods]


def _calibrate(
    sampler: Sampler,
    meters: MeterSet,
    z: np.ndarray,
    rule: CalibrationRule,
    method: Method,
    path: Path,
) -> None:
    done = calibrate(method, sampler, meters, sampler.vectors(z, method.layer), rule)
    path.write_text(json.dumps(done.factors))


def calibrate(
    method: Method,
    sampler: Sampler,
    meters: MeterSet,
    vectors: np.ndarray,
    rule: CalibrationRule | None = None,
) -> Method:
    """The method with `factors` by the rule, measured on latents (N, D) that no test may use."""
    rule = rule or CalibrationRule()
    factors = rule.first / _relative_lengths(method, sampler, meters, vectors)
    for _ in range(rule.rounds):
        trial = replace(method, factors=tuple(factors))
        start = trial.start(sampler, meters, vectors)
        gains, changes = _effects(meters, trial.image_grid(sampler, start, EXTREMES))
        wanted = np.minimum(
            rule.gain / np.maximum(gains, rule.gain / rule.most),
            rule.background / np.maximum(changes, rule.background / rule.most),
        )
        factors = factors * np.maximum(wanted, 1 / rule.most)
    return replace(method, factors=tuple(map(float, factors)))


def _relative_lengths(method: Method, sampler: Sampler, meters: MeterSet, vectors) -> np.ndarray:
    """Length of one uncalibrated unit / mean distance of the latents from their mean, (3,).

    The first trial step must not be too large: where a property saturates, its slope is unknown.
    """
    spec = replace(method.spec, recentered=False, per_latent=False)
    plain = replace(method, spec=spec, factors=(1.0, 1.0, 1.0))
    start = plain.start(sampler, meters, vectors)
    radius = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).mean()
    units = np.eye(len(EXPRESSION), dtype=np.float32)
    steps = [plain.scaled.step(vectors, np.tile(unit, (len(vectors), 1)), start.groups)
             for unit in units]  # fmt: skip
    lengths = np.linalg.norm(steps, axis=2).mean(axis=1)
    return np.where(lengths > 0, lengths, 1) / radius


def _effects(meters: MeterSet, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 6, H, W, 3) of the EXTREMES -> slope on the parser per requested unit (3,), and
    background change from the lowest to the highest level (3,)."""
    pairs = images.reshape(len(images), len(EXPRESSION), 2, *images.shape[2:])
    reading = meters.parser(images.reshape(-1, *images.shape[2:]))
    measured = expression_scores(meters.parser, reading).reshape(*pairs.shape[:3], -1)
    rise = np.nan_to_num(mean_of_finite(measured[:, :, 1] - measured[:, :, 0]))
    mask = reading.background.reshape(pairs.shape[:5]).all(axis=2)
    change = meters.background_change(pairs[:, :, 0], pairs[:, :, 1], mask)
    return np.diag(rise) / RANGE, np.nan_to_num(mean_of_finite(change))
