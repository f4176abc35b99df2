"""Judges of realism on faces with a planted fault."""

import numpy as np
import pytest
import torch

from ohlora_lib.checkpoints import WeightsError, save
from ohlora_lib.gai_p3 import judges
from ohlora_lib.gai_p3.judges import JudgeFaces, JudgePlan, JudgeTask
from ohlora_lib.measure.intervals import separation, separation_interval
from ohlora_lib.models.realism_cnn import RealismCNN, RealismCNNConfig
from tests.gai_p3.networks import (
    PLAIN,
    RESIDUAL,
    SIDE,
    conditions,
    marked_faces,
    noisy_faces,
    trained_nvae,
)

PLAN = JudgePlan(steps=60, batch=32, learning_rate=4e-3)
PLANTED = JudgeFaces(noisy_faces(60), marked_faces(60, 1))


@pytest.fixture(scope="module", params=[PLAIN, RESIDUAL], ids=lambda config: config.kind)
def planted(request):
    return judges.train_judge(request.param, PLANTED, PLAN)


def test_a_judge_finds_the_planted_fault_in_new_faces(planted):
    real, made = planted.log_odds(noisy_faces(40, 7)), planted.log_odds(marked_faces(40, 8))
    assert separation(made, real) > 0.95
    # Calibrated: the odds of faces that are easy to tell are large.
    assert real.mean() > 0.3 and made.mean() < -0.3


def test_attention_lies_on_the_planted_fault(planted):
    maps = judges.attention_maps(planted, marked_faces(20, 8))
    np.testing.assert_allclose(maps.mean((1, 2)), 1, rtol=1e-4)
    there = maps[:, 1:5, 1:5].sum((1, 2)) / maps.sum((1, 2))  # cells of 2 pixels, and neighbors
    assert there.mean() > 3 * 16 / 256


def test_two_sets_of_one_kind_cannot_be_told():
    judge = judges.train_judge(PLAIN, JudgeFaces(noisy_faces(60), noisy_faces(60, 1)), PLAN)
    scores = [judge.log_odds(noisy_faces(200, seed)) for seed in (7, 8)]
    interval = separation_interval(*scores, draws=200)
    assert interval.low < 0.5 < interval.high


def test_training_depends_on_the_seed_alone():
    few = JudgePlan(steps=2, batch=8)
    same, again, other = (judges.train_judge(RESIDUAL, PLANTED, few, s) for s in (1, 1, 2))
    images = marked_faces(3)
    np.testing.assert_array_equal(same.log_odds(images), again.log_odds(images))
    assert not np.allclose(same.log_odds(images), other.log_odds(images))


def test_real_faces_are_shown_as_reconstructions_as_often_as_planned():
    faces = JudgeFaces(
        np.zeros((4, SIDE, SIDE, 3), np.uint8),
        np.full((4, SIDE, SIDE, 3), 200, np.uint8),
        np.full((4, SIDE, SIDE, 3), 100, np.uint8),
    )
    rng = np.random.default_rng(0)
    images, answers = judges._batch(faces, JudgePlan(batch=400, reconstructed=0.25), rng)
    values = images[:, 0, 0, 0]
    assert set(values[answers.numpy() == 1]) == {0, 100}
    assert set(values[answers.numpy() == 0]) == {200}
    assert 0.15 < (values[:200] == 100).mean() < 0.35
    with pytest.raises(ValueError, match="reconstructions"):
        judges.train_judge(PLAIN, PLANTED, JudgePlan(reconstructed=0.5))


def test_calibration_undoes_a_planted_scale_and_shift():
    judge = judges.train_judge(RESIDUAL, JudgeFaces(noisy_faces(60), marked_faces(60, 1)),
                               JudgePlan(steps=3, batch=16))  # fmt: skip
    faces = JudgeFaces(noisy_faces(100, 5), noisy_faces(100, 6))  # nothing to tell
    with torch.no_grad():
        judge.decide.weight.mul_(50)
        judge.decide.bias.add_(3)
    judges.calibrate(judge, faces)
    odds = judge.log_odds(np.concatenate([faces.real, faces.made]))
    assert abs(odds.mean()) < 0.3 and odds.std() < 0.5


def test_finished_judges_are_kept_until_their_task_changes(tmp_path, monkeypatch):
    def task(steps):
        return JudgeTask("d1", PLAIN, PLANTED, JudgePlan(steps=steps, batch=8), 0)

    first = judges.train_judges([task(2)], tmp_path)["d1"]
    count = []
    monkeypatch.setattr(judges, "train_judge", lambda *a: count.append(a) or first)
    again = judges.train_judges([task(2)], tmp_path)["d1"]
    assert not count and torch.equal(first.decide.weight, again.decide.weight)
    judges.train_judges([task(3)], tmp_path)
    assert len(count) == 1


def test_another_network_is_no_judge(tmp_path):
    save(trained_nvae(), tmp_path / "nvae.safetensors")
    with pytest.raises(WeightsError, match=r"nvae\.safetensors is a NVAE, not a judge: give d1"):
        judges.read_judge(tmp_path / "nvae.safetensors")


class Constant:
    def __init__(self, value):
        self.value = value

    def log_odds(self, images):
        return np.full(len(images), self.value)


def test_each_face_is_scored_by_the_judge_that_did_not_see_it():
    images = noisy_faces(7)
    first, second = judges.cross_fitted("d3", images, images, PLAN, 0)
    assert len(first.faces) == 3 and len(second.faces) == 4
    np.testing.assert_array_equal(first.faces.made, images[:3])
    scores = judges.cross_scored([Constant(1), Constant(2)], images)
    assert scores.tolist() == [2, 2, 2, 1, 1, 1, 1]


def test_too_few_faces_and_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="2 faces: a judge needs more"):
        judges.train_judge(PLAIN, PLANTED.part(slice(0, 2)))
    with pytest.raises(ValueError, match=r"takes \(N, 32, 32, 3\)"):
        RealismCNN(PLAIN).log_odds(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="kind 'deep'"):
        RealismCNNConfig("deep")


def test_made_faces_are_the_networks_whatever_their_number(monkeypatch):
    def here(device, work, *parts):
        return list(map(work, *parts))

    monkeypatch.setattr(judges, "parallel_map", here)  # processes take seconds to start
    network, given = trained_nvae(), conditions(70)
    seeds = judges.seeds_of(3, 1, 70)
    images = judges.make_faces(network, seeds, given)
    np.testing.assert_array_equal(images[:5], judges.make_faces(network, seeds[:5], given[:5]))
    alone = network.generate([seeds[66]], given[66:67])
    assert np.abs(images[66:67].astype(int) - alone).max() <= 1
    assert not set(judges.seeds_of(3, 0, 1000)) & set(judges.seeds_of(3, 1, 1000))


def test_attention_per_area_counts_the_regions_pixels():
    maps = np.zeros((1, 16, 16), np.float32)
    maps[0, :8] = 1  # the upper half
    classes = np.ones((1, 32, 32), np.uint8)
    classes[0, 16:] = 10
    table = judges.attention_by_region(maps, classes)
    assert table.loc["skin", "attention"] == 1 and table.loc["hair", "attention"] == 0
    assert table.loc["skin", "quotient"] == 2 and np.isnan(table.loc["nose", "quotient"])
