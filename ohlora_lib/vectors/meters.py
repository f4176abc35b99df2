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
    """A parser and the computed scores: independent of the CNN and all that was found with it."""

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
    """A meter in units of a population: its scores have mean 0 and deviation 1 there."""

    meter: Meter
    centre: np.ndarray  # (P,)
    spread: np.ndarray  # (P,)

    @classmethod
    def over(cls, meter: Meter, scores: np.ndarray) -> "Standardised":
        """In units of these scores (N, P) of the meter's; one that never varies keeps its unit."""
        spread = np.nanstd(scores, axis=0)
        return cls(meter, np.nanmean(scores, axis=0), np.where(spread > 0, spread, 1.0))

    @property
    def properties(self) -> tuple[str, ...]:
        return self.meter.properties

    def units(self, scores: np.ndarray) -> np.ndarray:
        """The meter's own scores (N, P) -> in units of the population."""
        return (scores - self.centre) / self.spread

    def __call__(self, images: np.ndarray) -> Reading:
        reading = self.meter(images)
        return reading._replace(scores=self.units(reading.scores))


EXPRESSIVE = ("eyes", "mouth", "smile", "pose", "roll", "gaze")
"""What may change without another person being seen."""


@dataclass(frozen=True, eq=False)
class Witness:
    """Who is seen, whatever her expression: the filter properties, and an identity embedding.

    The embedding is the annotator's features without the directions along which these tell the
    expression; 1 is the mean distance between two faces of the population.
    """

    annotator: Annotator
    typical: float = 1.0

    @classmethod
    def over(cls, annotator: Annotator, images: np.ndarray) -> "Witness":
        """In units of this population's pictures (N, R, R, 3), N > 1."""
        who = cls(annotator)(images)[1]
        return cls(annotator, float(np.linalg.norm(who - np.roll(who, 1, axis=0), axis=1).mean()))

    @property
    def filters(self) -> tuple[str, ...]:
        return self.annotator.config.filters

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures -> probabilities of the filter properties (N, 4), identities (N, F)."""
        said = self.annotator.annotate(images, BATCH)
        names = self.annotator.config.attributes
        told = [names.index(name) for name in EXPRESSIVE if name in names]
        basis = np.linalg.qr(self.annotator.regress.weight.detach().cpu().numpy()[told].T)[0]
        who = said.features - said.features @ basis @ basis.T
        return np.stack([said.probabilities[f] for f in self.filters], 1), who / self.typical
