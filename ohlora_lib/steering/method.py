"""A steering method: fitted directions, and how a request of eyes, mouth and pose becomes an edit.

    start = method.start(sampler, meters, sampler.vectors(z, method.layer))
    vectors = method.edit(start, requests)  # start.vectors + requests @ directions
    images = method.images(sampler, start, requests)

Recentering moves a latent, before any request is applied, to where its own eyes, mouth and pose are
the population's mean at the middle request: a face that is already turned, or whose mouth is wide
open, has no room left to follow. The result is a slightly different face. Per-latent directions are
corrected at each latent by measuring trial edits (`per_latent_directions`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import (
    Directions,
    LinearDirections,
    PerPropertyDirections,
    ScaledDirections,
)
from ohlora_lib.steering.fit import DirectionSet
from ohlora_lib.steering.groups import Grouping
from ohlora_lib.steering.meters import AnnotatorMeter, MeterSet, expression_scores, score_table
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.per_latent import per_latent_directions
from ohlora_lib.steering.responses import MIDDLE
from ohlora_lib.steering.sampling import Sampler
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_json

CORRECTIONS = 2
"""Measured corrections of a recentered method."""


class Start(NamedTuple):
    """Where the steering of N latents starts; vectors are of the method's layer."""

    unedited: np.ndarray  # (N, D) of the latents themselves
    vectors: np.ndarray  # (N, D) to which edits are added: unedited or recentered
    groups: np.ndarray | None  # (N,) group of each unedited latent
    directions: np.ndarray | None = None  # (N, 3, D) per-latent directions, if the method has them

    def take(self, rows: np.ndarray | slice) -> "Start":
        """The start of some of these latents."""
        return Start(*(None if array is None else array[rows] for array in self))

    @classmethod
    def concatenate(cls, parts: Sequence["Start"]) -> "Start":
        """The starts of several sets of latents, in order."""
        columns = zip(*parts, strict=True)
        return cls(*(None if each[0] is None else np.concatenate(each) for each in columns))


