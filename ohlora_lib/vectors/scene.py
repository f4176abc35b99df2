"""What lies around the face: colours along a picture's border, that steering shall leave alone.

The eight scores say how light and how uneven the background is, not of which colour, nor what the
shoulders look like. A regression that holds them too keeps the scene still.
"""

import numpy as np
import pandas as pd

GRID = 8
"""Cells across and down."""
BORDER = np.ones((GRID, GRID), bool)
BORDER[2:-1, 2:-2] = False
"""Two cells above and on either side, where aligned faces seldom are, and one below."""
WAYS = 20
"""Principal components to hold: 99 % of the border's variance on the toy world."""


def border_colours(images: np.ndarray) -> np.ndarray:
    """Pictures (N, R, R, 3), R divisible by 8 -> the border cells' mean colours (N, 120)."""
    count, size = len(images), images.shape[1] // GRID
    cells = images.reshape(count, GRID, size, GRID, size, 3).mean((2, 4), dtype=np.float32)
    return cells[:, BORDER].reshape(count, -1)


def scene_scores(colours: np.ndarray, ways: int = WAYS) -> pd.DataFrame:
    """Border colours (N, 120) -> their first principal components, each with deviation 1."""
    centred = colours - colours.mean(axis=0)
    variances, basis = np.linalg.eigh(centred.T @ centred / len(centred))
    used = np.flatnonzero(variances > 1e-6 * variances[-1])[::-1][:ways]
    components = centred @ basis[:, used] / np.sqrt(variances[used])
    return pd.DataFrame(components, columns=[f"scene_{place}" for place in range(len(used))])
