"""Contact sheets: many faces in one picture, with labels above their rows and columns.

A face keeps its own pixels. Where a page's column is too narrow for a row, its other faces follow
below.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ohlora_lib.plots.style import INK

COLUMN = 830
"""The width of a page on GitHub, in CSS pixels."""
FACE = 112
"""CSS pixels that an image has at least. Only one with twice as many pixels gets several in each:
crops of 224 pixels, which are enlarged from smaller images, and images of 256 pixels."""
GAP = 4
LINE = 14
"""Height of a line of text, in CSS pixels."""


def density(width: int) -> int:
    """How many of its pixels an image of this width has in each CSS pixel."""
    return max(1, width // FACE)


def fitting(width: int) -> int:
    """How many images of this width stand side by side on a page."""
    return max(1, (COLUMN * density(width) + GAP) // (width + GAP))


def tile(images: np.ndarray, columns: int, gap: int = GAP) -> np.ndarray:
    """Lay images (N, H, W, 3) uint8 out in rows of `columns` on white: (H', W', 3) uint8."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for at, image in enumerate(images):
        top, left = (at // columns) * (height + gap), (at % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


class Sheet(Figure):
    """A figure that draws an image (H, W, 3) uint8 pixel by pixel, and texts (x, y, text) on it,
    placed in CSS pixels."""

    grid: np.ndarray
    """The images by row and column, (rows, columns, H, W, 3)."""
    rows: tuple[str, ...]
    heads: tuple[str, ...]

    @property
    def face(self) -> int:
        """The width of one image, in pixels."""
        return self.grid.shape[3]

    def __init__(self, image: np.ndarray, density: int, texts: Sequence[tuple[int, int, str]]):
        height, width, _ = image.shape
        dpi = 72 * density  # so that a point, the unit of font sizes, is a CSS pixel
        super().__init__(figsize=(width / dpi, height / dpi), dpi=dpi, layout="none")
        self.density = density  # pixels per CSS pixel
        self.figimage(image, origin="upper")
        for x, y, text in texts:
            at = x * density / width, 1 - y * density / height
            self.text(*at, text, fontsize=LINE - 3.5, color=INK, va="top", parse_math=False)


def labeled_sheet(
    images: np.ndarray,
    columns: int,
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
    foot: int = 0,
) -> Sheet:
    """Images (N, H, W, 3) uint8 in rows of `columns`, with a label above each row and each column,
    and `foot` free CSS pixels below."""
    n, height, width, _ = images.shape
    count, scale = -(-n // columns), density(width)
    blank = np.full((count * columns - n, height, width, 3), 255, np.uint8)
    grid = np.concatenate([images, blank]).reshape(count, columns, height, width, 3)
    strips, texts, top = [], [], 0

    def white(size: int) -> None:
        nonlocal top
        strips.append(np.full((size * scale, strip_width, 3), 255, np.uint8))
        top += size

    blocks = np.array_split(np.arange(columns), -(-columns // fitting(width)))
    strip_width = max(len(block) * (width + GAP) - GAP for block in blocks)
    for number, block in enumerate(blocks):
        above = [heads[at] if at < len(heads) else "" for at in block]
        lines = max(text.count("\n") + 1 if text else 0 for text in above)
        white((LINE * lines + 3 if lines else 0) + (2 * LINE if number else 0))
        for at, text in enumerate(above):
            texts.append((at * (width + GAP) // scale, top - LINE * lines - 1, text))
        for row, faces in enumerate(grid[:, block]):
            if row < len(rows):
                white(LINE + 3)
                texts.append((0, top - LINE - 1, " ".join(rows[row].split())))
            strip = np.full((height + GAP, strip_width, 3), 255, np.uint8)
            made = tile(faces, len(faces))
            strip[:height, : made.shape[1]] = made
            strips.append(strip)
            top += (height + GAP) / scale
    white(foot)
    sheet = Sheet(np.concatenate(strips), scale, [text for text in texts if text[2]])
    sheet.grid, sheet.rows, sheet.heads = grid, tuple(rows), tuple(heads)
    return sheet


def contact_sheet(images: np.ndarray, columns: int) -> Sheet:
    """Images (N, H, W, 3) uint8 in rows of `columns`, or of fewer if a page is too narrow."""
    return labeled_sheet(images, min(columns, fitting(images.shape[2])))
