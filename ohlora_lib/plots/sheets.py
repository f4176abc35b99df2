"""Contact sheets: many faces in one image, with labels of their rows and columns."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from PIL import Image

from ohlora_lib.plots.style import INK


def contact_sheet(images: np.ndarray, columns: int, gap: int = 4) -> np.ndarray:
    """Lay images (N, H, W, 3) uint8 out in rows of `columns` on white: (H', W', 3) uint8."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for at, image in enumerate(images):
        top, left = (at // columns) * (height + gap), (at % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


class Pasted(Artist):
    """An image (H, W, 3) uint8 that fills its axes, resized to the pixels of the rendered figure.

    Pillow resizes it: matplotlib's `imshow` takes seven times as long.
    """

    def __init__(self, image: np.ndarray):
        super().__init__()
        self.image = Image.fromarray(image)
        self.set_in_layout(False)  # the axes have a size without it

    def draw(self, renderer: RendererBase) -> None:
        left, bottom, right, top = (round(edge) for edge in self.axes.bbox.extents)
        size = right - left, top - bottom
        image = self.image.resize(size, Image.Resampling.LANCZOS).convert("RGBA")
        renderer.draw_image(renderer.new_gc(), left, bottom, np.asarray(image)[::-1])


def paste(axes: Axes, image: np.ndarray) -> None:
    """Fill the axes with an image (H, W, 3) uint8, whose pixels are the axes' units."""
    height, width, _ = image.shape
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.add_artist(Pasted(image))


def labeled_sheet(
    images: np.ndarray, columns: int, rows: Sequence[str] = (), heads: Sequence[str] = ()
) -> Figure:
    """A contact sheet of images (N, H, W, 3) with a label before each row and above each column."""
    sheet, (_, height, width, _) = contact_sheet(images, columns), images.shape
    size = min(0.95, 8.2 / columns)  # inches a face
    longest = max((len(line) for row in rows for line in row.split("\n")), default=0)
    figure, axes = pyplot.subplots(
        figsize=(columns * size + 0.1 * longest, len(images) // columns * size * 1.03 + 0.25)
    )
    paste(axes, sheet)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    axes.xaxis.tick_top()
    axes.set_xticks([at * (width + 4) + width / 2 for at in range(len(heads))], heads)
    axes.set_yticks([at * (height + 4) + height / 2 for at in range(len(rows))], rows)
    return figure
