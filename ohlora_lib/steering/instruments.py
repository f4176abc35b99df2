"""All that steering is measured with, in units of one population of the generator's pictures."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.models.annotator import Annotator
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.meters import Meter, Reading, Standardized, Witness
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_json


@dataclass(frozen=True, eq=False)
class Instruments:
    """The property CNN found the directions, so it guides; the parser did not, so it judges."""

    cnn: Standardized
    parse: Standardized
    witness: Witness
    background: float  # gray levels that the backgrounds of two faces differ by

    @classmethod
    def over(
        cls, cnn: Meter, parse: Meter, annotator: Annotator, images: np.ndarray
    ) -> "Instruments":
        """In units of a population's pictures (N, R, R, 3)."""
        if len(images) < 2:
            raise VectorError(f"{len(images)} pictures are no population: give some hundreds")
        reading = parse(images)
        if reading.background is None:
            raise VectorError("the independent meter must know where the background is")
        other = np.roll(np.arange(len(images)), 1)
        apart = difference(images, images[other], reading.background & reading.background[other])
        return cls(
            Standardized.over(cnn, cnn(images).scores),
            Standardized.over(parse, reading.scores),
            Witness.over(annotator, images),
            float(apart[np.isfinite(apart)].mean()) if np.isfinite(apart).any() else 1.0,
        )

    def write(self, path: str | Path) -> None:
        """Write the units, atomically."""
        meters = {"cnn": self.cnn, "parse": self.parse}
        units = {
            name: {"properties": meter.properties, "center": meter.center.tolist(),
                   "spread": meter.spread.tolist()}
            for name, meter in meters.items()
        }  # fmt: skip
        typical = {"identity": self.witness.typical, "background": self.background}
        write_json(path, units | typical)

    @classmethod
    def read(cls, path: str | Path, cnn: Meter, parse: Meter, annotator: Annotator):
        """The same meters in the units that `write` wrote."""
        if not Path(path).exists():
            raise StoreError(f"{path} is not there: run the stage that finds directions first")
        units = json.loads(Path(path).read_text())
        for name, meter in (("cnn", cnn), ("parse", parse)):
            if (known := tuple(units[name]["properties"])) != meter.properties:
                raise StoreError(f"{path}: its {name} meter reads {known}, not {meter.properties}")
        meters = [
            Standardized(meter, np.array(units[name]["center"]), np.array(units[name]["spread"]))
            for name, meter in (("cnn", cnn), ("parse", parse))
        ]
        return cls(*meters, Witness(annotator, units["identity"]), units["background"])

    def background_change(self, images, others, where) -> np.ndarray:
        """Pictures (…, R, R, 3), where both are background (…, R, R) -> (…); 1 is another face."""
        return difference(images, others, where) / self.background


def expression(meter: Meter, reading: Reading) -> np.ndarray:
    """What was read of eyes, mouth and pose, (N, 3)."""
    return reading.scores[:, [meter.properties.index(name) for name in EXPRESSION]]


def table(meter: Meter, reading: Reading) -> pd.DataFrame:
    """What was read, a column for each property."""
    return pd.DataFrame(reading.scores, columns=list(meter.properties))


def mean_of_finite(values: np.ndarray, axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """The mean of what is finite along an axis; NaN where nothing is."""
    finite = np.isfinite(values)
    count = finite.sum(axis=axis)
    total = np.where(finite, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def difference(images: np.ndarray, others: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean |difference| in gray levels of (…, R, R, 3) over (…, R, R); NaN where there is none."""
    pixels = where.sum(axis=(-2, -1))
    others = np.broadcast_to(others, images.shape)
    total = np.empty(pixels.shape)
    for at in np.ndindex(total.shape):
        total[at] = cv2.norm(images[at], others[at], cv2.NORM_L1, where[at].view(np.uint8))
    return np.where(pixels > 0, total / (3 * np.maximum(pixels, 1)), np.nan)
