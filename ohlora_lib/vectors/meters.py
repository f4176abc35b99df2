"""Meters: pictures in, property scores out. Two kinds, so that the one that judges is not alone.

The property CNN found the directions; the parser with the computed scores never saw them. What may
not change beside the properties is read off the annotator and off the parser's background.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ohlora_lib.measure.scores import SECOND, score
from ohlora_lib.measure.segments import SIZE
from ohlora_lib.models.annotator import Annotator
from ohlora_lib.models.pixels import resize_linear
from ohlora_lib.models.property_cnn import PROPERTIES, PropertyCNN, property_input
from ohlora_lib.models.unet_parser import UNetParser
from ohlora_lib.toyworld.canvas import BACKGROUND

BATCH = 64


class Reading(NamedTuple):
    """What a meter reads off N pictures."""

    scores: np.ndarray  # (N, P) float64, columns as the meter's `properties`
    background: np.ndarray | None = None  # (N, R, R) bool: neither face nor hair, where it knows


class Meter(Protocol):
    """Whatever reads property scores off pictures (N, R, R, 3) uint8."""

    properties: tuple[str, ...]

    def __call__(self, images: np.ndarray) -> Reading: ...


@dataclass(frozen=True, eq=False)
class CnnMeter:
    """The property CNN in eval mode; with `dropout_seed`, as the original measured: dropout on."""

    network: PropertyCNN
    dropout_seed: int | None = None

    @property
    def properties(self) -> tuple[str, ...]:
        return self.network.config.properties

    def __call__(self, images: np.ndarray) -> Reading:
        device = next(self.network.parameters()).device
        dropout = None
        if self.dropout_seed is not None:
            dropout = torch.Generator(device).manual_seed(self.dropout_seed)
        with torch.inference_mode():
            parts = [
                self.network(property_input(images[i : i + BATCH]).to(device), dropout).cpu()
                for i in range(0, len(images), BATCH)
            ]
        return Reading(torch.cat(parts).double().numpy())


STAND_IN = {name: name for name in PROPERTIES} | {"hairstyle": "curl"}
"""Property -> the annotator's attribute that says the same."""


@dataclass(frozen=True, eq=False)
class AnnotatorMeter:
    """The annotator's attributes in the property CNN's place, where there is no such CNN yet."""

    annotator: Annotator
    properties: tuple[str, ...] = PROPERTIES

    def __call__(self, images: np.ndarray) -> Reading:
        said = self.annotator.annotate(images, BATCH).attributes
        return Reading(np.stack([said[STAND_IN[n]] for n in self.properties], 1).astype(float))


Parse = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Pictures (N, R, R, 3) -> class maps (N, 224, 224), face images (N, 224, 224, 3), and where the
background is in the pictures (N, R, R) bool."""


def whole_picture(parser: UNetParser) -> Parse:
    """The embedded parser on pictures that are framed as its own are: the crop is all of it."""

    def parse(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        maps = parser.parse(images, SIZE)
        rows = (np.arange(images.shape[1]) * 2 + 1) * SIZE // (2 * images.shape[1])
        background = maps[:, rows[:, None], rows] == BACKGROUND
        return maps, resize_linear(images, SIZE), background

    return parse


@dataclass(frozen=True, eq=False)
class ParseMeter:
    """A parser and the computed scores: independent of the CNN and of all that was found with it."""

    parse: Parse

    @property
    def properties(self) -> tuple[str, ...]:
        return tuple(SECOND)

    def __call__(self, images: np.ndarray) -> Reading:
        tables, masks = [], []
        for start in range(0, len(images), BATCH):
            maps, faces, background = self.parse(images[start : start + BATCH])
            tables.append(score(maps, faces, SECOND).to_numpy(float))
            masks.append(background)
        return Reading(np.concatenate(tables), np.concatenate(masks))


@dataclass(frozen=True, eq=False)
class Standardised:
    """A meter in units of a population: mean 0 and deviation 1 over the pictures it was fitted on."""

    meter: Meter
    centre: np.ndarray  # (P,)
    spread: np.ndarray  # (P,)

    @classmethod
    def fit(cls, meter: Meter, images: np.ndarray) -> "Standardised":
        """The meter in units of these pictures; a score that never varies keeps its unit."""
        scores = meter(images).scores
        spread = np.nanstd(scores, axis=0)
        return cls(meter, np.nanmean(scores, axis=0), np.where(spread > 0, spread, 1.0))

    @property
    def properties(self) -> tuple[str, ...]:
        return self.meter.properties

    def __call__(self, images: np.ndarray) -> Reading:
        reading = self.meter(images)
        return reading._replace(scores=(reading.scores - self.centre) / self.spread)
