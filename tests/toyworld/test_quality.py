"""What the quality filter starts from, and the rendered faces that are labelled with others."""

import numpy as np
import pytest

from ohlora_lib.models.filter_cnn import FilterCNNConfig
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES
from ohlora_lib.toyworld.train import faces as training_faces
from ohlora_lib.toyworld.train.annotator import truth
from ohlora_lib.toyworld.train.faces import Faces, FaceSet
from ohlora_lib.toyworld.train.quality import QualityPlan, QualityTraining, evaluate

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


@pytest.fixture
def rare(monkeypatch):
    """(12, A) attributes of a rare set's faces; nothing is drawn."""
    monkeypatch.setattr(training_faces, "render", lambda face, texture, size: face)
    wanted = FaceSet(5, 12, rare=True)
    drawn = [training_faces._render_one(wanted, index) for index in range(12)]
    return np.array([list(face.to_dict().values()) for face in drawn], np.float32)


def test_rare_set_has_old_people_glasses_and_defects_in_turn(rare):
    _, _, old, glass = truth(rare).T
    assert old[2::4].all() and glass[3::4].all()
    assert (rare[1::4, ATTRIBUTE_NAMES.index("quality")] < training_faces.DEFECTS_BELOW).all()
    assert len(np.unique(rare[:, 0])) == 12, "all are different people"
