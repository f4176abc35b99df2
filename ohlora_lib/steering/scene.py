"""What lies around the face: colors along a picture's border, that steering shall leave alone.

The eight scores say how light and how uneven the background is, not of which color, nor what the
shoulders look like. A regression that is told them, too, can keep the scene still.
"""

import numpy as np

GRID = 16
"""Cells across and down. Half as many each way, and steps change a tenth more of the background."""
BORDER = np.ones((GRID, GRID), bool)
BORDER[4:-2, 4:-4] = False
"""A quarter above and on either side, where aligned faces seldom are, and an eighth below."""
COLORS = 3 * int(BORDER.sum())
"""So many numbers a picture."""


def border_colors(images: np.ndarray) -> np.ndarray:
    """Pictures (N, R, R, 3) uint8, R divisible by 16 -> border cells' colors (N, COLORS) uint8.

    Whole gray levels: the thousands of pictures that a regression sees round to either side.
    """
    count, size = len(images), images.shape[1] // GRID
    cells = images.reshape(count, GRID, size, GRID, size, 3).mean((2, 4), dtype=np.float32)
    return np.round(cells[:, BORDER]).astype(np.uint8).reshape(count, -1)
