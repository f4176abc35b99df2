"""What the quality filter starts from learns what a poor picture is, the same way each time."""

import numpy as np

from ohlora_lib.models.filter_cnn import FilterCNNConfig
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES
from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.toy.quality import QualityPlan, QualityTraining, evaluate

SMALL = FilterCNNConfig(resolution=32, width=1 / 16, padding=1, filter="quality", tower_of="gender")


def pictures(count, seed):
    """Flat faces; the poorer, the stronger the noise on them."""
    rng = np.random.default_rng(seed)
    quality = rng.random(count).astype(np.float32)
    noise = rng.normal(0, 60, (count, 32, 32, 3)) * (1 - quality[:, None, None, None])
    images = np.clip(128 + noise, 0, 255).astype(np.uint8)
    attributes = np.zeros((count, len(ATTRIBUTE_NAMES)), np.float32)
    attributes[:, ATTRIBUTE_NAMES.index("quality")] = quality
    return Faces(images, np.zeros((count, 32, 32), np.uint8), attributes)


def test_it_learns_to_tell_poor_pictures_from_good_ones():
    plan = QualityPlan(batch=16, learning_rate=5e-3)
    training = QualityTraining(pictures(200, 0), pictures(80, 1), "cpu", plan=plan, config=SMALL)
    for step in range(60):
        training.step(step, 0.3)
    assert evaluate(training.network.eval(), pictures(100, 2))["AUROC quality"] > 0.85


def test_same_step_of_a_seed_is_the_same_update():
    def loss():
        training = QualityTraining(pictures(40, 0), pictures(20, 1), "cpu", 3, config=SMALL)
        training.step(0, 0.1)
        return training.step(1, 0.2)

    assert loss() == loss()