@dataclass(frozen=True, eq=False)
class Method:
    """A specification with its fitted directions.

    `layer` is the one whose vectors are edited, `grouping` the groups by which the directions
    differ, `factors` what a request of eyes, mouth and pose is multiplied by (`calibrate`).
    """

    spec: MethodSpec
    directions: Directions
    layer: str = "w"
    grouping: Grouping | None = None
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def build(cls, spec: MethodSpec, fitted: DirectionSet) -> "Method":
        """The method with directions of this set, not calibrated."""
        directions = fitted[spec.directions]
        return cls(spec, directions, fitted.layer, _grouping(directions))

    @property
    def name(self) -> str:
        """Display name."""
        return self.spec.name

    @cached_property
    def scaled(self) -> ScaledDirections:
        """The directions with the step sizes of this method."""
        return ScaledDirections(self.directions, self.factors)

    @property
    def styles(self) -> tuple[int, int] | None:
        """First styled layer that the edit enters, and one past the last; None: all."""
        layers = self.spec.layers
        return layers and (layers[0], layers[1] + 1)

    def meters_used(self, meters: MeterSet) -> tuple[str, ...]:
        """Names of the meters that fitted the directions, calibrate, recenter or correct them: none
        of these can confirm the method. `annotator` if it stands in for the property CNN."""
        used = set(meters.readers(_scores_of(self.directions)))
        used |= {"parser"} if self.spec.calibrated else set()
        used |= {"annotator"} if isinstance(meters.cnn.meter, AnnotatorMeter) else set()
        return tuple(sorted(used))

    def start(
        self,
        sampler: Sampler,
        meters: MeterSet,
        vectors: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> Start:
        """Vectors (N, D) of the method's layer -> where steering starts.

        `groups` (N,), if known; otherwise the property CNN reads them on the unedited images.
        """
        if self.grouping is not None and groups is None:
            seen = meters.cnn(sampler.images(vectors, self.layer))
            groups = self.grouping.indices(score_table(meters.cnn, seen))
        start = Start(vectors, vectors, groups)
        if self.spec.recentered:
            start = self._recentered(sampler, meters, start)
        if self.spec.per_latent:
            start = self._with_own_directions(sampler, meters, start)
        return start

    def _recentered(self, sampler: Sampler, meters: MeterSet, start: Start) -> Start:
        middle = np.tile(np.float32(MIDDLE), (len(start.vectors), 1))
        for _ in range(CORRECTIONS):
            measured = meters.cnn(self.images(sampler, start, middle))
            correction = -expression_scores(meters.cnn, measured).astype(np.float32)
            step = self.scaled.step(start.vectors, correction, start.groups)
            start = start._replace(vectors=start.vectors + step)
        return start

    def _with_own_directions(self, sampler: Sampler, meters: MeterSet, start: Start) -> Start:
        def measure(vectors: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
            unedited = np.repeat(start.unedited, vectors.shape[1], axis=0)
            flat = vectors.reshape(-1, vectors.shape[2])
            images = sampler.images(flat, self.layer, unedited, self.styles)
            scores = meters.read_scores(images, names)
            return scores.reshape(*vectors.shape[:2], -1)

        middle = self.edit(start, np.tile(np.float32(MIDDLE), (len(start.vectors), 1)))
        own = per_latent_directions(self.scaled, measure, middle, start.groups)
        return start._replace(directions=own)

    def edit(self, start: Start, requests: np.ndarray) -> np.ndarray:
        """One request (N, 3) per latent -> edited vectors (N, D) of the method's layer."""
        if start.directions is None:
            return start.vectors + self.scaled.step(start.vectors, requests, start.groups)
        return start.vectors + np.einsum("np,npd->nd", np.float32(requests), start.directions)

    def unit_edits(self, start: Start) -> np.ndarray:
        """What one requested unit of eyes, mouth and pose adds at each latent, (N, 3, D)."""
        units = np.eye(len(EXPRESSION), dtype=np.float32)
        count = len(start.vectors)
        edits = [self.edit(start, np.tile(unit, (count, 1))) - start.vectors for unit in units]
        return np.stack(edits, axis=1)

    def images(self, sampler: Sampler, start: Start, requests: np.ndarray) -> np.ndarray:
        """One request (N, 3) per latent -> images (N, R, R, 3)."""
        vectors = self.edit(start, requests)
        return sampler.images(vectors, self.layer, start.unedited, self.styles)

    def image_grid(self, sampler: Sampler, start: Start, requests: np.ndarray) -> np.ndarray:
        """All requests (R, 3) for each of N latents -> images (N, R, H, W, 3)."""
        latents, count = len(start.vectors), len(requests)
        repeated = start.take(np.repeat(np.arange(latents), count))
        images = self.images(sampler, repeated, np.tile(np.float32(requests), (latents, 1)))
        return images.reshape(latents, count, *images.shape[1:])


def _grouping(directions: Directions) -> Grouping | None:
    if isinstance(directions, PerPropertyDirections):
        return _grouping(directions.mouth)
    return directions.grouping if isinstance(directions, LinearDirections) else None


def _scores_of(directions: Directions) -> tuple[str, ...]:
    """The scores that directions were fitted on."""
    if isinstance(directions, PerPropertyDirections):
        parts = (directions.eyes, directions.mouth, directions.pose)
        return tuple(name for part in parts for name in _scores_of(part))
    return directions.names if isinstance(directions, LinearDirections) else EXPRESSION


def write_methods(path: str | Path, methods: Sequence[Method], meters: MeterSet) -> None:
    """Save specifications, calibration factors and `meters_used` as JSON; directions have their own
    files."""
    saved = [
        {"spec": m.spec.to_json(), "factors": list(m.factors), "meters": m.meters_used(meters)}
        for m in methods
    ]
    write_json(path, saved)


def read_methods(path: str | Path, fitted: DirectionSet) -> dict[str, Method]:
    """The methods that `write_methods` saved, by name, with directions of this set."""
    path = Path(path)
    if not path.exists():
        raise StoreError(f"{path} does not exist: run notebook 08 (test vectors) first")
    methods = [
        replace(
            Method.build(MethodSpec.from_json(saved["spec"]), fitted),
            factors=tuple(saved["factors"]),
        )
        for saved in json.loads(path.read_text())
    ]
    return {method.name: method for method in methods}
