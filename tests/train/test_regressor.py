"""The property CNN learns what it is shown, keeps its best epoch, and survives being killed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.compute.workers import processes
from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.models.property_cnn import PropertyCNNConfig
from ohlora_lib.train import regressor
from ohlora_lib.train.regressor import RegressorPlan, error, predict, train_property_cnn

TINY = RegressorPlan(
    PropertyCNNConfig(resolution=32, width=1 / 8, padding=1, dense_dropout=0.1, crop_pixels=128),
    epochs=8,
    learning_rate=5e-3,
    mirror=True,
)


def faces(number, seed=0):
    """Pictures (N, 32, 32, 3) that are lighter above or below, left or right, and these slopes."""
    rng = np.random.default_rng(seed)
    light, across, down = rng.normal(0, [[1], [1], [1]], (3, number))
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    plain = 128 + 25 * (light[:, None, None] + across[:, None, None] * x + down[:, None, None] * y)
    noisy = plain[..., None] + rng.normal(0, 3, (number, 32, 32, 3))
    scores = pd.DataFrame(dict.fromkeys(PROPERTIES, light))
    scores["pose"], scores["hairstyle"] = across, down
    return np.clip(noisy, 0, 255).astype(np.uint8), scores


@pytest.fixture
def shown(tmp_path):
    images, scores = faces(160)
    np.save(tmp_path / "images.npy", images)
    return tmp_path / "images.npy", scores


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    images, scores = faces(400)
    np.save(folder / "images.npy", images)
    return train_property_cnn(folder / "images.npy", scores, folder / "branches", TINY)


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_reads_off_new_pictures_what_it_was_shown(trained):
    images, scores = faces(100, seed=1)
    said = predict(trained.network, images)
    for name in ("hair_color", "background_mean", "pose"):
        assert said[name].corr(scores[name]) > 0.9, name
    assert list(said) == list(PROPERTIES) and not trained.network.training


def test_every_branch_keeps_the_epoch_that_was_best_on_pictures_apart(trained):
    kept = trained.curves[trained.curves.kept].set_index("branch")
    assert sorted(kept.index) == sorted(
        name.removesuffix("_score_cnn") for name in regressor.BRANCHES
    )
    best = trained.curves.groupby("branch").validation.min()
    assert (kept.validation == best[kept.index]).all()
    assert len(trained.curves) == TINY.epochs * len(kept)


def test_best_epoch_is_what_is_returned_when_later_ones_are_worse(shown, tmp_path, monkeypatch):
    """With losses that a test dictates, the weights are those of the second epoch."""
    images, scores = shown
    losses = iter([3.0, 1.0, 2.0, 5.0])
    monkeypatch.setattr(regressor._BranchTraining, "_validation_loss", lambda _: next(losses))
    monkeypatch.setattr(regressor, "BRANCHES", {"mouth_score_cnn": ("mouth",)})
    long = train_property_cnn(images, scores, tmp_path / "a", replace(TINY, epochs=4, decay=1.0))
    monkeypatch.setattr(regressor._BranchTraining, "_validation_loss", lambda _: 0.0)
    short = train_property_cnn(images, scores, tmp_path / "b", replace(TINY, epochs=1, decay=1.0))
    losses = iter([3.0, 1.0])
    monkeypatch.setattr(regressor._BranchTraining, "_validation_loss", lambda _: next(losses))
    two = train_property_cnn(images, scores, tmp_path / "c", replace(TINY, epochs=2, decay=1.0))
    mouth = [each.network.mouth_score_cnn for each in (long, two, short)]
    assert same(mouth[0], mouth[1]) and not same(mouth[0], mouth[2])
    assert long.curves.epoch[long.curves.kept].tolist() == [1]


def test_same_seed_same_network_here_or_in_other_processes(shown, tmp_path):
    images, scores = shown
    plan = replace(TINY, epochs=1)
    here = train_property_cnn(images, scores, tmp_path / "a", plan, seed=3)
    with processes(2) as pool:
        there = train_property_cnn(images, scores, tmp_path / "b", plan, seed=3, executor=pool)
    other = train_property_cnn(images, scores, tmp_path / "c", plan, seed=4)
    assert same(here.network, there.network) and not same(here.network, other.network)


def test_killed_training_goes_on_as_if_nothing_had_happened(shown, tmp_path, monkeypatch):
    images, scores = shown
    monkeypatch.setattr(regressor, "CHECKPOINT_EVERY", 1)
    plan = replace(TINY, epochs=3)
    whole = train_property_cnn(images, scores, tmp_path / "whole", plan)
    epoch, begun = regressor._BranchTraining._epoch, []

    def killed(training):
        begun.append(training.task.branch)
        if len(begun) == 6:  # in the third epoch of the second branch
            raise KeyboardInterrupt
        return epoch(training)

    monkeypatch.setattr(regressor._BranchTraining, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_property_cnn(images, scores, tmp_path / "killed", plan)
    resumed = train_property_cnn(images, scores, tmp_path / "killed", plan)
    assert same(whole.network, resumed.network) and resumed.curves.equals(whole.curves)
    assert begun.count("hairstyle_score_cnn") == 3, "a finished branch is not trained again"
    assert begun.count("hair_length_score_cnn") == 4, "three epochs and the one that was cut off"


def test_a_face_without_a_score_teaches_nothing(shown, tmp_path):
    images, scores = shown
    scores.loc[:40, "pose"] = np.nan
    garbled = np.load(images)
    garbled[:41] = 255 - garbled[:41]
    np.save(tmp_path / "garbled.npy", garbled)
    plan = replace(TINY, epochs=1)
    one = train_property_cnn(images, scores, tmp_path / "a", plan)
    other = train_property_cnn(tmp_path / "garbled.npy", scores, tmp_path / "b", plan)
    assert same(one.network.pose_score_cnn, other.network.pose_score_cnn)
    assert not same(one.network.eyes_score_cnn, other.network.eyes_score_cnn)


def test_error_is_over_what_is_known():
    wanted = torch.tensor([[1.0, float("nan")], [float("nan"), 4.0]])
    assert error(torch.tensor([[2.0, 9.0], [9.0, 1.0]]), wanted) == 5


def test_outlying_error_counts_in_proportion_and_not_as_its_square():
    wanted = torch.zeros(3, 1)
    near, far, further = (error(torch.full((3, 1), x), wanted, outlying=1.0) for x in (0.5, 3, 4))
    assert near == 0.25 and far == 5 and further - far == 2  # the parabola's slope at 1, on and on


def test_heads_turned_one_way_teach_the_other_way_by_mirroring(tmp_path, monkeypatch):
    """Where a head looks straight ahead the score may be anything: here it is 2."""
    monkeypatch.setattr(regressor, "BRANCHES", {"pose_score_cnn": ("pose",)})
    images, scores = faces(600)
    turned = scores.pose > 0
    np.save(tmp_path / "images.npy", images[turned])
    shown = scores[turned] + 2
    plan = replace(TINY, network=replace(TINY.network, width=1 / 2), learning_rate=3e-3)
    network = train_property_cnn(
        tmp_path / "images.npy", shown, tmp_path / "branches", plan, front=2.0
    ).network
    said = predict(network, images[~turned]).pose.to_numpy()
    assert said.mean() < 1.5
    assert np.corrcoef(said, scores.pose[~turned])[0, 1] > 0.8


def test_too_few_faces_are_told_with_what_to_do(shown, tmp_path):
    images, scores = shown
    scores.loc[15:, "eyes"] = np.nan
    with pytest.raises(ValueError, match="15 of 160 images have a score of eyes: at least 20"):
        train_property_cnn(images, scores, tmp_path / "a", TINY)


def test_patience_ends_a_branch_that_no_longer_gets_better(shown, tmp_path, monkeypatch):
    images, scores = shown
    monkeypatch.setattr(regressor, "BRANCHES", {"mouth_score_cnn": ("mouth",)})
    monkeypatch.setattr(regressor._BranchTraining, "_validation_loss", lambda _: 1.0)
    plan = replace(TINY, patience=2, epochs=50)
    assert train_property_cnn(images, scores, tmp_path / "a", plan).curves.epoch.max() == 2
