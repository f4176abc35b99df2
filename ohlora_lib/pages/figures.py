"""Figures and RGB arrays as PNG files of limited size, the same bytes for the same picture."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ohlora_lib.plots.style import DPI

LIMIT = 300_000  # bytes; a page of ten figures still opens at once
PALETTE_PIXELS = 20_000


def png(picture: Figure | np.ndarray) -> tuple[bytes, int]:
    """Encode a figure or an RGB array as PNG of at most LIMIT bytes; also the width to show it at.

    The same picture gives the same bytes: no date and no version goes in.
    """
    if isinstance(picture, Figure):
        image = _drawn(picture)
        shown = image.width * 72 // DPI
    else:
        image = Image.fromarray(picture)
        shown = min(image.width, 860)
    return _fit(image), shown


def _drawn(figure: Figure) -> Image.Image:
    """The figure's pixels. `savefig` would draw it twice and encode a PNG to be decoded here."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    if layout := figure.get_layout_engine():
        layout.execute(figure)  # drawing repeats it: once leaves long labels cut
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _encode(image: Image.Image, level: int = 6) -> bytes:
    """As PNG. Level 9 takes four times as long as 6 and saves 3 %."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def _palette(image: Image.Image) -> Image.Image:
    """White and 255 colors fitted to the picture."""
    # A subset of the pixels gives the same colors in a fraction of the time.
    step = max(1, round((image.width * image.height / PALETTE_PIXELS) ** 0.5))
    size = -(-image.width // step), -(-image.height // step)
    few = image.resize(size, Image.Resampling.NEAREST)
    colors = few.quantize(255, kmeans=3).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([255, 255, 255, *colors[: 3 * 255]])
    return palette


def _reduced(image: Image.Image, palette: Image.Image, dither: Image.Dither) -> Image.Image:
    """In the palette's colors; white pixels stay white, like the page."""
    reduced = image.quantize(palette=palette, dither=dither)
    reduced.paste(0, mask=Image.fromarray(np.asarray(image).min(2) == 255))
    return reduced


def _fit(image: Image.Image) -> bytes:
    """True color if that is small enough; else 256 colors, fewer pixels, dithered if possible."""
    if len(_encode(image, level=3)) <= 1.1 * LIMIT and len(content := _encode(image)) <= LIMIT:
        return content
    palette = _palette(image)
    while len(content := _encode(_reduced(image, palette, Image.Dither.NONE))) > LIMIT:
        scale = max(0.5, 0.92 * (LIMIT / len(content)) ** 0.5)
        size = round(image.width * scale), round(image.height * scale)
        image = image.resize(size, Image.Resampling.LANCZOS)
    dithered = _encode(_reduced(image, palette, Image.Dither.FLOYDSTEINBERG))
    return dithered if len(dithered) <= LIMIT else content
