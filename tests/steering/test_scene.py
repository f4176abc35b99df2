"""Border colors describe the scene around the face; a ridge that knows them keeps them."""

import numpy as np
import pandas as pd

from ohlora_lib.steering.ridge import fit_ridge
from ohlora_lib.steering.scene import border_colors


def test_border_is_seen_and_the_face_is_not():
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[1, 8:28, 8:24] = 255  # where the face is
    assert not border_colors(images).any()
    images[1, :2, :2] = 200
    assert (border_colors(images)[1] > 0).sum() == 3


def test_a_ridge_with_the_scene_keeps_its_colors():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((2000, 12)).astype(np.float32)
    vectors[:, 3] += vectors[:, 0]  # a color that goes along with open eyes
    scores = pd.DataFrame(vectors[:, :3], columns=["eyes", "mouth", "pose"])
    colors = np.clip(128 + 30 * np.repeat(vectors[:, 3:6], 40, axis=1), 0, 255).astype(np.uint8)
    free, still = (fit_ridge(vectors, scores, scene=known).directions for known in (None, colors))
    moved = [abs(directions.vectors[0, 0, 3]) for directions in (free, still)]
    assert moved[0] > 0.5 and moved[1] < 0.02
    assert np.allclose(still.vectors[0, :, :3], np.eye(3), atol=0.02)
