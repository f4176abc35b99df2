"""Faces to explore: any face, steered by any of several methods, at any numbers and truncation.

    exploration = Exploration(sampler, {"Oh-LoRA": saved_faces(lora), "svm": steered_faces(…)}, 20)
    exploration.image(face=3, method="svm", eyes=-1.2, truncation=0.8)

A method is a function from the number of a face to a `SteeredFace`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.meters import MeterSet
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.ohlora import OhLora
from ohlora_lib.steering.responses import MIDDLE
from ohlora_lib.steering.sampling import Sampler, latents

MEAN_OF = 1024
"""Latents whose mean w truncation pulls toward."""


@dataclass(frozen=True, eq=False)
class SteeredFace:
    """A face with what one unit of each property adds to its vector of `layer`.

    `styles`: the first styled layer that the edit enters, and one past the last; None: all.
    """

    names: tuple[str, ...]  # eyes, mouth, pose, and further properties that the method can move
    start: np.ndarray  # (D,): all numbers 0
    directions: np.ndarray  # (P, D)
    layer: str = "w"
    styles: tuple[int, int] | None = None
    unedited: np.ndarray | None = None  # (D,), for the layers outside `styles`

    def edited(self, values: Mapping[str, float]) -> np.ndarray:
        """The vector (D,) at these numbers; properties that are not named stay at 0."""
        if unknown := sorted(set(values) - set(self.names)):
            raise VectorError(f"cannot move {unknown[0]!r}: use {', '.join(self.names)}")
        request = np.float32([values.get(name, 0) for name in self.names])
        if not np.isfinite(request).all():
            raise VectorError(f"{dict(values)}: every number must be finite")
        return self.start + request @ self.directions


Faces = Callable[[int], SteeredFace]
"""Face number -> the face as one method steers it."""


def saved_faces(lora: OhLora) -> Faces:
    """The faces of a file, with the directions saved for each."""
    return lambda face: SteeredFace(EXPRESSION, lora.w[face], lora.directions[face])


def steered_faces(method: Method, sampler: Sampler, meters: MeterSet, vectors: np.ndarray) -> Faces:
    """The faces with these vectors (N, D) of the method's layer, steered by it.

    If the method recenters, numbers of 0 are the population's mean. What measures a face (groups,
    recentering, per-latent directions) runs once for each.
    """

    @cache
    def face(number: int) -> SteeredFace:
        start = method.start(sampler, meters, vectors[[number]])
        names, directions = EXPRESSION, method.unit_edits(start)[0]
        middle = np.float32(MIDDLE if method.spec.recentered else (0, 0, 0))
        origin = start.vectors[0] + middle @ directions
        if isinstance(method.directions, LinearDirections):
            every = method.directions.every(1, start.groups)[0]
            names = method.directions.names
            directions = np.concatenate([directions, every[len(EXPRESSION) :]])
        return SteeredFace(
            names, origin, directions, method.layer, method.styles, start.unedited[0]
        )

    return face


class Point(NamedTuple):
    """What the generator makes one image of."""

    w: np.ndarray  # (512,)
    unedited: np.ndarray  # (512,), of the layers outside `styles`
    styles: tuple[int, int] | None = None

    def toward(self, other: "Point", share: float) -> "Point":
        """The point `share` of the way to another one."""
        return Point(
            *((1 - share) * a + share * b for a, b in zip(self[:2], other[:2], strict=True)),
            self.styles,
        )


@dataclass(frozen=True, eq=False)
class Exploration:
    """A generator, and its faces as each of the methods steers them; `count` faces."""

    sampler: Sampler
    methods: Mapping[str, Faces]
    count: int

    def __post_init__(self):
        if not self.methods or self.count < 1:
            raise VectorError("nothing to explore: give at least one method and one face")

    @cached_property
    def mean_w(self) -> np.ndarray:
        """(512,)"""
        z = latents(0, range(MEAN_OF), self.sampler.z_size)
        return self.sampler.vectors(z).mean(axis=0)

    def face(self, number: int, method: str | None = None) -> SteeredFace:
        """A face as a method (default: the first) steers it."""
        if not 0 <= number < self.count:
            raise VectorError(f"face {number}: must be from 0 to {self.count - 1}")
        if method is None:
            method = next(iter(self.methods))
        if method not in self.methods:
            raise VectorError(f"no method {method!r}: choose from {', '.join(self.methods)}")
        return self.methods[method](number)

    def point(
        self,
        face: int = 0,
        method: str | None = None,
        truncation: float = 1.0,
        values: Mapping[str, float] | None = None,
    ) -> Point:
        """Where these numbers lead. `truncation` pulls the face toward the mean w, not the edit: 1
        leaves it, 0 gives the mean face with the same edit."""
        if not 0 <= truncation <= 2:
            raise VectorError(f"truncation {truncation}: must be from 0 to 2")
        one = self.face(face, method)
        unedited = one.start if one.unedited is None else one.unedited
        vectors = np.stack([one.edited(values or {}), one.start, unedited])
        w, start, unedited = self.sampler.to_w(vectors, one.layer)
        pull = (truncation - 1) * (start - self.mean_w)
        return Point(w + pull, unedited + pull, one.styles)

    def images(self, points: Sequence[Point], for_meters: bool = False) -> np.ndarray:
        """Images (N, R, R, 3) uint8, at full resolution or at the one that meters read."""
        styles = [point.styles for point in points]
        if len(set(styles)) > 1:
            return np.concatenate([self.images([point], for_meters) for point in points])
        w, unedited = (np.float32(part) for part in list(zip(*points, strict=True))[:2])
        sampler = self.sampler if for_meters else self.sampler.to_show
        return sampler.images(w, "w", unedited, styles[0])

    def image(
        self,
        face: int = 0,
        method: str | None = None,
        truncation: float = 1.0,
        **values: float,
    ) -> Image.Image:
        """One image: `image(face=3, eyes=-1.2, hair_color=1)`."""
        return Image.fromarray(self.images([self.point(face, method, truncation, values)])[0])
