"""The property CNN learns the scores, keeps its best epoch, and resumes an interrupted training."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.models.property_cnn import PropertyCNNConfig
from ohlora_lib.store import ROOT
from ohlora_lib.train import regressor
from ohlora_lib.train.regressor import (
    PUBLISHED_HAIRSTYLE_FIT,
    BranchTask,
    RegressorPlan,
    fit_table,
    huber_error,
    predict,
    train_property_cnn,
    worst_parsed,
)

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


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(regressor, "local_workers", lambda device: nullcontext())


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regressor, "local_workers", lambda device: nullcontext())
        return train_property_cnn(folder / "images.npy", scores, folder / "branches", TINY)


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_reads_off_new_pictures_what_it_was_shown(trained):
    images, scores = faces(100, seed=1)
    predicted = predict(trained.network, images)
    for name in ("hair_color", "background_mean", "pose"):
        assert predicted[name].corr(scores[name]) > 0.9, name
    assert list(predicted) == list(PROPERTIES) and not trained.network.training


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


def test_same_seed_same_network_here_or_in_other_processes(shown, tmp_path, monkeypatch):
    images, scores = shown
    plan = replace(TINY, epochs=1)
    here = train_property_cnn(images, scores, tmp_path / "a", plan, seed=3)
    other = train_property_cnn(images, scores, tmp_path / "c", plan, seed=4)
    monkeypatch.undo()
    there = train_property_cnn(images, scores, tmp_path / "b", plan, seed=3)
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


def test_a_resumed_training_still_returns_the_best_epoch(shown, tmp_path, monkeypatch):
    """With dictated losses the first epoch is the best, and the run is killed in the third."""
    images, scores = shown
    monkeypatch.setattr(regressor, "BRANCHES", {"mouth_score_cnn": ("mouth",)})
    monkeypatch.setattr(regressor, "CHECKPOINT_EVERY", 1)

    def trained(folder, epochs, losses):
        monkeypatch.setattr(regressor._BranchTraining, "_validation_loss", lambda _: losses.pop(0))
        plan = replace(TINY, epochs=epochs, decay=1.0)
        return train_property_cnn(images, scores, tmp_path / folder, plan)

    first = trained("first", 1, [1.0])
    with pytest.raises(IndexError):
        trained("killed", 4, [1.0, 2.0])
    resumed = trained("killed", 4, [3.0, 4.0])
    assert same(resumed.network.mouth_score_cnn, first.network.mouth_score_cnn)
    assert resumed.curves["validation"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert resumed.curves["kept"].tolist() == [True, False, False, False]


def test_images_without_scores_at_the_end_are_not_trained_on(shown, tmp_path):
    images, scores = shown
    garbled = np.load(images)
    garbled[100:] = 255 - garbled[100:]
    np.save(tmp_path / "garbled.npy", garbled)
    plan = replace(TINY, epochs=1)
    one = train_property_cnn(images, scores[:100], tmp_path / "a", plan)
    other = train_property_cnn(tmp_path / "garbled.npy", scores[:100], tmp_path / "b", plan)
    assert same(one.network, other.network)


def test_a_face_without_a_score_is_not_trained_on(shown, tmp_path):
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


def test_error_is_the_mean_square_over_known_targets():
    targets = torch.tensor([[1.0, float("nan")], [float("nan"), 4.0]])
    assert huber_error(torch.tensor([[2.0, 9.0], [9.0, 1.0]]), targets) == 5


def test_large_errors_count_linearly():
    zero = torch.zeros(3, 1)
    near, far, further = (huber_error(torch.full((3, 1), x), zero, huber=1.0) for x in (0.5, 3, 4))
    assert near == 0.25 and far == 5 and further - far == 2  # the parabola's slope at 1, on and on


@pytest.mark.parametrize(
    ("branch", "mirrored", "expected"),
    [("pose_score_cnn", False, [3.0, -1.0]), ("pose_score_cnn", True, [1.0, 5.0]),
     ("eyes_score_cnn", True, [3.0, -1.0])],
)  # fmt: skip
def test_mirroring_flips_images_and_poses_about_the_frontal_one(
    shown, monkeypatch, branch, mirrored, expected
):
    """A pose p becomes 2 * front - p, here with front = 2; other scores stay."""
    task = BranchTask(branch, TINY, shown[0], np.float32([[3], [-1]] * 30), 2.0, 0, "cpu")
    training = regressor._BranchTraining(task)
    seen = {}

    def branch_of(images, dropout):
        seen["images"] = images
        return torch.zeros(len(images), 1)

    def noted(predicted, targets, huber):
        seen["targets"] = targets
        return predicted.sum()

    monkeypatch.setattr(training, "branch", branch_of)
    monkeypatch.setattr(regressor, "huber_error", noted)
    rows = np.array([0, 1])
    training._loss(rows, mirrored, None)
    assert seen["targets"].ravel().tolist() == expected
    plain = training._pixels(rows)
    assert torch.equal(seen["images"], plain.flip(3) if mirrored else plain)


def test_heads_turned_one_way_teach_the_other_way_by_mirroring(tmp_path, monkeypatch):
    """The frontal pose may have any score: here it is 2, and all training faces score more."""
    monkeypatch.setattr(regressor, "BRANCHES", {"pose_score_cnn": ("pose",)})
    images, scores = faces(600)
    turned = scores.pose > 0
    np.save(tmp_path / "images.npy", images[turned])
    plan = replace(TINY, network=replace(TINY.network, width=1 / 2), learning_rate=3e-3)
    network = train_property_cnn(
        tmp_path / "images.npy", scores[turned] + 2, tmp_path / "branches", plan, front=2.0
    ).network
    predicted = predict(network, images[~turned]).pose.to_numpy()
    expected = scores.pose[~turned] + 2
    assert predicted.mean() == pytest.approx(expected.mean(), abs=0.35)
    assert np.corrcoef(predicted, expected)[0, 1] > 0.8


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


def test_learning_rate_follows_the_stated_schedules():
    def rate(plan, epoch):
        task = BranchTask("eyes_score_cnn", plan, None, None, 0.0, 0, "cpu")
        training = object.__new__(regressor._BranchTraining)
        training.task, training.plan = task, plan
        return training._rate(epoch)

    cosine = replace(TINY, epochs=100, learning_rate=1.0)
    assert rate(cosine, 50) == pytest.approx(0.5) and rate(cosine, 100) == pytest.approx(0)
    assert rate(cosine, 0) == pytest.approx(0.01 / 5)  # warm-up over the first 5 %
    decay = replace(cosine, decay=0.5)
    assert [rate(decay, epoch) for epoch in (0, 0.9, 1, 2)] == [1, 1, 0.5, 0.25]


def test_fit_table_by_hand():
    computed = pd.DataFrame({"eyes": [0.0, 1, 2, 3], "pose": [0.0, 1, 2, np.nan]})
    predicted = pd.DataFrame({"eyes": [3.0, 2, 1, 0], "pose": [1.0, 2, 30, 7]})
    table = fit_table(predicted, computed)
    assert table.loc["eyes"].tolist() == pytest.approx([-1, -1, 2, 5**0.5])
    assert table.at["pose", "rank correlation"] == pytest.approx(1)
    assert table.at["pose", "correlation"] == pytest.approx(
        np.corrcoef([0, 1, 2], [1, 2, 30])[0, 1]
    )
    assert table.at["pose", "mean error"] == pytest.approx((1 + 1 + 28) / 3)
    assert table.at["pose", "root mean square"] == pytest.approx(((1 + 1 + 784) / 3) ** 0.5)


def test_worst_parsed_faces_are_those_with_the_largest_error_of_either_sign():
    exact = pd.DataFrame({"eyes": np.arange(40.0)})
    computed, predicted = exact.copy(), exact + 1
    computed.loc[[3, 17, 30, 31], "eyes"] += [-4.0, 3.0, 2.0, -0.5]  # the 4 worst of 40
    predicted.loc[30] = exact.loc[30] - 2.5
    row = worst_parsed(predicted, computed, exact).loc["eyes"]
    assert row["parser's error"] == pytest.approx((4 + 3 + 2 + 0.5) / 4)
    assert row["CNN's error"] == pytest.approx((1 + 1 + 2.5 + 1) / 4)
    assert row["CNN nearer"] == 0.5


def test_published_hairstyle_fit_is_the_best_epoch_of_the_published_log():
    log = ROOT.parent / "shared/golden/published/v3_hairstyle_cnn_train_log.csv"
    if not log.exists():
        pytest.skip(f"no published log in {log}")
    best = pd.read_csv(log).sort_values("valid_loss").iloc[0]
    assert PUBLISHED_HAIRSTYLE_FIT["correlation"] == best["hairstyle_score_corr"]
    assert PUBLISHED_HAIRSTYLE_FIT["mean error"] == best["hairstyle_score_abs_diff"]
