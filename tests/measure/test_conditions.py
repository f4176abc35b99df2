"""Conditions from attributes."""

import numpy as np

from ohlora_lib.measure.conditions import conditions_of
from ohlora_lib.models.nvae import CONDITIONS


def test_conditions_of_two_faces():
    attributes = {
        "eyes": [0.2, 0.9],
        "mouth": [0.0, 1.0],
        "hair_color": [0.1, 0.8],  # lightness
        "background_mean": [0.3, 0.6],
        "pose": [1.0, -0.5],  # to its own right, which is the image's left
    }
    found = conditions_of({name: np.array(values) for name, values in attributes.items()})
    np.testing.assert_allclose(found, [[0.2, 0, 0.9, 0.3, 0], [0.9, 1, 0.2, 0.6, 0.75]], atol=1e-6)
    assert CONDITIONS == ("eyes", "mouth", "hair_color", "background", "head")


def test_measured_values_beyond_the_range_are_clipped():
    names = ("eyes", "mouth", "hair_color", "background_mean", "pose")
    found = conditions_of({name: np.array([-2.0, 2.0]) for name in names})
    assert found.min() == 0 and found.max() == 1 and found.dtype == np.float32
