"""Meters: images in, property scores out.

The property CNN (`cnn`) labels the latents from which directions are fitted, and recentering reads
it. The parser with its computed scores (`parser`) sets the step sizes in calibration; the CNN was
trained on its scores. The identity meter reads what steering must not change.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import cv2
import numpy as np
import pandas as pd
import torch

from ohlora_lib import checkpoints
from ohlora_lib.faces.classes import BACKGROUND
from ohlora_lib.faces.domain import Domain
from ohlora_lib.faces.properties import EXPRESSION, PROPERTIES
from ohlora_lib.measure.landmarks import FaceLandmarker, load_judge
from ohlora_lib.measure.parse import BATCH as PARSER_BATCH
from ohlora_lib.measure.parse import Parsed, Parser, default_scores, face_scores, load_parser
from ohlora_lib.measure.scores import GEOMETRY
from ohlora_lib.measure.segments import SIZE
from ohlora_lib.models import precision
from ohlora_lib.models.annotator import Annotator
from ohlora_lib.models.cpu.fused import fuse_for_inference
from ohlora_lib.models.property_cnn import PropertyCNN, property_input
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.store import StoreError, inside_root
from ohlora_lib.store.atomic import write_json
from ohlora_lib.train.classifier import PublishedRater

BATCH = 64
JUDGED = {"ear": "eyes", "mar": "mouth", "yaw": "pose"}
"""The external judge's measure -> the property that it measures."""


class Reading(NamedTuple):
    """What a meter measures on N images."""

    scores: np.ndarray  # (N, P) float64, columns in the order of the meter's `properties`
    background: np.ndarray | None = None  # (N, R, R) bool: neither face nor hair; None: unknown


class Meter(Protocol):
    """Measures property scores on images (N, R, R, 3) uint8."""

    properties: tuple[str, ...]

    def __call__(self, images: np.ndarray) -> Reading: ...


@dataclass(frozen=True, eq=False)
class CnnMeter:
    """The property CNN in eval mode; with `dropout_seed`, dropout stays on as in the original."""

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


ATTRIBUTE_OF = {name: name for name in PROPERTIES} | {"hairstyle": "curl"}
"""Property -> the annotator's attribute of the same meaning."""


@dataclass(frozen=True, eq=False)
class AnnotatorMeter:
    """The annotator's attributes as property scores."""

    annotator: Annotator
    properties: tuple[str, ...] = PROPERTIES

    def __call__(self, images: np.ndarray) -> Reading:
        with precision.inference(device=self.annotator.mean.device):
            attributes = self.annotator.annotate(images, BATCH).attributes
        columns = [attributes[ATTRIBUTE_OF[name]] for name in self.properties]
        return Reading(np.stack(columns, 1).astype(float))


@dataclass(frozen=True, eq=False)
class ParserMeter:
    """A parser and the scores computed from its class maps, with the background mask.

    The property scores, then those of GEOMETRY. An image without a face has NaN scores and no
    background.
    """

    parser: Parser

    @property
    def properties(self) -> tuple[str, ...]:
        return tuple(self._scores)

    @property
    def _scores(self) -> dict[str, str]:
        return {**default_scores(self.parser), **GEOMETRY}

    def __call__(self, images: np.ndarray) -> Reading:
        tables, masks = [], []
        for start in range(0, len(images), PARSER_BATCH):
            parsed = self.parser(images[start : start + PARSER_BATCH])
            tables.append(face_scores(parsed, self._scores).to_numpy(float))
            masks.append(background_mask(parsed, *images.shape[1:3]))
        return Reading(np.concatenate(tables), np.concatenate(masks))


@dataclass(frozen=True, eq=False)
class JoinedMeter:
    """Scores of one meter, and those of another that the first does not have."""

    first: Meter
    other: Meter

    @property
    def properties(self) -> tuple[str, ...]:
        return (*self.first.properties, *self._added)

    @property
    def _added(self) -> tuple[str, ...]:
        return tuple(name for name in self.other.properties if name not in self.first.properties)

    def __call__(self, images: np.ndarray) -> Reading:
        added = [self.other.properties.index(name) for name in self._added]
        scores = [self.first(images).scores, self.other(images).scores[:, added]]
        return Reading(np.concatenate(scores, axis=1))


