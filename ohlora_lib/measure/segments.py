"""Intermediate results that several scores share: masks, row counts, light histograms."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ohlora_lib.faces.classes import (
    BACKGROUND,
    HAIR,
    INNER_MOUTH,
    LEFT_EYE,
    LOWER_LIP,
    RIGHT_EYE,
    UPPER_LIP,
)

SIZE = 224
LAST_ROW = SIZE - 1
HALF = SIZE // 2
EYE_ROWS = slice(56, 168)
EYE_COLUMNS = {LEFT_EYE: slice(0, 168), RIGHT_EYE: slice(56, 224)}
"""The windows that the published code cuts out; eye pixels outside are ignored."""

LIGHT_LEVELS = 3 * 255 + 1
"""A pixel's light is R + G + B: an integer, so its statistics are exact until the last division."""

NO_HAIR_COLOR = 127.5
NO_BACKGROUND = 192.0


class Pixels(NamedTuple):
    """Single pixels, sorted by owner, row and column: (P,) each."""

    owner: np.ndarray
    y: np.ndarray
    x: np.ndarray


@dataclass(frozen=True)
class Segments:
    """Class maps (N, 224, 224) and face images (N, 224, 224, 3) of the same crops, both uint8."""

    maps: np.ndarray
    images: np.ndarray

    @cached_property
    def light(self) -> np.ndarray:
        """R + G + B of every pixel, (N, 224, 224) uint16."""
        red_and_green = np.add(self.images[..., 0], self.images[..., 1], dtype=np.uint16)
        return np.add(red_and_green, self.images[..., 2], out=red_and_green)

    @cached_property
    def hair(self) -> np.ndarray:
        """Where hair is, (N, 224, 224) bool."""
        return self.maps == HAIR

    @cached_property
    def hair_rows(self) -> np.ndarray:
        """Hair pixels of every row, (N, 224)."""
        return counts(self.hair, axis=2)

    @cached_property
    def hair_light(self) -> np.ndarray:
        """Histogram of the hair pixels' light, (N, 766)."""
        return light_counts(self.light, self.hair)

    @cached_property
    def mouth_rows(self) -> np.ndarray:
        """Pixels of upper lip, inner mouth and lower lip in every row, (3, N, 224)."""
        parts = (UPPER_LIP, INNER_MOUTH, LOWER_LIP)
        return np.stack([counts(self.maps == part, axis=2) for part in parts])

    @cached_property
    def eyes(self) -> Pixels:
        """Pixels of both eyes in their windows; owner i is image i's left eye, N + i its right."""
        windows = EYE_COLUMNS.items()
        masks = [self.maps[:, EYE_ROWS, columns] == eye for eye, columns in windows]
        owner, y, x = pixels(np.concatenate(masks))
        starts = np.repeat([columns.start for columns in EYE_COLUMNS.values()], len(self.maps))
        return Pixels(owner, y + EYE_ROWS.start, x + starts[owner])

    @cached_property
    def background(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std of the upper background's light, 5th to 95th percentile, (N,) each."""
        levels = light_counts(self.light[:, :HALF], self.maps[:, :HALF] == BACKGROUND)
        total = levels.sum(1)
        first, last = ranks(total, 0.05, 0.95)
        last = np.maximum(last, np.minimum(total, 1))  # a single pixel is its own mean
        mean, std = statistics_between(levels, first, last)
        return np.where(total == 0, NO_BACKGROUND, mean), np.where(total == 0, 0.0, std)


def counts(mask: np.ndarray, axis: int) -> np.ndarray:
    """Number of set elements along an axis of at most 255."""
    # Sums of bytes are several times as fast as numpy's 64-bit default.
    return mask.view(np.uint8).sum(axis, dtype=np.uint8).astype(np.int64)


def pixels(mask: np.ndarray) -> Pixels:
    """The set pixels of masks (N, H, W)."""
    # Much faster than np.nonzero, which steps through three dimensions.
    return Pixels(*np.unravel_index(np.flatnonzero(mask), mask.shape))


def spans(groups: np.ndarray, values: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of every group, (number,) each; 224 and -1 for an empty one."""
    smallest, largest = np.full(number, SIZE), np.full(number, -1)
    np.minimum.at(smallest, groups, values)
    np.maximum.at(largest, groups, values)
    return smallest, largest


def heights(rows: np.ndarray) -> np.ndarray:
    """Last minus first set row, 0 without any: (N, H) bool -> (N,)."""
    last = rows.shape[1] - 1 - rows[:, ::-1].argmax(1)
    return np.where(rows.any(1), last - rows.argmax(1), 0)


def light_counts(light: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Histogram of the light of each image's masked pixels, (N, 766)."""
    number = len(mask)
    image = np.repeat(np.arange(number) * LIGHT_LEVELS, counts(mask, axis=2).sum(1))
    image += light[mask]
    levels = np.bincount(image, minlength=number * LIGHT_LEVELS)
    return levels.reshape(number, LIGHT_LEVELS)


def ranks(total: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """The bounds int(low * total), int(high * total) by which the original slices sorted pixels."""
    return (low * total).astype(np.int64), (high * total).astype(np.int64)


def statistics_between(
    levels: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population std of mean(R, G, B) over ranks first <= r < last; NaN for none.

    `levels` is the light histogram (N, 766); the rest is (N,).
    """
    upto = np.clip(levels.cumsum(1), first[:, None], last[:, None])
    kept = np.diff(upto, axis=1, prepend=first[:, None])
    light, number = np.arange(LIGHT_LEVELS), last - first
    total, squares = kept @ light, kept @ light**2
    with np.errstate(invalid="ignore"):
        mean = total / (3 * number)
        std = np.sqrt(number * squares - total**2) / (3 * number)
    return mean, std


def median(levels: np.ndarray) -> np.ndarray:
    """Median of mean(R, G, B) from the light histogram (N, 766); NaN without pixels."""
    total, upto = levels.sum(1), levels.cumsum(1)
    lower, upper = ((upto <= rank[:, None]).sum(1) for rank in ((total - 1) // 2, total // 2))
    return np.where(total > 0, (lower + upper) / 6, np.nan)
