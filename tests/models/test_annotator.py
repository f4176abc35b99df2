"""The annotator's network: units, calibration and identity of what it says."""

import numpy as np
import pytest
import torch

from ohlora_lib import checkpoints
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.models.annotator import Annotator, AnnotatorConfig

SMALL = AnnotatorConfig(
    ("eyes", "mouth"), widths=(4, 6, 8), close_widths=(4, 6), features=5, resolution=32
)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (7, 48, 48, 3), dtype=np.uint8)


def test_values_come_in_the_attributes_own_unit(pictures):
    network = Annotator(SMALL)
    plain = network.annotate(pictures)
    network.mean.copy_(torch.tensor([10.0, 0.0]))
    network.std.copy_(torch.tensor([3.0, 1.0]))
    moved = network.annotate(pictures)
    assert np.allclose(moved.attributes["eyes"], 10 + 3 * plain.attributes["eyes"], atol=1e-5)
    assert np.array_equal(moved.attributes["mouth"], plain.attributes["mouth"])


def test_calibration_moves_probabilities_and_keeps_their_order(pictures):
    network = Annotator(SMALL)
    network.decide.weight.data *= 30
    sharp = network.annotate(pictures).probabilities["age"]
    network.slope.fill_(0.2)
    soft = network.annotate(pictures).probabilities["age"]
    assert np.array_equal(np.argsort(sharp), np.argsort(soft))
    assert (np.abs(soft - 0.5) < np.abs(sharp - 0.5)).all()
    network.offset.fill_(-1)
    assert (network.annotate(pictures).probabilities["age"] < soft).all()


def test_what_is_said_of_a_face_does_not_depend_on_the_batch(pictures):
    network = Annotator(SMALL).train()
    together, alone = network.annotate(pictures), network.annotate(pictures, batch=2)
    assert np.allclose(together.features, alone.features, atol=1e-6)
    assert together.features.shape == (7, SMALL.features)
    assert set(together.probabilities) == set(FILTER_PROPERTIES)


def test_file_gives_back_what_it_says_calibration_included(tmp_path, pictures):
    network = Annotator(SMALL, seed=3)
    network.error.copy_(torch.tensor([0.25, 0.5]))
    network.slope.fill_(2)
    checkpoints.save(network, tmp_path / "annotator.safetensors")
    again = checkpoints.load(tmp_path / "annotator.safetensors")
    assert np.array_equal(again.annotate(pictures).features, network.annotate(pictures).features)
    assert (
        again.error.tolist() == [0.25, 0.5]
        and again.slope.tolist() == [2] * 4
        and again.config == SMALL
    )
