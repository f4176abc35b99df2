"""The condition values of GAI-P3 from the attributes of the toy world."""

from collections.abc import Mapping

import numpy as np

from ohlora_lib.models.nvae import CONDITIONS

FROM_ATTRIBUTES = {
    "eyes": ("eyes", 1.0, 0.0),  # open
    "mouth": ("mouth", 1.0, 0.0),  # open
    "hair_color": ("hair_color", -1.0, 1.0),  # dark
    "background": ("background_mean", 1.0, 0.0),  # bright
    "head": ("pose", -0.5, 0.5),  # turned to the image's right
}
"""Condition -> an attribute, its factor, and what is added; 1 means what the comment says."""


def conditions_of(attributes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Attributes by name, (N,) each, true or measured -> conditions (N, 5) within 0..1."""
    columns = [FROM_ATTRIBUTES[name] for name in CONDITIONS]
    values = [np.asarray(attributes[name]) * factor + add for name, factor, add in columns]
    return np.clip(np.stack(values, axis=1), 0, 1).astype(np.float32)