@dataclass(frozen=True, eq=False)
class JudgeMeter:
    """The external judge's measures under the names of what they measure."""

    judge: FaceLandmarker
    properties: ClassVar = ("eyes", "mouth", "pose", "roll", "smile", "gaze", "asymmetry")

    def __call__(self, images: np.ndarray) -> Reading:
        table = self.judge.measure(images).rename(columns=JUDGED)
        return Reading(table[list(self.properties)].to_numpy(float))


def background_mask(parsed: Parsed, height: int, width: int) -> np.ndarray:
    """The class maps' background in the pixels of the images, (N, height, width) bool.

    A pixel belongs to the map cell in which its center lies; outside the face crop it is unknown,
    so False.
    """
    boxes = np.nan_to_num(parsed.boxes, nan=-1.0)
    left, top, right, bottom = boxes.T[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (np.arange(width) + 0.5 - left) / (right - left) * SIZE
        y = (np.arange(height) + 0.5 - top) / (bottom - top) * SIZE
    inside = [(at >= 0) & (at < SIZE) & parsed.found[:, None] for at in (x, y)]
    column, row = (np.where(ok, at, 0).astype(int) for ok, at in zip(inside, (x, y), strict=True))
    number = np.arange(len(boxes))[:, None, None]
    background = parsed.maps[number, row[:, :, None], column[:, None, :]] == BACKGROUND
    return background & inside[1][:, :, None] & inside[0][:, None, :]


@dataclass(frozen=True, eq=False)
class StandardizedMeter:
    """A meter whose scores have mean 0 and standard deviation 1 over a population of images."""

    meter: Meter
    center: np.ndarray  # (P,)
    spread: np.ndarray  # (P,)

    @classmethod
    def fit(cls, meter: Meter, scores: np.ndarray) -> "StandardizedMeter":
        """Mean and deviation of the meter's scores (N, P); a constant score keeps its unit."""
        finite = np.isfinite(scores)
        count = np.maximum(finite.sum(axis=0), 1)
        center = np.where(finite, scores, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(finite, scores - center, 0) ** 2).sum(axis=0) / count)
        return cls(meter, center, np.where(spread > 0, spread, 1.0))

    @property
    def properties(self) -> tuple[str, ...]:
        return self.meter.properties

    def standardize(self, scores: np.ndarray) -> np.ndarray:
        """The meter's raw scores (N, P) -> in standard deviations of the population."""
        return (scores - self.center) / self.spread

    def __call__(self, images: np.ndarray) -> Reading:
        reading = self.meter(images)
        return reading._replace(scores=self.standardize(reading.scores))


EXPRESSION_ATTRIBUTES = ("eyes", "mouth", "smile", "pose", "roll", "gaze")
"""Attributes of the annotator that may change while the person stays the same."""


