"""From class maps and face images to the raw property scores: a table with a row for each face."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.measure import scores_v1, scores_v2
from ohlora_lib.measure.hairstyle import hairstyle, hairstyle_sure, hairstyle_whole_blocks
from ohlora_lib.measure.segments import SIZE, Segments

SCORES: dict[str, Callable[[Segments], np.ndarray]] = {
    "v1_eyes": scores_v1.eyes,
    "v1_hair_color": scores_v1.hair_color,
    "v1_hair_length": scores_v1.hair_length,
    "v1_mouth": scores_v1.mouth,
    "v1_pose": scores_v1.pose,
    "v1_background_mean": scores_v1.background_mean,
    "v1_background_std": scores_v1.background_std,
    "v2_eyes": scores_v2.eyes,
    "v2_hair_color": scores_v2.hair_color,
    "v2_hair_length": scores_v2.hair_length,
    "v2_mouth": scores_v2.mouth,
    "v2_pose": scores_v2.pose,
    "v2_background_mean": scores_v1.background_mean,
    "v2_background_std": scores_v1.background_std,
    "hairstyle": hairstyle,
    "hairstyle_sure": hairstyle_sure,
    "hairstyle_whole_blocks": hairstyle_whole_blocks,
}
"""Every score by its name."""

_SEVEN = ("eyes", "hair_color", "hair_length", "mouth", "pose", "background_mean", "background_std")
FIRST = {name: f"v1_{name}" for name in _SEVEN}
"""Property -> score of Oh-LoRA v1."""
SECOND = {name: f"v2_{name}" for name in _SEVEN} | {"hairstyle": "hairstyle"}
"""Property -> score of Oh-LoRA v3 and v3.1, in the order of the property CNN's outputs."""
SECOND_SURE = SECOND | {"hairstyle": "hairstyle_sure"}
"""The same, but hair of too few blocks to tell its style counts as none."""
ORIGINAL_HAIRSTYLE = "original_hairstyle"
"""The column of the published hairstyle score where `hairstyle` is SECOND_SURE's."""
ALL = {name: name for name in SCORES if name != "hairstyle_sure"}
"""Every score of the original's, by its code or by its prose."""

BATCH = 4
"""Images at a time: what they need stays in a core's cache."""


class ScoreError(ValueError):
    """Maps or images that are not what the scores are defined on."""


def score(maps: np.ndarray, images: np.ndarray, which: Mapping[str, str] = SECOND) -> pd.DataFrame:
    """Raw scores of maps (N, 224, 224) and images (N, 224, 224, 3), a row for each.

    `which` is column -> score: FIRST, SECOND (what v3 uses), SECOND_SURE, ALL or any other. What
    has no value (first algorithm: the pose of a face without a nose) is NaN; `undefined` counts it.
    """
    maps, images = _checked(maps, images)
    table = np.empty((len(maps), len(which)))
    for start in range(0, len(maps), BATCH):
        batch = slice(start, start + BATCH)
        segments = Segments(maps[batch], images[batch])
        for column, name in enumerate(which.values()):
            table[batch, column] = SCORES[name](segments)
    return pd.DataFrame(table, columns=list(which))


def undefined(table: pd.DataFrame) -> dict[str, int]:
    """How many of a column's scores are NaN or infinite, for the columns that have any."""
    counts = (~np.isfinite(table)).sum()
    return {str(name): int(count) for name, count in counts.items() if count}


def _checked(maps: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as uint8, or an error that says what is wrong with which."""
    maps, images = np.asarray(maps), np.asarray(images)
    if maps.shape[1:] != (SIZE, SIZE) or maps.dtype.kind not in "ui":
        raise ScoreError(
            f"maps are {maps.dtype} {maps.shape}: scores need class numbers (N, {SIZE}, {SIZE})"
        )
    if images.shape != (*maps.shape, 3) or images.dtype != np.uint8:
        raise ScoreError(
            f"images are {images.dtype} {images.shape}: {len(maps)} maps need "
            f"uint8 images ({len(maps)}, {SIZE}, {SIZE}, 3) of the same crops"
        )
    if maps.size and not 0 <= maps.min() <= maps.max() < len(CLASS_NAMES):
        wrong = np.argmax(((maps < 0) | (maps >= len(CLASS_NAMES))).any((1, 2)))
        raise ScoreError(f"map {wrong} has a class that is not one of 0 to {len(CLASS_NAMES) - 1}")
    return maps.astype(np.uint8, copy=False), images
