"""The second algorithm: eyes, hair, mouth and pose anew; the background is as in the first."""

import numpy as np

from ohlora_lib.measure.segments import (
    HALF,
    LAST_ROW,
    NO_HAIR_COLOR,
    SIZE,
    Pixels,
    Segments,
    ranks,
    spans,
    statistics_between,
)

TOP_QUARTER = 56
HAIRY_ROW = 20


def eyes(segments: Segments) -> np.ndarray:
    """The tallest column of an eye times the cosine of its tilt; the larger of the two eyes."""
    eye, y, x = segments.eyes
    number = 2 * len(segments.maps)
    column, row = eye * SIZE + x, eye * SIZE + y
    top, bottom = spans(column, y, number * SIZE)
    left, right = spans(row, x, number * SIZE)
    tallest = np.maximum(bottom - top, 0).reshape(number, SIZE).max(1)
    # The ends of a farthest pair are vertices of the convex hull: each ends its column and its row.
    corner = (y == top[column]) | (y == bottom[column])
    corner &= (x == left[row]) | (x == right[row])
    cosine = _tilt_cosine(Pixels(eye[corner], y[corner], x[corner]), number)
    return (tallest * cosine).reshape(2, -1).max(0)


def hair_color(segments: Segments) -> np.ndarray:
    """Mean light of the hair between its 10th and 90th percentile; 127.5 where that is empty."""
    levels = segments.hair_light
    mean, _ = statistics_between(levels, *ranks(levels.sum(1), 0.1, 0.9))
    return np.where(np.isnan(mean), NO_HAIR_COLOR, mean)


def hair_length(segments: Segments) -> np.ndarray:
    """Rows with 20 hair pixels below the top quarter, and what the last row has above 10 a side."""
    hairy = segments.hair_rows >= HAIRY_ROW
    sides = segments.hair[:, LAST_ROW].reshape(-1, 2, HALF).sum(2)
    beyond = np.maximum(sides - HAIRY_ROW // 2, 0).sum(1) / 2
    return hairy[:, TOP_QUARTER:].sum(1) + np.where(hairy[:, LAST_ROW], beyond, 0)


def mouth(segments: Segments) -> np.ndarray:
    """The open mouth's share of mouth and lips; 0 where there is neither."""
    upper, inner, lower = segments.mouth_rows.sum(2)
    return inner / np.maximum(upper + inner + lower, 1)


def pose(segments: Segments) -> np.ndarray:
    """Slope of the line from the left eye's centroid to the right's; 0 where an eye is missing.

    Infinite when one is right above the other, as in the original; NaN when they coincide.
    """
    eye, y, x = segments.eyes
    number = np.bincount(eye, minlength=2 * len(segments.maps)).reshape(2, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        row, column = (np.bincount(eye, of, number.size).reshape(2, -1) / number for of in (y, x))
        slope = (row[1] - row[0]) / (column[1] - column[0])
    return np.where(number.all(0), slope, 0.0)


def _tilt_cosine(corners: Pixels, number: int) -> np.ndarray:
    """Cosine of the line through the farthest two corners of each eye, (number,); 1 below two.

    Among equally far pairs the original takes the first (i, j < i), with its pixels listed column
    by column and top to bottom.
    """
    order = np.lexsort((corners.y, corners.x, corners.owner))
    eye, y, x = (of[order] for of in corners)
    count = np.bincount(eye, minlength=number)
    place = np.arange(len(eye)) - np.repeat(count.cumsum() - count, count)
    table = np.zeros((2, number, max(count.max(initial=0), 1)), np.int32)
    table[:, eye, place] = y, x
    dy, dx = table[..., :, None] - table[..., None, :]
    i, j = np.ogrid[: table.shape[2], : table.shape[2]]
    squared = np.where((j < i) & (i < count[:, None, None]), dy**2 + dx**2, 0).reshape(number, -1)
    farthest = np.arange(number), squared.argmax(1)
    chord = np.sqrt(squared[farthest])
    return np.where(chord > 0, dx.reshape(number, -1)[farthest] / np.maximum(chord, 1), 1.0)