@dataclass(frozen=True, eq=False)
class IdentityMeter:
    """Filter properties, and an identity embedding that does not depend on the expression.

    Photographs: probabilities and features of the published filter CNNs. Toy faces: the embedding
    is the annotator's features, projected onto the complement of the readout directions of
    EXPRESSION_ATTRIBUTES. Distances are divided by `mean_distance`, so that 1 is the mean distance
    of two faces of the population. Where the annotator runs in bfloat16, a probability changes by
    0.0002 and an identity by 0.008.
    """

    annotator: Annotator | PublishedRater
    mean_distance: float = 1.0

    @classmethod
    def fit(cls, annotator: Annotator, images: np.ndarray) -> "IdentityMeter":
        """`mean_distance` from a population of images (N, R, R, 3), N > 1."""
        identity = cls(annotator)(images)[1]
        distances = np.linalg.norm(identity - np.roll(identity, 1, axis=0), axis=1)
        return cls(annotator, float(distances.mean()))

    @property
    def filters(self) -> tuple[str, ...]:
        return self.annotator.config.filters

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images -> probabilities of the filter properties (N, 4), identities (N, F)."""
        with precision.inference(device=next(self.annotator.parameters()).device):
            annotation = self.annotator.annotate(images, BATCH)
        names, identity = self.annotator.config.attributes, annotation.features
        rows = [names.index(name) for name in EXPRESSION_ATTRIBUTES if name in names]
        if rows:
            basis = np.linalg.qr(self.annotator.regress.weight.detach().cpu().numpy()[rows].T)[0]
            identity = identity - identity @ basis @ basis.T
        probabilities = [annotation.probabilities[name] for name in self.filters]
        return np.stack(probabilities, 1), identity / self.mean_distance


@dataclass(frozen=True, eq=False)
class MeterSet:
    """The meters of one generator, all in units of its population."""

    cnn: StandardizedMeter
    parser: StandardizedMeter
    identity: IdentityMeter
    background: float  # mean difference of the backgrounds of two faces, in gray levels

    @classmethod
    def fit(cls, cnn: Meter, parser: Meter, annotator: Annotator, images: np.ndarray) -> "MeterSet":
        """Units from the images (N, R, R, 3) of a population."""
        if len(images) < 2:
            raise VectorError(f"{len(images)} images are no population: give some hundreds")
        reading = parser(images)
        if reading.background is None:
            raise VectorError("the parser meter must return the background mask")
        other = np.roll(np.arange(len(images)), 1)
        both = reading.background & reading.background[other]
        difference = gray_level_difference(images, images[other], both)
        finite = difference[np.isfinite(difference)]
        return cls(
            StandardizedMeter.fit(cnn, cnn(images).scores),
            StandardizedMeter.fit(parser, reading.scores),
            IdentityMeter.fit(annotator, images),
            float(finite.mean()) if len(finite) else 1.0,
        )

    def write(self, path: str | Path) -> None:
        """Write the units as JSON, atomically."""
        units = {
            name: {"properties": meter.properties, "center": meter.center.tolist(),
                   "spread": meter.spread.tolist()}
            for name, meter in (("cnn", self.cnn), ("parser", self.parser))
        }  # fmt: skip
        distances = {"identity": self.identity.mean_distance, "background": self.background}
        write_json(path, units | distances)

    @classmethod
    def read(cls, path: str | Path, cnn: Meter, parser: Meter, annotator: Annotator) -> "MeterSet":
        """These meters with the units that `write` saved."""
        if not Path(path).exists():
            raise StoreError(f"{path} does not exist: run notebook 07 (find vectors) first")
        units = json.loads(Path(path).read_text())
        meters = []
        for name, meter in (("cnn", cnn), ("parser", parser)):
            saved = units[name]
            if (known := tuple(saved["properties"])) != meter.properties:
                raise StoreError(f"{path}: its {name} meter reads {known}, not {meter.properties}")
            center, spread = np.array(saved["center"]), np.array(saved["spread"])
            meters.append(StandardizedMeter(meter, center, spread))
        return cls(*meters, IdentityMeter(annotator, units["identity"]), units["background"])

    def standardize(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Raw scores -> in standard deviations: of the property CNN, or of the parser where it has
        none."""
        columns = {}
        for name, values in scores.items():
            meter = self.cnn if name in self.cnn.properties else self.parser
            place = meter.properties.index(name)
            columns[name] = (values - meter.center[place]) / meter.spread[place]
        return pd.DataFrame(columns)

    def readers(self, names: Sequence[str]) -> tuple[str, ...]:
        """Which of the two meters these scores are of: the property CNN, or the parser where it has
        none."""
        return ("cnn",) if set(names) <= set(self.cnn.properties) else ("cnn", "parser")

    def read_scores(self, images: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Standardized scores (N, P) of their `readers`."""
        used = [getattr(self, reader) for reader in self.readers(names)]
        tables = [score_table(meter, meter(images)) for meter in reversed(used)]
        columns = {name: values for table in tables for name, values in table.items()}
        return np.stack([columns[name] for name in names], axis=1)

    def background_change(
        self, images: np.ndarray, others: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        """Images (…, R, R, 3) and the mask of common background (…, R, R) -> change (…).

        1 is the difference of the backgrounds of two faces.
        """
        return gray_level_difference(images, others, mask) / self.background


def load_meters(
    domain: Domain, property_cnn: str | None, device: torch.device
) -> tuple[Meter, ParserMeter, Annotator | PublishedRater]:
    """The property CNN, the parser and the annotator for these faces, not yet standardized.

    `property_cnn` is a file, or a name of the registry. If it is None, the annotator stands in for
    the property CNN. For photographs the first folds of the published filter CNNs take the
    annotator's place: all five would take longer than everything else in a test.
    """
    if not domain.has_truth:
        if property_cnn is None:
            raise VectorError("property_cnn is not given: photographs need one, as 'property-cnn'")
        rater = PublishedRater(folds=1).to(device)
        return (
            load_cnn(property_cnn, device),
            ParserMeter(load_parser(domain.parser, device)),
            rater,
        )
    annotator = precision.place(fuse_for_inference(checkpoints.load("annotator")), device=device)
    parser = ParserMeter(load_parser(domain.parser, device))
    if property_cnn is None:
        return AnnotatorMeter(annotator), parser, annotator
    return load_cnn(property_cnn, device), parser, annotator


def load_cnn(property_cnn: str, device: torch.device) -> CnnMeter:
    """A property CNN by its file or its name in the registry."""
    is_file = property_cnn.endswith(".safetensors")
    network = checkpoints.load(inside_root(property_cnn) if is_file else property_cnn)
    return CnnMeter(network.to(device))


def extra_meters(cnn: Meter, annotator: Annotator, domain: Domain) -> dict[str, Meter]:
    """Further meters of the control test, by name.

    `annotator`: for toy faces, of which it was trained to read the attributes; it took no part in
    fitting or calibrating. `dropout`: the property CNN with dropout on, as the original measured.
    """
    if not isinstance(cnn, CnnMeter):  # the annotator is the CNN meter already
        return {}
    meters: dict[str, Meter] = {"annotator": AnnotatorMeter(annotator)} if domain.has_truth else {}
    config = cnn.network.config
    if config.conv_dropout or config.dense_dropout:
        meters["dropout"] = CnnMeter(cnn.network, dropout_seed=1)
    return meters


def judge_meter(images: np.ndarray) -> StandardizedMeter | None:
    """The external judge, in units of a population of images; None if it is not installed."""
    judge = load_judge()
    if judge is None:
        return None
    meter = JudgeMeter(judge)
    return StandardizedMeter.fit(meter, meter(images).scores)


def expression_scores(meter: Meter, reading: Reading) -> np.ndarray:
    """The scores of eyes, mouth and pose, (N, 3)."""
    return reading.scores[:, [meter.properties.index(name) for name in EXPRESSION]]


def score_table(meter: Meter, reading: Reading) -> pd.DataFrame:
    """The scores, one column per property."""
    return pd.DataFrame(reading.scores, columns=list(meter.properties))


def mean_of_finite(values: np.ndarray, axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """Mean of the finite values along an axis; NaN where there is none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=axis)
    total = np.where(finite, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def gray_level_difference(images: np.ndarray, others: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean |difference| of images (…, R, R, 3) inside the mask (…, R, R); NaN for an empty mask."""
    pixels = mask.sum(axis=(-2, -1))
    others = np.broadcast_to(others, images.shape)
    total = np.empty(pixels.shape)
    for at in np.ndindex(total.shape):
        total[at] = cv2.norm(images[at], others[at], cv2.NORM_L1, mask[at].view(np.uint8))
    return np.where(pixels > 0, total / (3 * np.maximum(pixels, 1)), np.nan)
