"""Procedural faces whose every attribute and pixel class is known."""

from ohlora_lib.toyworld.attributes import (
    ATTRIBUTE_NAMES,
    FaceAttributes,
    sample_attributes,
    texture_seed,
)
from ohlora_lib.toyworld.renderer import Rendered, face, render

__all__ = [
    "ATTRIBUTE_NAMES",
    "FaceAttributes",
    "Rendered",
    "face",
    "render",
    "sample_attributes",
    "texture_seed",
]
