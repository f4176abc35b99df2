"""Meters: pictures in, property scores out. Two kinds, so that the one that judges is not alone.

The property CNN found the directions; the parser with the computed scores never saw them. What may
not change beside the properties is read off the annotator and off the parser's background.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import pandas as pd
import torch

from ohlora_lib.faces.classes import BACKGROUND
from ohlora_lib.faces.properties import EXPRESSION, PROPERTIES
from ohlora_lib.measure.parse import BATCH as PARSED_AT_ONCE
from ohlora_lib.measure.parse import Parsed, Parser, face_scores, usual_scores
from ohlora_lib.measure.segments import SIZE
from ohlora_lib.models import precision
from ohlora_lib.models.annotator import Annotator
from ohlora_lib.models.property_cnn import PropertyCNN, property_input
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_json

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
class ParserMeter:
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
class StandardizedMeter:
    """A meter in units of a population: its scores have mean 0 and deviation 1 there."""

    meter: Meter
    center: np.ndarray  # (P,)
    spread: np.ndarray  # (P,)

    @classmethod
    def fit(cls, meter: Meter, scores: np.ndarray) -> "StandardizedMeter":
        """In units of these scores (N, P) of the meter's; one that never varies keeps its unit."""
        finite = np.isfinite(scores)
        count = np.maximum(finite.sum(axis=0), 1)
        center = np.where(finite, scores, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(finite, scores - center, 0) ** 2).sum(axis=0) / count)
        return cls(meter, center, np.where(spread > 0, spread, 1.0))

    @property
    def properties(self) -> tuple[str, ...]:
        return self.meter.properties

    def standardize(self, scores: np.ndarray) -> np.ndarray:
        """The meter's own scores (N, P) -> in units of the population."""
        return (scores - self.center) / self.spread

    def __call__(self, images: np.ndarray) -> Reading:
        reading = self.meter(images)
        return reading._replace(scores=self.standardize(reading.scores))


EXPRESSIVE = ("eyes", "mouth", "smile", "pose", "roll", "gaze")
"""What may change without another person being seen."""


@dataclass(frozen=True, eq=False)
class IdentityMeter:
    """Who is seen, whatever her expression: the filter properties, and an identity embedding.

    The embedding is the annotator's features without the directions along which these tell the
    expression; 1 is the mean distance between two faces of the population. Where bfloat16 pays the
    annotator computes in it: that moves a probability by 0.0002, an identity by 0.008.
    """

    annotator: Annotator
    typical: float = 1.0

    @classmethod
    def fit(cls, annotator: Annotator, images: np.ndarray) -> "IdentityMeter":
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


@dataclass(frozen=True, eq=False)
class MeterSet:
    """The property CNN found the directions, so it guides; the parser did not, so it judges."""

    cnn: StandardizedMeter
    parser: StandardizedMeter
    identity: IdentityMeter
    background: float  # gray levels that the backgrounds of two faces differ by

    @classmethod
    def fit(cls, cnn: Meter, parser: Meter, annotator: Annotator, images: np.ndarray) -> "MeterSet":
        """In units of a population's pictures (N, R, R, 3)."""
        if len(images) < 2:
            raise VectorError(f"{len(images)} pictures are no population: give some hundreds")
        reading = parser(images)
        if reading.background is None:
            raise VectorError("the independent meter must know where the background is")
        other = np.roll(np.arange(len(images)), 1)
        apart = gray_level_difference(
            images, images[other], reading.background & reading.background[other]
        )
        return cls(
            StandardizedMeter.fit(cnn, cnn(images).scores),
            StandardizedMeter.fit(parser, reading.scores),
            IdentityMeter.fit(annotator, images),
            float(apart[np.isfinite(apart)].mean()) if np.isfinite(apart).any() else 1.0,
        )

    def write(self, path: str | Path) -> None:
        """Write the units, atomically."""
        meters = {"cnn": self.cnn, "parser": self.parser}
        units = {
            name: {"properties": meter.properties, "center": meter.center.tolist(),
                   "spread": meter.spread.tolist()}
            for name, meter in meters.items()
        }  # fmt: skip
        typical = {"identity": self.identity.typical, "background": self.background}
        write_json(path, units | typical)

    @classmethod
    def read(cls, path: str | Path, cnn: Meter, parser: Meter, annotator: Annotator):
        """The same meters in the units that `write` wrote."""
        if not Path(path).exists():
            raise StoreError(f"{path} is not there: run the stage that finds directions first")
        units = json.loads(Path(path).read_text())
        for name, meter in (("cnn", cnn), ("parser", parser)):
            if (known := tuple(units[name]["properties"])) != meter.properties:
                raise StoreError(f"{path}: its {name} meter reads {known}, not {meter.properties}")
        meters = [
            StandardizedMeter(
                meter, np.array(units[name]["center"]), np.array(units[name]["spread"])
            )
            for name, meter in (("cnn", cnn), ("parser", parser))
        ]
        return cls(*meters, IdentityMeter(annotator, units["identity"]), units["background"])

    def background_change(self, images, others, where) -> np.ndarray:
        """Pictures (…, R, R, 3), where both are background (…, R, R) -> (…); 1 is another face."""
        return gray_level_difference(images, others, where) / self.background


def expression_scores(meter: Meter, reading: Reading) -> np.ndarray:
    """What was read of eyes, mouth and pose, (N, 3)."""
    return reading.scores[:, [meter.properties.index(name) for name in EXPRESSION]]


def score_table(meter: Meter, reading: Reading) -> pd.DataFrame:
    """What was read, a column for each property."""
    return pd.DataFrame(reading.scores, columns=list(meter.properties))


def mean_of_finite(values: np.ndarray, axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """The mean of what is finite along an axis; NaN where nothing is."""
    finite = np.isfinite(values)
    count = finite.sum(axis=axis)
    total = np.where(finite, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def gray_level_difference(images: np.ndarray, others: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean |difference| in gray levels of (…, R, R, 3) over (…, R, R); NaN where there is none."""
    pixels = where.sum(axis=(-2, -1))
    others = np.broadcast_to(others, images.shape)
    total = np.empty(pixels.shape)
    for at in np.ndindex(total.shape):
        total[at] = cv2.norm(images[at], others[at], cv2.NORM_L1, where[at].view(np.uint8))
    return np.where(pixels > 0, total / (3 * np.maximum(pixels, 1)), np.nan)
