"""Raw property scores from class maps and face images, by the two published algorithms.

Every algorithm takes the `Segments` of N faces and gives (N,) scores. Functions are named after the
project's version that introduced them: `v1_*` the first algorithm, `v2_*` the second, `hairstyle*`
the score that v3 added. `score` computes any of them for a whole set of faces.
"""

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
import pandas as pd

from ohlora_lib.faces.classes import CLASS_NAMES, INNER_MOUTH, LOWER_LIP, NOSE, UPPER_LIP
from ohlora_lib.faces.properties import LABEL_PROPERTIES, PROPERTIES
from ohlora_lib.measure.segments import (
    EYE_ROWS,
    HALF,
    LAST_ROW,
    NO_HAIR_COLOR,
    SIZE,
    Pixels,
    Segments,
    heights,
    median,
    pixels,
    ranks,
    spans,
    statistics_between,
)

BATCH = 4
"""Faces at a time: their arrays stay in a core's cache."""

SCANNED_EYE_ROWS = 84
"""The first algorithm cuts out 112 rows for the eyes and scans the first 84."""
HAIRY_ROW = 20  # pixels of hair from which the second algorithm counts a row
TOP_QUARTER = SIZE // 4

NO_HAIRSTYLE = 0.45
"""The hairstyle score of a face that shows no hair in the lower half."""
MIN_BLOCKS = 400
"""Blocks of hair from which the score tells the hairstyle: a seventh of what a face with long hair
has. On 6,000 rendered faces of seed 20030 the score's RMS error against the true curl was 0.16 to
0.38 below (as large as its own standard deviation, r 0.35 to 0.68), 0.12 from there to 600 blocks
(r 0.79), and 0.06 from 2,000 on (r 0.93)."""
BLOCK, DISTANCE = 4, 8  # pixels: side of a block, and distance to its neighbors
PER_MEAN = 3 * BLOCK**2
"""The difference of two block sums is this times the difference of their means."""
BLOCK_ROWS = SIZE - HALF - DISTANCE - BLOCK + 1  # of center blocks with all neighbors in the map
BLOCK_COLUMNS = SIZE - 2 * DISTANCE - BLOCK + 1


class ScoreError(ValueError):
    """Maps or images on which the scores are not defined."""


def v1_eyes(segments: Segments) -> np.ndarray:
    """Mean height of the two eyes; a missing eye has height 0."""
    eye, y, _ = segments.eyes
    scanned = y < EYE_ROWS.start + SCANNED_EYE_ROWS
    top, bottom = spans(eye[scanned], y[scanned], 2 * len(segments.maps))
    return np.maximum(bottom - top, 0).reshape(2, -1).mean(0)


def v1_hair_color(segments: Segments) -> np.ndarray:
    """Median light of the hair; NaN without hair."""
    return median(segments.hair_light)


def v1_hair_length(segments: Segments) -> np.ndarray:
    """Lowest row with hair; in the last row, plus half of that row's hair pixels. NaN without."""
    rows = segments.hair_rows
    lowest = LAST_ROW - (rows[:, ::-1] > 0).argmax(1)
    return np.where(rows.any(1), lowest + rows[:, LAST_ROW] / 2, np.nan)


def v1_mouth(segments: Segments) -> np.ndarray:
    """Height of the two lips together, plus the height of the mouth between them."""
    upper, inner, lower = segments.mouth_rows
    return (heights(upper + lower > 0) + heights(inner > 0)).astype(float)


def v1_pose(segments: Segments) -> np.ndarray:
    """Minus the correlation of x and y over the nose: positive when it runs down to the left.

    NaN for a nose without an extent in both directions.
    """
    image, y, x = pixels(segments.maps == NOSE)
    terms = (x * 0 + 1, x, y, x * x, y * y, x * y)
    # Whole numbers, exact in float64, so that a nose without extent has a spread of exactly 0.
    n, sx, sy, sxx, syy, sxy = (np.bincount(image, term, len(segments.maps)) for term in terms)
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(n * sxx - sx**2) * np.sqrt(n * syy - sy**2)
        return -np.clip((n * sxy - sx * sy) / spread, -1, 1)


def background_mean(segments: Segments) -> np.ndarray:
    """Mean light of the upper half's background between its 5th and 95th percentile (v1 and v2)."""
    return segments.background[0]


