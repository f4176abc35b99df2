"""One HTML file in which anybody can play with faces: no installation, no network.

For each face the file has a sheet of images over all combinations of the levels of eyes, mouth and
pose. The page (play_page.html) blends the images around the requested numbers.
"""

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.store.atomic import write_text

LEVELS = {
    "eyes": (-4.2, -2.1, 0.0, 1.2),
    "mouth": (-1.5, 0.0, 1.0, 2.0, 3.0),
    "pose": (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0),
}
"""From closed eyes to wide ones, from a closed mouth to an open one, as far as a face turns without
damage. Beyond the tested ranges of `OhLora.image`, without which she could not blink or talk."""
MAX_SIZE = 256
"""Pixels per side; larger images are reduced, or the browser could not hold a sheet."""
PAD = 8
"""Pixels around each image of a sheet, so that WebP does not mix it with its neighbors."""
SHEET_BYTES, PAGE_BYTES = 3_000_000, 10_000_000
"""The most that a face's sheet and the whole page may have."""
QUALITIES = (90, 80, 70, 60, 50)
"""Of WebP; the first with which sheets and page are small enough is used."""
TEMPLATE = Path(__file__).with_suffix(".html")
BASE64 = 4 / 3  # characters per byte


def level_requests(levels: Mapping[str, Sequence[float]]) -> np.ndarray:
    """All combinations of the levels of eyes, mouth and pose, pose varying fastest, (N, 3)."""
    for name in EXPRESSION:
        values = np.asarray(levels.get(name, ()), float)
        steps = np.diff(values)
        if len(values) < 2 or not np.isfinite(values).all() or (steps <= 0).any():
            raise VectorError(f"levels of {name!r} are {list(values)}: need two or more, rising")
        if not values[0] <= 0 <= values[-1]:
            raise VectorError(f"levels of {name!r} are {list(values)}: 0 must be within them")
    return np.array(list(product(*(levels[name] for name in EXPRESSION))), np.float32)


def write_page(
    path: str | Path,
    draw: Callable[[np.ndarray, int], np.ndarray],
    faces: Sequence[int],
    levels: Mapping[str, Sequence[float]] = LEVELS,
) -> tuple[int, list[int]]:
    """Write the page with these faces, atomically; returns the WebP quality and the bytes of each
    face's sheet.

    `draw(requests, face)` returns the images (N, R, R, 3) uint8 of one face at requests (N, 3).
    """
    requests = level_requests(levels)
    if not len(faces):
        raise VectorError("faces is empty: name at least one face")
    sheets, thumbs = [], []
    for face in faces:
        images = np.stack([_reduced(image) for image in draw(requests, face)])
        sheets.append(_sheet(images, len(levels["pose"])))
        neutral = np.abs(requests).sum(axis=1).argmin()
        thumbs.append(webp(images[neutral], QUALITIES[0]))
    quality, encoded = _small_enough(sheets)
    data = {
        "size": images.shape[1],
        "pad": PAD,
        "images": len(requests),
        "levels": {name: list(map(float, levels[name])) for name in EXPRESSION},
        "faces": [
            {"number": int(face), "thumb": _data_url(thumb), "sheet": _data_url(sheet)}
            for face, thumb, sheet in zip(faces, thumbs, encoded, strict=True)
        ],
    }
    write_text(path, TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", json.dumps(data)))
    return quality, [len(sheet) for sheet in encoded]


def _reduced(image: np.ndarray) -> np.ndarray:
    if len(image) <= MAX_SIZE:
        return image
    return np.asarray(Image.fromarray(image).resize((MAX_SIZE,) * 2, Image.Resampling.LANCZOS))


def _sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (N, R, R, 3), padded, `columns` in a row."""
    padded = np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)), mode="edge")
    count, height, width, _ = padded.shape
    rows = padded.reshape(count // columns, columns, height, width, 3).swapaxes(1, 2)
    return rows.reshape(-1, columns * width, 3)


def _small_enough(sheets: Sequence[np.ndarray]) -> tuple[int, list[bytes]]:
    """All sheets at the best quality with which each sheet and the page are small enough."""
    most = PAGE_BYTES * 0.98 / BASE64  # the rest for the thumbnails and the page itself
    for quality in QUALITIES:
        encoded = [webp(sheet, quality) for sheet in sheets]
        sizes = list(map(len, encoded))
        if max(sizes) <= SHEET_BYTES and sum(sizes) <= most:
            return quality, encoded
    raise VectorError(
        f"{len(sheets)} faces take {sum(sizes) / 1e6:.1f} MB, the largest {max(sizes) / 1e6:.1f}, "
        f"more than {most / 1e6:.1f} and {SHEET_BYTES / 1e6:.0f}: give fewer faces or levels"
    )


def webp(image: np.ndarray, quality: int) -> bytes:
    """An image (H, W, 3) uint8 as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _data_url(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


def varied_faces(images: np.ndarray, candidates: Sequence[int], count: int) -> list[int]:
    """`count` of the candidates that look different, best first: the first candidate, then always
    the one whose neutral image (of images (K, R, R, 3)) differs most from all chosen so far."""
    small = np.stack([np.asarray(Image.fromarray(image).reduce(8), float) for image in images])
    chosen = [candidates[0]]
    while len(chosen) < min(count, len(candidates)):
        difference = np.abs(small[candidates][:, None] - small[chosen]).mean(axis=(2, 3, 4))
        chosen.append(candidates[int(difference.min(axis=1).argmax())])
    return chosen
