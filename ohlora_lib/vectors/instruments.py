"""All that steering is measured with, in units of one population of the generator's pictures."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ohlora_lib.models.annotator import Annotator
from ohlora_lib.vectors.directions import EXPRESSION
from ohlora_lib.vectors.groups import VectorError
from ohlora_lib.vectors.meters import Meter, Reading, Standardised, Witness


@dataclass(frozen=True, eq=False)
class Instruments:
    """The property CNN found the directions, so it guides; the parser did not, so it judges."""

    cnn: Standardised
    parse: Standardised
    witness: Witness
    background: float  # grey levels that the backgrounds of two faces differ by

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
            Standardised.over(cnn, cnn(images).scores),
            Standardised.over(parse, reading.scores),
            Witness.over(annotator, images),
            float(np.nanmean(apart)) if np.isfinite(apart).any() else 1.0,
        )

    def background_change(self, images, others, where) -> np.ndarray:
        """Pictures (…, R, R, 3), where both are background (…, R, R) -> (…); 1 is another face."""
        return difference(images, others, where) / self.background


def expression(meter: Meter, reading: Reading) -> np.ndarray:
    """What was read of eyes, mouth and pose, (N, 3)."""
    return reading.scores[:, [meter.properties.index(name) for name in EXPRESSION]]


def table(meter: Meter, reading: Reading) -> pd.DataFrame:
    """What was read, a column for each property."""
    return pd.DataFrame(reading.scores, columns=list(meter.properties))


def difference(images: np.ndarray, others: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean |difference| in grey levels of (…, R, R, 3) over (…, R, R); NaN where there is none."""
    apart = np.abs(images.astype(np.int16) - others).sum(axis=-1, dtype=np.int32)
    pixels = where.sum(axis=(-2, -1))
    total = (apart * where).sum(axis=(-2, -1)) / 3
    return np.where(pixels > 0, total / np.maximum(pixels, 1), np.nan)
