"""How curly hair is: light that changes more downwards than sideways over 4×4 blocks of hair."""

from functools import reduce

import numpy as np

from ohlora_lib.measure.segments import HALF, SIZE, Segments

NO_BLOCK = 0.45
LEAST_BLOCKS = 400
"""Blocks from which on the score tells of the hair: a seventh of what a face with long hair has.
On 6,000 rendered faces of seed 20030 the score's error against the true curl was 0.16 to 0.38
below, as large as its own deviation (r 0.35 to 0.68), 0.12 from there to 600 blocks (r 0.79), and
0.06 from 2,000 on (r 0.93)."""
BLOCK, APART = 4, 8
PER_MEAN = 3 * BLOCK**2
"""The difference of two block sums is this times the difference of their means."""
ROWS = SIZE - HALF - APART - BLOCK + 1  # of center blocks: all whose neighbors are in the map
COLUMNS = SIZE - 2 * APART - BLOCK + 1


def hairstyle(segments: Segments) -> np.ndarray:
    """The original's score, (N,): of each block it tests two pixels."""
    return _mean_ratio(segments, _corners_are_hair(segments.hair[:, HALF:]))


def hairstyle_sure(segments: Segments) -> np.ndarray:
    """The same, (N,), but hair of too few blocks to tell of counts as none, as no hair does."""
    return _mean_ratio(segments, _corners_are_hair(segments.hair[:, HALF:]), LEAST_BLOCKS)


def hairstyle_whole_blocks(segments: Segments) -> np.ndarray:
    """The score as its authors describe it, (N,): all pixels of the four blocks are hair."""
    whole = _over_blocks(np.logical_and, segments.hair[:, HALF:])
    return _mean_ratio(segments, reduce(np.logical_and, _neighbors(whole)))


def _neighbors(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Center, below, left and right of every center block, (N, ROWS, COLUMNS) each."""
    places = ((0, APART), (APART, APART), (0, 0), (0, 2 * APART))
    return tuple(blocks[:, y : y + ROWS, x : x + COLUMNS] for y, x in places)


def _corners_are_hair(hair: np.ndarray) -> np.ndarray:
    """Whether the eight pixels are hair that the original looks at, (N, ROWS, COLUMNS)."""
    last = BLOCK - 1
    # The left block's second pixel lies outside of it, and comes round from the right edge.
    astray = np.roll(hair, APART + last, axis=2)[:, last:, APART:]
    ends = [
        hair[:, last:, APART + last :],
        hair[:, APART + last :, APART + last :],
        astray,
        hair[:, last:, 2 * APART + last :],
    ]
    tested = [*_neighbors(hair), *(end[:, :ROWS, :COLUMNS] for end in ends)]
    return reduce(np.logical_and, tested)


def _mean_ratio(segments: Segments, chosen: np.ndarray, least: int = 1) -> np.ndarray:
    """Mean over the chosen center blocks (N, ROWS, COLUMNS) of change down over change across.

    Of fewer than `least` it is NO_BLOCK.
    """
    light = segments.light[:, HALF:].view(np.int16)  # a block's sum is at most 16 · 765
    center, below, left, right = _neighbors(_over_blocks(np.add, light))
    down = np.abs(center - below)[chosen]
    across = np.maximum(np.abs(center - left), np.abs(center - right))[chosen]
    number = np.count_nonzero(chosen, axis=(1, 2))
    image = np.repeat(np.arange(len(chosen)), number)
    total = np.bincount(image, down / (across + 5.0 * PER_MEAN), minlength=len(chosen))
    return np.where(number >= least, total / np.maximum(number, 1), NO_BLOCK)


def _over_blocks(combine: np.ufunc, pixels: np.ndarray) -> np.ndarray:
    """Combine the block that begins at each pixel: (N, H, W) -> (N, H - 3, W - 3)."""
    pairs = combine(pixels[:, :-1], pixels[:, 1:])
    rows = combine(pairs[:, :-2], pairs[:, 2:])
    pairs = combine(rows[..., :-1], rows[..., 1:])
    return combine(pairs[..., :-2], pairs[..., 2:])
