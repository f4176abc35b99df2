"""The colors along an image's border, which steering should not change.

The eight scores describe how light and how uneven the background is, but not its color or the
shoulders. A regression that controls these colors too keeps the scene still.
"""

import numpy as np

GRID = 16
"""Cells across and down. With 8 x 8 cells, steps change the background by a tenth more."""
BORDER = np.ones((GRID, GRID), bool)
BORDER[4:-2, 4:-4] = False
"""A quarter of the image above and on each side, where faces rarely are, and an eighth below."""
COLORS = 3 * int(BORDER.sum())
"""Numbers per image."""


def border_colors(images: np.ndarray) -> np.ndarray:
    """Images (N, R, R, 3) uint8, R divisible by 16 -> border cells' mean colors (N, COLORS) uint8.

    Rounded to whole gray levels: over thousands of images the rounding errors cancel.
    """
    count, size = len(images), images.shape[1] // GRID
    cells = images.reshape(count, GRID, size, GRID, size, 3).mean((2, 4), dtype=np.float32)
    return np.round(cells[:, BORDER]).astype(np.uint8).reshape(count, -1)
