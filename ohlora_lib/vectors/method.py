"""A method of steering: directions at a layer, with or without recentring and calibrated steps.

Recentring moves a latent, before any level is applied, to where its own eyes, mouth and pose are
the population's mean for the middle of the levels: a face that is already turned, or whose mouth is
wide open, has no room left to follow. It is then a slightly different face.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ohlora_lib.vectors.directions import Directions
from ohlora_lib.vectors.groups import Grouping
from ohlora_lib.vectors.instruments import Instruments, expression, table
from ohlora_lib.vectors.latents import Studio
from ohlora_lib.vectors.responses import MIDDLE


class Start(NamedTuple):
    """Where steering starts from: N latents."""

    unedited: np.ndarray  # (N, D) as they were drawn
    vectors: np.ndarray  # (N, D) where levels are applied: the same, or recentred
    groups: np.ndarray | None  # (N,) of the unedited latents


@dataclass(frozen=True)
class Method:
    """One row of the comparison.

    `recentring` is the number of measured corrections, 0 for none; `middle` the request that then
    gives the population's mean expression. `styles` (first, one past the last) are the styled
    layers that the edit enters, None for all.
    """

    name: str
    directions: Directions
    layer: str = "w"
    grouping: Grouping | None = None
    recentring: int = 0
    middle: tuple[float, float, float] = MIDDLE
    styles: tuple[int, int] | None = None

    def start(
        self,
        studio: Studio,
        instruments: Instruments,
        vectors: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> Start:
        """Latents at the method's layer (N, D), their groups if known -> where steering starts."""
        if self.grouping is not None and groups is None:
            seen = instruments.cnn(studio.images(vectors, self.layer))
            groups = self.grouping.indices(table(instruments.cnn, seen))
        start = Start(vectors, vectors, groups)
        middle = np.tile(np.float32(self.middle), (len(vectors), 1))
        for _ in range(self.recentring):
            seen = instruments.cnn(self.images(studio, start, middle))
            missing = -expression(instruments.cnn, seen).astype(np.float32)
            step = self.directions.step(start.vectors, missing, groups)
            start = start._replace(vectors=start.vectors + step)
        return start

    def images(self, studio: Studio, start: Start, requests: np.ndarray) -> np.ndarray:
        """A request (N, 3) for each latent -> pictures (N, R, R, 3)."""
        step = self.directions.step(start.vectors, requests, start.groups)
        return studio.images(start.vectors + step, self.layer, start.unedited, self.styles)

    def every(self, studio: Studio, start: Start, requests: np.ndarray) -> np.ndarray:
        """Each of R requests (R, 3) for each of N latents -> pictures (N, R, H, W, 3)."""
        latents, count = len(start.vectors), len(requests)
        repeated = Start(*(None if a is None else np.repeat(a, count, axis=0) for a in start))
        images = self.images(studio, repeated, np.tile(np.float32(requests), (latents, 1)))
        return images.reshape(latents, count, *images.shape[1:])
