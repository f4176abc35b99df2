"""Rendered faces as a parser reads them, beside their true class maps and attributes."""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.measure.parse import Parsed, Parser, parse
from ohlora_lib.measure.scores import DIFFERENT, FIRST, ORIGINAL_HAIRSTYLE
from ohlora_lib.measure.segments import SIZE
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES
from ohlora_lib.toyworld.face_sets import TEST_SEED, FaceSet, load_faces

TRUE_ATTRIBUTES = {name: name for name in PROPERTIES} | {"hairstyle": "curl"}
"""Property -> the attribute of a rendered face that it should follow."""
TARGETS = dict.fromkeys(PROPERTIES, 0.9) | {"background_std": np.nan, "hairstyle": 0.7}
"""Correlation with the true attribute that a property's score should reach on the toy world."""


@dataclass(frozen=True)
class ParsedTruth:
    """N rendered faces: the parser's output, and the truth in the frame of the parser's crops."""

    images: np.ndarray  # (N, S, S, 3) uint8
    parsed: Parsed
    maps: np.ndarray  # (N, 224, 224) uint8, true classes; all background where no face was found
    attributes: pd.DataFrame  # one row per face


def render_and_parse(count: int, parser: Parser) -> ParsedTruth:
    """`count` held-out rendered faces (no network was trained on them), read by `parser`.

    Every caller gets the same faces; they are rendered once and kept in data/.
    """
    faces = load_faces(FaceSet(TEST_SEED, count))
    images = np.array(faces.images)
    parsed = parse(images, parser)
    attributes = pd.DataFrame(faces.attributes, columns=list(ATTRIBUTE_NAMES))
    return ParsedTruth(images, parsed, crop_maps(faces.maps, parsed), attributes)


def crop_maps(maps: np.ndarray, parsed: Parsed) -> np.ndarray:
    """Class maps of whole images (N, S, S) -> (N, 224, 224), cropped to the parser's boxes."""
    crops = np.zeros((len(maps), SIZE, SIZE), np.uint8)
    for number in np.flatnonzero(parsed.found):
        left, top, right, bottom = parsed.boxes[number].astype(int)
        crop = maps[number, top:bottom, left:right]
        # Resized class by class: interpolated class numbers would be other classes.
        one_hot = (crop[..., None] == np.arange(len(CLASS_NAMES))).astype(np.float32)
        crops[number] = cv2.resize(one_hot, (SIZE, SIZE)).argmax(-1)
    return crops


def truth_correlations(
    computed: pd.DataFrame, exact: pd.DataFrame, attributes: pd.DataFrame
) -> pd.DataFrame:
    """Correlation of scores with the true attribute, one row per property, all inputs N rows.

    `second` and `first` are of the two algorithms on the parser's maps (`computed`), `true maps` of
    the second on the true maps (`exact`): what it would reach if the parser made no error.
    """
    rows = {}
    for name, attribute in (TRUE_ATTRIBUTES | {ORIGINAL_HAIRSTYLE: "curl"}).items():
        truth = attributes[attribute].to_numpy()
        rows[name] = {
            "true attribute": attribute,
            "second": _correlation(computed[name], truth),
            "first": _correlation(computed[FIRST[name]], truth) if name in DIFFERENT else np.nan,
            "true maps": _correlation(exact[name], truth),
            "target": TARGETS.get(name, np.nan),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("property")


def algorithm_agreement(raw: pd.DataFrame) -> pd.DataFrame:
    """Correlation of the first with the second algorithm's scores where they differ."""
    rows = {name: _correlation(raw[name], raw[FIRST[name]].to_numpy()) for name in DIFFERENT}
    return pd.Series(rows, name="first with second").rename_axis("property").to_frame()


def _correlation(scores: pd.Series, others: np.ndarray) -> float:
    """Pearson's r over the rows where both are finite."""
    both = pd.DataFrame({"a": scores.to_numpy(), "b": others}).replace([np.inf, -np.inf], np.nan)
    return float(both["a"].corr(both["b"]))
