"""Meters: pictures in, property scores out. Two kinds, so that the one that judges is not alone.

The property CNN found the directions; the parser with the computed scores never saw them. What may
not change beside the properties is read off the annotator and off the parser's background.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ohlora_lib.faces.classes import BACKGROUND
from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.measure.parse import BATCH as PARSED_AT_ONCE
from ohlora_lib.measure.parse import Parsed, Parser, face_scores, usual_scores
from ohlora_lib.measure.segments import SIZE
from ohlora_lib.models import precision
from ohlora_lib.models.annotator import Annotator
from ohlora_lib.models.property_cnn import PropertyCNN, property_input

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
        with precision.inference(device=self.annotator.mean.device):
            said = self.annotator.annotate(images, BATCH).attributes
        return Reading(np.stack([said[STAND_IN[n]] for n in self.properties], 1).astype(float))


@dataclass(frozen=True, eq=False)
class ParseMeter:
    """A parser and the computed scores: independent of the CNN and all that was found with it.

    A picture without a face has NaN for scores, and no background.
    """

    parser: Parser

    @property
    def properties(self) -> tuple[str, ...]:
        return tuple(usual_scores(self.parser))

    def __call__(self, images: np.ndarray) -> Reading:
        tables, masks = [], []
        for start in range(0, len(images), PARSED_AT_ONCE):
            parsed = self.parser(images[start : start + PARSED_AT_ONCE])
            tables.append(face_scores(parsed, usual_scores(self.parser)).to_numpy(float))
            masks.append(background_of(parsed, *images.shape[1:3]))
        return Reading(np.concatenate(tables), np.concatenate(masks))


def background_of(parsed: Parsed, height: int, width: int) -> np.ndarray:
    """Which of the pictures' own pixels the maps show to be background, (N, height, width) bool."""
    boxes = np.nan_to_num(parsed.boxes, nan=-1.0)
    left, top, right, bottom = boxes.T[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (np.arange(width) + 0.5 - left) / (right - left) * SIZE
        y = (np.arange(height) + 0.5 - top) / (bottom - top) * SIZE
    inside = [(at >= 0) & (at < SIZE) & parsed.found[:, None] for at in (x, y)]
    column, row = (np.where(ok, at, 0).astype(int) for ok, at in zip(inside, (x, y), strict=True))
    number = np.arange(len(boxes))[:, None, None]
    seen = parsed.maps[number, row[:, :, None], column[:, None, :]] == BACKGROUND
    return seen & inside[1][:, :, None] & inside[0][:, None, :]


@dataclass(frozen=True, eq=False)
class Standardized:
    """A meter in units of a population: its scores have mean 0 and deviation 1 there."""

    meter: Meter
    center: np.ndarray  # (P,)
    spread: np.ndarray  # (P,)

    @classmethod
    def over(cls, meter: Meter, scores: np.ndarray) -> "Standardized":
        """In units of these scores (N, P) of the meter's; one that never varies keeps its unit."""
        finite = np.isfinite(scores)
        count = np.maximum(finite.sum(axis=0), 1)
        center = np.where(finite, scores, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(finite, scores - center, 0) ** 2).sum(axis=0) / count)
        return cls(meter, center, np.where(spread > 0, spread, 1.0))

    @property
    def properties(self) -> tuple[str, ...]:
        return self.meter.properties

    def units(self, scores: np.ndarray) -> np.ndarray:
        """The meter's own scores (N, P) -> in units of the population."""
        return (scores - self.center) / self.spread

    def __call__(self, images: np.ndarray) -> Reading:
        reading = self.meter(images)
        return reading._replace(scores=self.units(reading.scores))


EXPRESSIVE = ("eyes", "mouth", "smile", "pose", "roll", "gaze")
"""What may change without another person being seen."""


@dataclass(frozen=True, eq=False)
class Witness:
    """Who is seen, whatever her expression: the filter properties, and an identity embedding.

    The embedding is the annotator's features without the directions along which these tell the
    expression; 1 is the mean distance between two faces of the population. Where bfloat16 pays the
    annotator computes in it: that moves a probability by 0.0002, an identity by 0.008.
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
        with precision.inference(device=self.annotator.mean.device):
            said = self.annotator.annotate(images, BATCH)
        names = self.annotator.config.attributes
        told = [names.index(name) for name in EXPRESSIVE if name in names]
        basis = np.linalg.qr(self.annotator.regress.weight.detach().cpu().numpy()[told].T)[0]
        who = said.features - said.features @ basis @ basis.T
        return np.stack([said.probabilities[f] for f in self.filters], 1), who / self.typical