def background_std(segments: Segments) -> np.ndarray:
    """Standard deviation of the same pixels' light (v1 and v2)."""
    return segments.background[1]


def v2_eyes(segments: Segments) -> np.ndarray:
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


def v2_hair_color(segments: Segments) -> np.ndarray:
    """Mean light of the hair between its 10th and 90th percentile; 127.5 where that is empty."""
    levels = segments.hair_light
    mean, _ = statistics_between(levels, *ranks(levels.sum(1), 0.1, 0.9))
    return np.where(np.isnan(mean), NO_HAIR_COLOR, mean)


def v2_hair_length(segments: Segments) -> np.ndarray:
    """Rows below the top quarter with 20 hair pixels or more. If the last row is one of them, plus
    half of its hair pixels above 10 in each half."""
    hairy = segments.hair_rows >= HAIRY_ROW
    sides = segments.hair[:, LAST_ROW].reshape(-1, 2, HALF).sum(2)
    excess = np.maximum(sides - HAIRY_ROW // 2, 0).sum(1) / 2
    return hairy[:, TOP_QUARTER:].sum(1) + np.where(hairy[:, LAST_ROW], excess, 0)


def v2_mouth(segments: Segments) -> np.ndarray:
    """Area of the inner mouth relative to mouth and lips; 0 without both."""
    upper, inner, lower = segments.mouth_rows.sum(2)
    return inner / np.maximum(upper + inner + lower, 1)


def v2_pose(segments: Segments) -> np.ndarray:
    """Slope of the line from the left eye's centroid to the right's; 0 where an eye is missing.

    Infinite when one is exactly above the other, as in the original; NaN when they coincide.
    """
    number, row, column = _eye_centers(segments)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (row[1] - row[0]) / (column[1] - column[0])
    return np.where(number.all(0), slope, 0.0)


def _eye_centers(segments: Segments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, mean row and mean column of left and right eye, (2, N) each; NaN for no pixels."""
    eye, y, x = segments.eyes
    number = np.bincount(eye, minlength=2 * len(segments.maps)).reshape(2, -1)
    with np.errstate(invalid="ignore"):
        row, column = (np.bincount(eye, of, number.size).reshape(2, -1) / number for of in (y, x))
    return number, row, column


def turn(segments: Segments) -> np.ndarray:
    """Turn of the head: from the nose to the middle of the eyes, along their line, in distances of
    the eyes. Positive when the nose points to the image's left, as for `v2_pose`."""
    _, row, column = _eye_centers(segments)
    image, y, x = pixels(segments.maps == NOSE)
    nose = np.bincount(image, minlength=len(segments.maps))
    with np.errstate(invalid="ignore", divide="ignore"):
        nose_row, nose_column = (np.bincount(image, of, len(nose)) / nose for of in (y, x))
        across, down = column[1] - column[0], row[1] - row[0]
        offset = (column.mean(0) - nose_column) * across + (row.mean(0) - nose_row) * down
        return offset / (across**2 + down**2)


def smile(segments: Segments) -> np.ndarray:
    """Width of the mouth with its lips, in distances of the eyes; NaN without a mouth."""
    _, row, column = _eye_centers(segments)
    image, _, x = pixels(np.isin(segments.maps, (UPPER_LIP, INNER_MOUTH, LOWER_LIP)))
    left, right = spans(image, x, len(segments.maps))
    distance = np.hypot(column[1] - column[0], row[1] - row[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(right >= left, right - left, np.nan) / distance


def asymmetry(segments: Segments) -> np.ndarray:
    """Area of the right eye minus that of the left, relative to their sum; NaN without eyes."""
    number, _, _ = _eye_centers(segments)
    with np.errstate(invalid="ignore"):
        return (number[1] - number[0]) / number.sum(0)


def _tilt_cosine(corners: Pixels, number: int) -> np.ndarray:
    """Cosine of the line through the two farthest corners of each eye, (number,); 1 for fewer.

    Among equally far pairs the original takes the first (i, j < i) of its list, which goes column
    by column and from top to bottom.
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


def hairstyle(segments: Segments) -> np.ndarray:
    """How curly the hair is, (N,): the published score, on blocks whose tested pixels are hair.

    Over blocks of 4 x 4 pixels in the lower half: vertical over horizontal change of light.
    """
    return _mean_ratio(segments, _tested_pixels_are_hair(segments.hair[:, HALF:]))


def hairstyle_min_blocks(segments: Segments) -> np.ndarray:
    """The same, (N,), but a face with fewer than MIN_BLOCKS blocks gets the score of no hair."""
    return _mean_ratio(segments, _tested_pixels_are_hair(segments.hair[:, HALF:]), MIN_BLOCKS)


def hairstyle_whole_blocks(segments: Segments) -> np.ndarray:
    """The score as the paper describes it, (N,): all pixels of the four blocks must be hair."""
    whole = _combine_blocks(np.logical_and, segments.hair[:, HALF:])
    return _mean_ratio(segments, reduce(np.logical_and, _neighbors(whole)))


def _neighbors(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Center, below, left and right of every center block: BLOCK_ROWS x BLOCK_COLUMNS each."""
    corners = ((0, DISTANCE), (DISTANCE, DISTANCE), (0, 0), (0, 2 * DISTANCE))
    return tuple(blocks[:, y : y + BLOCK_ROWS, x : x + BLOCK_COLUMNS] for y, x in corners)


def _tested_pixels_are_hair(hair: np.ndarray) -> np.ndarray:
    """Whether the eight pixels that the published code tests are hair, per center block."""
    last = BLOCK - 1
    # Of the left block it tests a pixel outside the block, which wraps around the right edge.
    wrapped = np.roll(hair, DISTANCE + last, axis=2)[:, last:, DISTANCE:]
    ends = [
        hair[:, last:, DISTANCE + last :],
        hair[:, DISTANCE + last :, DISTANCE + last :],
        wrapped,
        hair[:, last:, 2 * DISTANCE + last :],
    ]
    tested = [*_neighbors(hair), *(end[:, :BLOCK_ROWS, :BLOCK_COLUMNS] for end in ends)]
    return reduce(np.logical_and, tested)


def _mean_ratio(segments: Segments, chosen: np.ndarray, least: int = 1) -> np.ndarray:
    """Mean over the chosen center blocks of vertical over horizontal change of light, (N,).

    NO_HAIRSTYLE for a face with fewer than `least` chosen blocks.
    """
    light = segments.light[:, HALF:].view(np.int16)  # a block's sum is at most 16 · 765
    center, below, left, right = _neighbors(_combine_blocks(np.add, light))
    vertical = np.abs(center - below)[chosen]
    horizontal = np.maximum(np.abs(center - left), np.abs(center - right))[chosen]
    number = np.count_nonzero(chosen, axis=(1, 2))
    image = np.repeat(np.arange(len(chosen)), number)
    ratio = vertical / (horizontal + 5.0 * PER_MEAN)
    total = np.bincount(image, ratio, minlength=len(chosen))
    return np.where(number >= least, total / np.maximum(number, 1), NO_HAIRSTYLE)


def _combine_blocks(combine: np.ufunc, pixels: np.ndarray) -> np.ndarray:
    """Combine the 4 x 4 block whose top left is each pixel: (N, H, W) -> (N, H - 3, W - 3)."""
    pairs = combine(pixels[:, :-1], pixels[:, 1:])
    rows = combine(pairs[:, :-2], pairs[:, 2:])
    pairs = combine(rows[..., :-1], rows[..., 1:])
    return combine(pairs[..., :-2], pairs[..., 2:])


SCORES: dict[str, Callable[[Segments], np.ndarray]] = {
    "v1_eyes": v1_eyes,
    "v1_hair_color": v1_hair_color,
    "v1_hair_length": v1_hair_length,
    "v1_mouth": v1_mouth,
    "v1_pose": v1_pose,
    "v1_background_mean": background_mean,
    "v1_background_std": background_std,
    "v2_eyes": v2_eyes,
    "v2_hair_color": v2_hair_color,
    "v2_hair_length": v2_hair_length,
    "v2_mouth": v2_mouth,
    "v2_pose": v2_pose,
    "v2_background_mean": background_mean,
    "v2_background_std": background_std,
    "hairstyle": hairstyle,
    "hairstyle_min_blocks": hairstyle_min_blocks,
    "hairstyle_whole_blocks": hairstyle_whole_blocks,
    "turn": turn,
    "smile": smile,
    "asymmetry": asymmetry,
}
"""Every score by its name."""

FIRST = {name: f"v1_{name}" for name in LABEL_PROPERTIES}
"""Property -> score of the first algorithm (Oh-LoRA v1)."""
SECOND = {name: f"v2_{name}" for name in LABEL_PROPERTIES} | {"hairstyle": "hairstyle"}
"""Property -> score of the second (v3 and v3.1), in the order of the property CNN's outputs."""
SECOND_MIN_BLOCKS = SECOND | {"hairstyle": "hairstyle_min_blocks"}
"""The same, but too little hair to tell its style counts as none."""
ORIGINAL_HAIRSTYLE = "original_hairstyle"
"""The column of the published hairstyle score where `hairstyle` is that of SECOND_MIN_BLOCKS."""
GEOMETRY = {name: name for name in ("turn", "smile", "asymmetry")}
"""What no published score measures: `v2_pose` sees the tilt of a turning head only, and nothing
sees a smile or a single closed eye. Not in a property CNN."""
OTHERS = {name: name for name in FIRST.values()} | {ORIGINAL_HAIRSTYLE: "hairstyle"}
"""What notebook 04 compares with the eight scores that are used."""
DIFFERENT = ("eyes", "hair_color", "hair_length", "mouth", "pose")
"""Properties that the two algorithms compute differently."""
ALL = {name: name for name in SCORES if name not in ("hairstyle_min_blocks", *GEOMETRY)}
"""Every score of the original project, as its code or its paper defines it."""


def score(maps: np.ndarray, images: np.ndarray, which: Mapping[str, str] = SECOND) -> pd.DataFrame:
    """Raw scores of maps (N, 224, 224) and images (N, 224, 224, 3), one row each.

    `which` is column -> score: FIRST, SECOND (what v3 uses), SECOND_MIN_BLOCKS, ALL or any other. A
    score without a value (first algorithm: the pose of a face without a nose) is NaN.
    """
    maps, images = _checked(maps, images)
    table = np.empty((len(maps), len(which)))
    for start in range(0, len(maps), BATCH):
        batch = slice(start, start + BATCH)
        segments = Segments(maps[batch], images[batch])
        for column, name in enumerate(which.values()):
            table[batch, column] = SCORES[name](segments)
    return pd.DataFrame(table, columns=list(which))


def of_first_algorithm(raw: pd.DataFrame) -> pd.DataFrame:
    """The same table with the first algorithm's scores (its columns `v1_…`) as the properties."""
    return raw.assign(**{name: raw[column] for name, column in FIRST.items()})


def complete_rows(raw: pd.DataFrame) -> pd.DataFrame:
    """The rows with a finite score of every property: only these can be normalized and used."""
    complete = raw[np.isfinite(raw[list(PROPERTIES)]).all(axis=1)]
    if len(complete) < 2:
        raise ScoreError(
            f"{len(complete)} of {len(raw)} faces have all eight scores, too few to normalize: "
            "check in notebook 03 what the parser finds"
        )
    return complete


def strongest_pair(correlation: pd.DataFrame) -> tuple[str, str, float]:
    """The two properties with the strongest correlation of either sign, and its value."""
    pairs = correlation.where(np.triu(np.ones(correlation.shape, bool), 1)).stack()
    first, second = pairs.abs().idxmax()
    return first, second, float(pairs[first, second])


def _checked(maps: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as uint8, or an error that says which is wrong and how."""
    maps, images = np.asarray(maps), np.asarray(images)
    if maps.shape[1:] != (SIZE, SIZE) or maps.dtype.kind not in "ui":
        raise ScoreError(
            f"maps are {maps.dtype} {maps.shape}: scores need class ids (N, {SIZE}, {SIZE})"
        )
    if images.shape != (*maps.shape, 3) or images.dtype != np.uint8:
        raise ScoreError(
            f"images are {images.dtype} {images.shape}: {len(maps)} maps need "
            f"uint8 images ({len(maps)}, {SIZE}, {SIZE}, 3) of the same crops"
        )
    if maps.size and not 0 <= maps.min() <= maps.max() < len(CLASS_NAMES):
        wrong = np.argmax(((maps < 0) | (maps >= len(CLASS_NAMES))).any((1, 2)))
        raise ScoreError(f"map {wrong} has a class id outside 0 to {len(CLASS_NAMES) - 1}")
    return maps.astype(np.uint8, copy=False), images
