"""Leakage of true changes: in rendered faces a single attribute can be changed alone.

It is the reference for the leakage of steering. When a head really turns, the slope of the eyes
changes and less of the hair is visible, so not all leakage is a fault of the method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ohlora_lib.faces.concept import fits_concept
from ohlora_lib.faces.properties import EXPRESSION, PROPERTIES
from ohlora_lib.models.pixels import enlarged
from ohlora_lib.steering.meters import IdentityMeter, Meter, StandardizedMeter, score_table
from ohlora_lib.steering.responses import MIDDLE, REQUESTS, responses
from ohlora_lib.steering.sampling import LEAST_SIZE
from ohlora_lib.toyworld import render, sample_attributes, texture_seed
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, FaceAttributes, filter_truth
from ohlora_lib.toyworld.face_sets import TEST_SEED, FaceSet, load_faces

POPULATION = 600
"""Rendered faces whose attributes give the quantiles, and among which the faces are found."""
REFERENCE = 400
"""Rendered faces over which `rendered_responses` standardizes a meter."""
QUANTILES = (0.16, 0.84)
"""One standard deviation below and above the mean."""


def changed_alone(
    names: Sequence[str], faces: int, size: int = LEAST_SIZE
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Attribute -> images (N, R, R, 3) of the same faces with it at its low and high QUANTILES.

    The faces are the first `faces` of the population that fit the concept; all else is the same.
    They are rendered at `size` and enlarged as a generator's images are.
    """
    attributes, values, chosen = _population(faces)
    return {
        name: tuple(
            _rendered(attributes, chosen, {name: float(value)}, size)
            for value in np.quantile(values[:, ATTRIBUTE_NAMES.index(name)], QUANTILES)
        )
        for name in names
    }


def _population(faces: int) -> tuple[list[FaceAttributes], np.ndarray, np.ndarray]:
    """Attributes of the population, the same as an array (N, A), and which faces are used: the
    first ones that fit the concept."""
    attributes = [sample_attributes(TEST_SEED, index) for index in range(POPULATION)]
    values = np.array([list(one.to_dict().values()) for one in attributes], np.float32)
    return attributes, values, np.flatnonzero(fits_concept(filter_truth(values)))[:faces]


def rendered_leakage(meter: Meter, faces: int, size: int = LEAST_SIZE) -> pd.DataFrame:
    """Mean |change| of each score (columns) while eyes, mouth or pose (rows) alone changes, divided
    by the change of the row's own score."""
    known = [name for name in meter.properties if name in PROPERTIES]
    changes = _changes(meter, faces, size)
    rows = {n: change[known].abs().mean() / abs(change[n].mean()) for n, change in changes.items()}
    return pd.DataFrame(rows).T[known]


def true_changes(meter: Meter, faces: int, size: int = LEAST_SIZE) -> pd.DataFrame:
    """Mean change, with its sign, of each of the meter's scores (columns) while eyes, mouth or pose
    (rows) alone changes, divided by the change of the row's own score."""
    changes = _changes(meter, faces, size)
    return pd.DataFrame({n: change.mean() / change[n].mean() for n, change in changes.items()}).T


def _changes(meter: Meter, faces: int, size: int) -> dict[str, pd.DataFrame]:
    """By property, what the change of that attribute alone does to the scores of each face."""
    return {
        name: score_table(meter, meter(high)) - score_table(meter, meter(low))
        for name, (low, high) in changed_alone(EXPRESSION, faces, size).items()
    }


def identity_changes(
    meter: IdentityMeter, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> pd.Series:
    """Mean distance in identity of two images of the same faces, per attribute that changed; 1 is
    the distance of two faces."""
    means = {}
    for name, (low, high) in pairs.items():
        distance = np.linalg.norm(meter(high)[1] - meter(low)[1], axis=1)
        means[name] = float(distance.mean())
    return pd.Series(means)


def _rendered(
    attributes: list, chosen: np.ndarray, values: Mapping[str, float], size: int
) -> np.ndarray:
    """The chosen faces with some attributes at these values, (N, R, R, 3)."""
    changed = ((replace(attributes[index], **values), index) for index in chosen)
    images = [render(one, texture_seed(TEST_SEED, index), size).image for one, index in changed]
    return enlarged(np.stack(images), LEAST_SIZE)


def _requested(faces: int) -> list[tuple[FaceAttributes, int]]:
    """For each of REQUESTS, the first faces that fit the concept as the request wants them."""
    attributes, values, chosen = _population(faces)
    center, spread = values.mean(0), values.std(0)
    places = [ATTRIBUTE_NAMES.index(name) for name in EXPRESSION]
    asked = center[places] + (REQUESTS - np.float32(MIDDLE)) * spread[places]
    low = [-1.0 if name == "pose" else 0.0 for name in EXPRESSION]
    asked = np.clip(asked, low, 1)
    return [
        (replace(attributes[index], **dict(zip(EXPRESSION, map(float, one), strict=True))), index)
        for index in chosen
        for one in asked
    ]


def rendered_responses(meters: Mapping[str, Meter], faces: int, executor=None) -> pd.DataFrame:
    """How the meters read rendered faces whose eyes, mouth and pose truly follow the 50 requests:
    a row per face, the columns of `responses` with each meter's prefix.

    A requested unit is one standard deviation of the attribute, and the unit of the scores one of
    the meter's readings, both over rendered faces.
    """
    asked = _requested(faces)
    images = np.stack(list((executor.map if executor else map)(_image, asked)))
    population = np.array(load_faces(FaceSet(TEST_SEED, REFERENCE)).images)
    columns = {}
    for name, meter in meters.items():
        unit = StandardizedMeter.fit(meter, meter(population).scores)
        scores = unit(images).scores.reshape(-1, len(REQUESTS), len(meter.properties))
        found = responses(scores, meter.properties)
        columns |= {f"{name}_{column}": values for column, values in found.items()}
    return pd.DataFrame(columns)


def _image(face: tuple[FaceAttributes, int]) -> np.ndarray:
    attributes, index = face
    return render(attributes, texture_seed(TEST_SEED, index)).image
