"""What lies around a face is told by its colours there, and held by a regression on them."""

import numpy as np
import pandas as pd

from ohlora_lib.vectors.ridge import RidgeConfig, ridge
from ohlora_lib.vectors.scene import border_colours, scene_scores


def test_border_is_seen_and_the_face_is_not():
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[1, 8:28, 8:24] = 255  # where the face is
    assert not border_colours(images).any()
    images[1, :4, :4] = 200
    assert (border_colours(images)[1] > 0).sum() == 3


def test_components_are_uncorrelated_and_of_deviation_one():
    colours = np.random.default_rng(0).random((500, 120), np.float32)
    held = scene_scores(colours, 5)
    assert np.allclose(np.cov(held.T, bias=True), np.eye(5), atol=1e-3)


def test_a_step_that_holds_the_scene_leaves_its_colours_alone():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((2000, 12)).astype(np.float32)
    vectors[:, 3] += vectors[:, 0]  # a colour that goes along with open eyes
    scores = pd.DataFrame(vectors[:, :3], columns=["eyes", "mouth", "pose"])
    colours = np.repeat(vectors[:, 3:6], 40, axis=1)
    both = scores.join(scene_scores(colours))
    loose = ridge(vectors, scores, None, RidgeConfig(held=tuple(scores)))
    still = ridge(vectors, both, None, RidgeConfig(held=tuple(both)))
    moved = [abs(found.directions.vectors[0, 0, 3]) for found in (loose, still)]
    assert moved[0] > 0.5 and moved[1] < 0.02
