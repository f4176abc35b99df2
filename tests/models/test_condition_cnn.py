"""The regressors of conditions: shapes, crops, and weights that survive a file."""

import numpy as np
import torch

from ohlora_lib.checkpoints import load, save
from ohlora_lib.models.condition_cnn import ConditionCNN, ConditionCNNConfig
from ohlora_lib.models.nvae import CONDITIONS

SMALL = ConditionCNNConfig(width=1 / 16)


def faces(count, side=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def test_values_are_within_0_and_1_and_mode_is_kept():
    network = ConditionCNN(SMALL).train()
    values = network.measure(faces(5))
    assert values.shape == (5, len(CONDITIONS)) and network.training
    assert ((values >= 0) & (values <= 1)).all()
    np.testing.assert_allclose(values[3:], network.measure(faces(5)[3:]), atol=1e-5)


def test_other_sizes_are_resized():
    large = faces(2).repeat(2, 1).repeat(2, 2)
    network = ConditionCNN(SMALL)
    np.testing.assert_allclose(network.measure(large), network.measure(faces(2)), atol=0.05)


def test_eyes_depend_on_their_band_alone():
    network, one = ConditionCNN(SMALL).eval(), torch.zeros(1, 3, 64, 64)
    other = one.clone()
    other[:, :, 40:] = 1  # below the eyes
    change = (network(other) - network(one))[0].detach()
    assert change[CONDITIONS.index("eyes")] == 0 and change[CONDITIONS.index("mouth")] != 0


def test_a_file_gives_the_same_network(tmp_path):
    network = ConditionCNN(SMALL)
    network.sharpness.fill_(3.0)
    save(network, tmp_path / "regressors.safetensors")
    again = load(tmp_path / "regressors.safetensors")
    assert again.config == SMALL and (again.sharpness == 3).all()
    np.testing.assert_allclose(again.measure(faces(3)), network.measure(faces(3)), atol=1e-5)
