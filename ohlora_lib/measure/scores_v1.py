"""The first algorithm: seven raw scores of a batch of segmented faces, each (N,).

NaN where the original has no value either: hair color and length without hair, pose without a nose
that has an extent in both directions.
"""

import numpy as np

from ohlora_lib.faces.classes import NOSE
from ohlora_lib.measure.segments import EYE_ROWS, LAST_ROW, Segments, height, median, pixels, spans

SCANNED_EYE_ROWS = 84
"""The original cuts out 112 rows and scans the first 84."""


def eyes(segments: Segments) -> np.ndarray:
    """Mean height of the two eyes; a missing eye has height 0."""
    eye, y, _ = segments.eyes
    scanned = y < EYE_ROWS.start + SCANNED_EYE_ROWS
    top, bottom = spans(eye[scanned], y[scanned], 2 * len(segments.maps))
    return np.maximum(bottom - top, 0).reshape(2, -1).mean(0)


def hair_color(segments: Segments) -> np.ndarray:
    """Median light of the hair."""
    return median(segments.hair_light)


def hair_length(segments: Segments) -> np.ndarray:
    """The lowest row with hair; from the last row it goes on by half of the hair pixels there."""
    rows = segments.hair_rows
    lowest = LAST_ROW - (rows[:, ::-1] > 0).argmax(1)
    return np.where(rows.any(1), lowest + rows[:, LAST_ROW] / 2, np.nan)


def mouth(segments: Segments) -> np.ndarray:
    """Height of the two lips together, plus the height of the mouth between them."""
    upper, inner, lower = segments.mouth_rows
    return (height(upper + lower > 0) + height(inner > 0)).astype(float)


def pose(segments: Segments) -> np.ndarray:
    """Minus the correlation of x and y over the nose: positive when it runs down to the left."""
    image, y, x = pixels(segments.maps == NOSE)
    terms = (x * 0 + 1, x, y, x * x, y * y, x * y)
    # Whole numbers, exact in float64, so that a nose without extent has a spread of exactly 0.
    n, sx, sy, sxx, syy, sxy = (np.bincount(image, term, len(segments.maps)) for term in terms)
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(n * sxx - sx**2) * np.sqrt(n * syy - sy**2)
        return -np.clip((n * sxy - sx * sy) / spread, -1, 1)


def background_mean(segments: Segments) -> np.ndarray:
    """Mean light of the upper half's background between its 5th and 95th percentile."""
    return segments.background[0]


def background_std(segments: Segments) -> np.ndarray:
    """Standard deviation of the same pixels' light."""
    return segments.background[1]
