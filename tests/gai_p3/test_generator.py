"""The NVAE's start, its resumable fine-tuning, and what is read off it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ohlora_lib.checkpoints import WeightsError, save
from ohlora_lib.gai_p3 import generator
from ohlora_lib.models.condition_cnn import ConditionCNN, ConditionCNNConfig
from ohlora_lib.models.nvae import CONDITIONS, NVAE, NVAEConfig
from ohlora_lib.train.nvae import ConditionedFaces, NVAEPlan
from tests.gai_p3.networks import SIDE, TINY, conditions, noisy_faces, trained_nvae

PLAN = NVAEPlan(batch=4, learning_rate=1e-3, beta_warm_up=0.0, power_iterations=1)
FACES = ConditionedFaces(noisy_faces(12), conditions(12), "noise")
UNCONDITIONAL = replace(TINY, conditions=())


def same(one, other) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_condition_is_added_without_changing_what_is_drawn():
    network = NVAE(UNCONDITIONAL, 1).eval()
    conditional = generator.with_conditions(network)
    assert conditional.config.conditions == CONDITIONS
    wanted = network.generate(range(3))
    np.testing.assert_array_equal(conditional.generate(range(3), conditions(3)), wanted)
    with pytest.raises(ValueError, match="has a condition already"):
        generator.with_conditions(conditional)


def test_a_published_checkpoint_of_a_user_is_the_start(tmp_path, monkeypatch):
    """A dict with an argparse.Namespace, as NVAE's training writes it; `network` is its path."""
    from argparse import Namespace

    published = NVAE(replace(UNCONDITIONAL, expansion=6, flows=1), 3).eval()
    monkeypatch.setattr(generator, "inside_root", lambda path: tmp_path / path)
    content = {"epoch": 9, "state_dict": published.state_dict(), "args": Namespace(dataset="own")}
    torch.save(content, tmp_path / "checkpoint.pt")
    found = generator.start_network("checkpoint.pt", "smoke", 0)
    assert found.config.conditions == CONDITIONS and found.config.flows == 1
    np.testing.assert_array_equal(
        found.generate(range(2), conditions(2)), published.generate(range(2))
    )


def test_other_networks_are_refused(tmp_path, monkeypatch):
    save(ConditionCNN(ConditionCNNConfig(width=1 / 16)), tmp_path / "other.safetensors")
    monkeypatch.setattr(generator, "inside_root", lambda path: tmp_path / path)
    with pytest.raises(WeightsError, match="is a ConditionCNN, not an NVAE"):
        generator.start_network("other.safetensors", "smoke", 0)
    with pytest.raises(ValueError, match="images are 32 px, the network draws 64 px"):
        generator.check_resolution(NVAEConfig(), FACES.images, "collection")


def test_an_interrupted_training_resumes_to_the_same_weights_and_log(tmp_path, monkeypatch):
    whole, losses = generator.train(tmp_path / "whole", trained_nvae(), FACES, PLAN, 4)
    assert losses["step"].tolist() == [0, 1, 2, 3] and not same(whole, trained_nvae())
    taken = []
    step = generator._LoggedTraining.step

    def stops(self, number, progress):
        if number == 2 and not taken:
            taken.append(number)
            raise KeyboardInterrupt
        return step(self, number, progress)

    monkeypatch.setattr(generator._LoggedTraining, "step", stops)
    monkeypatch.setattr("ohlora_lib.train.toy.loop.CHECKPOINT_EVERY", 0)
    with pytest.raises(KeyboardInterrupt):
        generator.train(tmp_path / "cut", trained_nvae(), FACES, PLAN, 4)
    resumed, log = generator.train(tmp_path / "cut", trained_nvae(), FACES, PLAN, 4)
    assert taken and same(resumed, whole)
    np.testing.assert_array_equal(log["bits"], losses["bits"])


def test_swap_loss_is_measured_by_the_regressors(tmp_path):
    regressors = ConditionCNN(ConditionCNNConfig(SIDE, width=1 / 16))
    before = {name: value.clone() for name, value in regressors.state_dict().items()}
    plan = replace(PLAN, swap=1.0)
    _, losses = generator.train(tmp_path / "t", trained_nvae(), FACES, plan, 2, 0, regressors)
    assert (losses["swap"] > 0).all()
    assert all(torch.equal(regressors.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("path", generator.PATHS)
def test_a_condition_can_be_kept_out_of_a_path(tmp_path, path):
    """Its weights stay zero; those of the other paths learn."""
    others = [name for name in generator.PATHS if name != path]
    found, _ = generator.train(
        tmp_path / "t", NVAE(TINY, 0), FACES, PLAN, 2, condition_paths=others
    )
    for name, part in generator.PATHS.items():
        weights = [w for key, w in found.named_parameters() if part in key]
        assert weights and all(w.requires_grad for w in weights)
        assert all((w == 0).all() for w in weights) == (name == path)


def test_kl_table_counts_active_channels():
    network = NVAE(TINY)
    kl = np.array([[0.2, 0.05, 0.3], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    table = generator.kl_table(network, kl)
    assert table["active channels"].tolist() == [2, 0, 3]
    assert table["size"].tolist() == ["4²", "8²", "16²"]
    assert table["bits per dimension"].sum() == pytest.approx(
        kl.sum() / (np.log(2) * 3 * SIDE * SIDE)
    )


def test_psnr():
    images = np.full((2, 8, 8, 3), 100, np.uint8)
    others = images + np.array([10, 20], np.uint8)[:, None, None, None]
    np.testing.assert_allclose(generator.psnr(images, others), [28.13, 22.11], atol=0.01)


def test_interpolation_ends_at_the_two_faces():
    network, two = trained_nvae(), conditions(2)
    path = generator.interpolate(network, (4, 9), two, 5)
    ends = network.generate([4, 9], two)
    assert np.abs(path[[0, -1]].astype(int) - ends).max() <= 1
    assert (path[2] != path[0]).any() and (path[2] != path[-1]).any()


def test_rows_change_one_condition_alone(monkeypatch):
    asked = {}

    def made(network, seeds, rows):
        asked["seeds"], asked["rows"] = np.array(seeds), rows
        return np.zeros((len(rows), SIDE, SIDE, 3), np.uint8)

    monkeypatch.setattr(generator, "make_faces", made)
    base = conditions(2)
    images = generator.condition_rows(None, [3, 5], base, [0.1, 0.5, 0.9])
    assert images.shape == (5, 2, 3, SIDE, SIDE, 3)
    rows = asked["rows"].reshape(5, 2, 3, 5)
    for at in range(5):
        np.testing.assert_allclose(rows[at, :, :, at], [[0.1, 0.5, 0.9]] * 2, rtol=1e-6)
        others = np.arange(5) != at
        np.testing.assert_array_equal(rows[at, :, 0][:, others], base[:, others])
    assert asked["seeds"].reshape(5, 2, 3)[:, 0].tolist() == [[3, 3, 3]] * 5
