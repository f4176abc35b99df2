"""A method of steering: directions at a layer, with or without recentering and calibrated steps.

Recentering moves a latent, before any level is applied, to where its own eyes, mouth and pose are
the population's mean for the middle of the levels: a face that is already turned, or whose mouth is
wide open, has no room left to follow. It is then a slightly different face.

Measuring gives each latent directions of its own (`per_latent_directions`), as its picture answers
in the middle of the levels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ohlora_lib.steering.directions import Directions
from ohlora_lib.steering.groups import Grouping
from ohlora_lib.steering.meters import MeterSet, expression_scores, score_table
from ohlora_lib.steering.per_latent import per_latent_directions
from ohlora_lib.steering.responses import MIDDLE
from ohlora_lib.steering.sampling import Sampler


class Start(NamedTuple):
    """Where steering starts from: N latents."""

    unedited: np.ndarray  # (N, D) as they were drawn
    vectors: np.ndarray  # (N, D) where levels are applied: the same, or recenterd
    groups: np.ndarray | None  # (N,) of the unedited latents
    arrows: np.ndarray | None = None  # (N, 3, D) their own, if they were measured


@dataclass(frozen=True)
class Method:
    """One row of the comparison.

    `recentering` is the number of measured corrections, 0 for none; `middle` the request that then
    gives the population's mean expression. `styles` (first, one past the last) are the styled
    layers that the edit enters, None for all. `measured`: each latent has arrows of its own.
    """

    name: str
    directions: Directions
    layer: str = "w"
    grouping: Grouping | None = None
    recentering: int = 0
    middle: tuple[float, float, float] = MIDDLE
    styles: tuple[int, int] | None = None
    measured: bool = False

    def start(
        self,
        sampler: Sampler,
        meters: MeterSet,
        vectors: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> Start:
        """Latents at the method's layer (N, D), their groups if known -> where steering starts."""
        if self.grouping is not None and groups is None:
            seen = meters.cnn(sampler.images(vectors, self.layer))
            groups = self.grouping.indices(score_table(meters.cnn, seen))
        start = Start(vectors, vectors, groups)
        middle = np.tile(np.float32(self.middle), (len(vectors), 1))
        for _ in range(self.recentering):
            seen = meters.cnn(self.images(sampler, start, middle))
            missing = -expression_scores(meters.cnn, seen).astype(np.float32)
            step = self.directions.step(start.vectors, missing, groups)
            start = start._replace(vectors=start.vectors + step)
        return self._with_own_arrows(sampler, meters, start) if self.measured else start

    def _with_own_arrows(self, sampler: Sampler, meters: MeterSet, start: Start) -> Start:
        def see(vectors: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
            unedited = np.repeat(start.unedited, vectors.shape[1], axis=0)
            flat = vectors.reshape(-1, vectors.shape[2])
            images = sampler.images(flat, self.layer, unedited, self.styles)
            places = [meters.cnn.properties.index(name) for name in names]
            return meters.cnn(images).scores[:, places].reshape(*vectors.shape[:2], -1)

        middle = self.moved(start, np.tile(np.float32(self.middle), (len(start.vectors), 1)))
        return start._replace(
            arrows=per_latent_directions(self.directions, see, middle, start.groups)
        )

    def moved(self, start: Start, requests: np.ndarray) -> np.ndarray:
        """A request (N, 3) for each latent -> where it takes them, (N, D) at the method's layer."""
        if start.arrows is None:
            return start.vectors + self.directions.step(start.vectors, requests, start.groups)
        return start.vectors + np.einsum("np,npd->nd", np.float32(requests), start.arrows)

    def images(self, sampler: Sampler, start: Start, requests: np.ndarray) -> np.ndarray:
        """A request (N, 3) for each latent -> pictures (N, R, R, 3)."""
        vectors = self.moved(start, requests)
        return sampler.images(vectors, self.layer, start.unedited, self.styles)

    def every(self, sampler: Sampler, start: Start, requests: np.ndarray) -> np.ndarray:
        """Each of R requests (R, 3) for each of N latents -> pictures (N, R, H, W, 3)."""
        latents, count = len(start.vectors), len(requests)
        repeated = Start(*(None if a is None else np.repeat(a, count, axis=0) for a in start))
        images = self.images(sampler, repeated, np.tile(np.float32(requests), (latents, 1)))
        return images.reshape(latents, count, *images.shape[1:])
