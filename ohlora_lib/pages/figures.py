"""Figures and RGB arrays as WebP files of limited size, the same bytes for the same picture.

Faces keep their pixels and colors: they are compressed with loss, charts without. On charts
lossless WebP takes half of PNG's bytes.
"""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ohlora_lib.plots.sheets import COLUMN, Sheet
from ohlora_lib.plots.style import DPI

LIMIT = 400_000  # bytes; a page of ten figures still opens at once
QUALITIES = (95, 90, 80, 65, 50, 30, 10, 0)
"""The first that is small enough. At 95 a face is off by 2 gray levels, with 256 colors by 4."""


def webp(picture: Figure | np.ndarray) -> tuple[bytes, int]:
    """Encode a figure or an RGB array of faces; also the width to show it at, in CSS pixels."""
    if not isinstance(picture, Figure):
        image = Image.fromarray(picture)
        return _compressed(image), min(image.width, COLUMN)
    if isinstance(picture, Sheet):
        image = _drawn(picture, picture.dpi)
        return _compressed(image), image.width // picture.density
    image = _drawn(picture, DPI)
    content = _encode(image, lossless=True, method=2, quality=50)  # more effort saves nothing
    if len(content) > LIMIT:
        content = _compressed(image)
    return content, min(image.width * 72 // DPI, COLUMN)


def _drawn(figure: Figure, dpi: float) -> Image.Image:
    """The figure's pixels. `savefig` would draw it twice and encode a PNG to be decoded here."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    if layout := figure.get_layout_engine():
        layout.execute(figure)  # drawing repeats it: once leaves long labels cut
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _compressed(image: Image.Image) -> bytes:
    for quality in QUALITIES:
        if len(content := _encode(image, quality=quality)) <= LIMIT:
            break
    return content


def _encode(image: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()
