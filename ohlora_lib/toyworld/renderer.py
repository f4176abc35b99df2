"""From attributes to an image and its class map.

Classes follow LaPa: only the face is skin; neck and clothes are background. Ears and beards are
skin. Glasses do not change the map; hair covers what lies behind it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.toyworld.attributes import FaceAttributes, sample_attributes, texture_seed
from ohlora_lib.toyworld.background import paint_background, paint_clothes
from ohlora_lib.toyworld.canvas import Canvas, mix, unit_rgb
from ohlora_lib.toyworld.defects import apply_defects
from ohlora_lib.toyworld.eyes import paint_brows, paint_eyes
from ohlora_lib.toyworld.face import (
    paint_age,
    paint_beard,
    paint_ears,
    paint_face,
    paint_neck,
    paint_nose,
)
from ohlora_lib.toyworld.glasses import paint_glasses
from ohlora_lib.toyworld.hair import Hair
from ohlora_lib.toyworld.head import build_head, face_outline, head_roll
from ohlora_lib.toyworld.mouth import paint_mouth

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Rendered:
    """A face: image (size, size, 3) uint8 RGB, parse_map (size, size) uint8, and its truth."""

    image: np.ndarray
    parse_map: np.ndarray
    attributes: FaceAttributes


def render(attributes, seed=0, size=128, hair_seed=None):
    """Draw a face. `seed` sets its textures only (strands, irises, bokeh); size is 64 to 512.

    `hair_seed` sets the textures of the hair instead, if given.
    """
    if not 64 <= size <= 512:
        raise ValueError(f"size {size}: a face is drawn at 64 to 512 pixels")
    canvas = Canvas.blank(size * SUPERSAMPLING, head_roll(attributes))
    _draw(canvas, attributes, seed, seed if hair_seed is None else hair_seed)
    return Rendered(_image(canvas, attributes, size), _parse_map(canvas, size), attributes)


def face(seed, index, size=128):
    """Face `index` of a seed: the same attributes and the same image on any machine."""
    return render(sample_attributes(seed, index), texture_seed(seed, index), size)


def _draw(canvas, a, seed, hair_seed):
    """All layers, back to front."""
    head = build_head(a)
    hair = Hair(canvas, head, a, hair_seed)
    paint_background(canvas, a, seed)
    hair.paint_back()
    face_mask = canvas.polygon(face_outline(head, a))
    neck = paint_neck(canvas, head, a, face_mask)
    paint_ears(canvas, head, a)
    paint_face(canvas, head, a, seed, face_mask)
    paint_clothes(canvas, head, a, seed)
    paint_nose(canvas, head, a)
    paint_age(canvas, head, a)
    paint_beard(canvas, head, a, hair.base, seed)
    paint_eyes(canvas, head, a, seed)
    paint_brows(canvas, head, a, hair.base)
    paint_mouth(canvas, head, a)
    paint_glasses(canvas, head, a, seed)
    hair.shade_face(np.maximum(face_mask, neck))
    hair.paint_front()
    apply_defects(canvas, a, seed)


def _image(canvas, a, size):
    """Apply the light's color, reduce to `size` and convert to uint8."""
    planes = [cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in canvas.color]
    small = np.stack(planes)
    small = small * mix(unit_rgb(0.98, 1.0, 1.03), unit_rgb(1.02, 1.0, 0.96), a.light_warmth)
    return np.round(np.clip(small, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy()


def _parse_map(canvas, size):
    """Each pixel's most frequent class (the lowest id on a tie)."""
    share = [
        cv2.resize(
            (canvas.classes == i).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA
        )
        for i in range(len(CLASS_NAMES))
    ]
    return np.argmax(np.stack(share), 0).astype(np.uint8)
