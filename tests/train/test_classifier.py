"""Filter CNNs by folds: what is kept, what predicts, and what a second run does again."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit

from ohlora_lib import checkpoints
from ohlora_lib.faces.domain import PHOTO, TOY
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.measure.labels import auroc
from ohlora_lib.models.filter_cnn import FilterCNNConfig, new_filter_cnn
from ohlora_lib.train import classifier
from ohlora_lib.train.classifier import (
    FILTER_TRAININGS,
    FaceEvaluator,
    FilterTraining,
    FoldPlan,
    filter_scores,
    fold_probabilities,
    stratified_folds,
    train_folds,
)

TINY = FilterCNNConfig(resolution=32, width=1 / 16, padding=1, dense_dropout=0.2, filter="glass")
PLAN = FoldPlan(5e-3, max_loss=0.4, batch=8, half_period=6, max_epochs=6, max_tries=2)


def pictures(count, seed):
    """Noise with a bright bar, where a filter sees it, for every third picture's yes."""
    rng = np.random.default_rng(seed)
    faces = rng.integers(60, 120, (count, 32, 32, 3), np.uint8)
    answers = np.arange(count) % 3 == 0
    faces[answers, 11:14, 10:22] += 60
    return faces, answers.astype(int)


@pytest.fixture
def labeled(tmp_path):
    faces, answers = pictures(60, 0)
    return faces, pd.DataFrame({"glass": answers})


def train(folder, labeled, plan=PLAN, config=TINY, **options):
    given = {"folds": 2, "seed": 1, "workers": 1} | options
    return train_folds(folder, *labeled, {"glass": FilterTraining(config, plan)}, **given)


def left(folder):
    """What lies there: records' text, networks' values (a file of them orders its header anew)."""
    records = {path.name: path.read_text() for path in folder.glob("*.json")}
    networks = {
        path.name: checkpoints.load(path).state_dict() for path in folder.glob("*.safetensors")
    }
    values = {name: {k: v.tolist() for k, v in state.items()} for name, state in networks.items()}
    return records | values


def test_each_fold_has_its_share_of_both_answers_and_no_face_is_in_two():
    answers = np.array([1] * 11 + [0] * 42)
    found = stratified_folds(answers, 5, (0,))
    assert sorted(np.concatenate(found)) == list(range(53))
    assert {int(answers[rows].sum()) for rows in found} <= {2, 3}
    assert not np.array_equal(found[0], stratified_folds(answers, 5, (1,))[0])
    assert [len(rows) for rows in stratified_folds(np.zeros(10), 5, (0,))] == [2] * 5


def test_mean_of_the_folds_tells_unseen_faces_apart(tmp_path, labeled):
    notes = train(tmp_path / "cnns", labeled)
    faces, answers = pictures(60, 9)
    said = fold_probabilities(tmp_path / "cnns", "glass", faces, 2)
    assert said.shape == (60, 2) and auroc(said.mean(1), answers) > 0.95
    assert (notes["auroc"] > 0.9).all() and notes["accepted"].all()


def test_best_epoch_is_kept_and_predicts_without_dropout(tmp_path, labeled):
    wild = replace(PLAN, learning_rate=0.05, max_tries=1)  # losses go up as well as down
    notes = train(tmp_path / "cnns", labeled, wild, replace(TINY, dense_dropout=0.5), folds=3)
    assert any(n.best_epoch < len(n.tries[0]["losses"]) - 1 for n in notes.itertuples())
    faces, answers = labeled[0], labeled[1]["glass"].to_numpy()
    said = fold_probabilities(tmp_path / "cnns", "glass", faces, 3)
    assert np.array_equal(said, fold_probabilities(tmp_path / "cnns", "glass", faces, 3))
    for note, rows in zip(notes.itertuples(), stratified_folds(answers, 3, (1, 0)), strict=True):
        p, yes = said[rows, note.fold], answers[rows] == 1
        loss = -np.log(np.where(yes, p, 1 - p)).mean()
        assert loss == pytest.approx(min(note.tries[0]["losses"]), rel=1e-3)


def test_killed_run_goes_on_from_the_finished_folds_to_the_same_networks(tmp_path, labeled):
    folder = tmp_path / "cnns"
    train(folder, labeled)
    before, kept = left(folder), folder / "glass_fold0.safetensors"
    (folder / "glass_fold1.json").unlink()  # killed after it wrote its weights
    (folder / "glass_fold1.safetensors").write_bytes(b"half of it")
    stamp = kept.stat().st_mtime_ns
    train(folder, labeled)
    assert left(folder) == before and kept.stat().st_mtime_ns == stamp


def test_processes_leave_the_same_networks(tmp_path, labeled):
    train(tmp_path / "alone", labeled)
    train(tmp_path / "two", labeled, workers=2)
    assert left(tmp_path / "alone") == left(tmp_path / "two")


def test_fold_that_stays_above_the_threshold_is_tried_again_and_its_best_try_kept(
    tmp_path, labeled
):
    plan = replace(PLAN, max_loss=0.0, max_tries=3, max_epochs=1)
    notes = train(tmp_path / "cnns", labeled, plan)
    for note in notes.itertuples():
        best = [min(each["losses"]) for each in note.tries]
        assert len(set(best)) == 3 and note.loss == min(best) == best[note.kept]
        assert not note.accepted


def test_training_stops_when_nothing_is_gained_for_as_long_as_patience_lasts(tmp_path, labeled):
    plan = replace(PLAN, learning_rate=0.0, patience=2, max_epochs=50, max_tries=1)
    note = train(tmp_path / "cnns", labeled, plan).iloc[0]
    assert len(note.tries[0]["losses"]) == 4 and note.best_epoch == 0


def test_each_try_starts_from_the_given_weights(tmp_path, labeled):
    start = new_filter_cnn(TINY, 5)
    checkpoints.save(start, tmp_path / "start.safetensors")
    plan = replace(PLAN, learning_rate=0.0, max_epochs=1, start=str(tmp_path / "start.safetensors"))
    train(tmp_path / "cnns", labeled, plan)
    made = checkpoints.load(tmp_path / "cnns/glass_fold1.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(made.parameters(), start.parameters(), strict=True)
    )


def test_balance_lets_the_rarer_answer_count_as_much_as_the_other(tmp_path, labeled):
    training = FilterTraining(TINY, replace(PLAN, balance=True))
    answers = (1,) + (0,) * 9
    path = tmp_path / "images.npy"
    np.save(path, labeled[0])
    data = classifier._Data.of(
        classifier.FoldTask(training, path, answers, (8, 9), (0,), tmp_path / "unused")
    )
    assert data.weight[data.trained_on].sum() == pytest.approx(8)
    assert data.weight[0] == pytest.approx(4)


def test_labels_that_are_all_alike_train_and_have_no_auroc(tmp_path, labeled):
    labels = pd.DataFrame({"glass": np.zeros(60, int)})
    notes = train(tmp_path / "cnns", (labeled[0], labels), replace(PLAN, max_epochs=1))
    assert notes["auroc"].isna().all()


def test_record_is_json_that_others_can_read(tmp_path, labeled):
    train(tmp_path / "cnns", labeled, replace(PLAN, max_epochs=1))
    note = json.loads((tmp_path / "cnns/glass_fold0.json").read_text())
    assert len(note["tries"][0]["training_losses"]) == 1


def test_published_trainings_are_the_published_ones():
    """Learning rates and thresholds of the published training code."""
    published = FILTER_TRAININGS["published"]
    assert {name: (t.plan.learning_rate, t.plan.max_loss) for name, t in published.items()} == {
        "gender": (5e-6, 0.35),
        "quality": (5e-6, 0.13),
        "age": (2.5e-5, 0.23),
        "glass": (5e-5, 0.10),
    }
    for name, training in published.items():
        plan = training.plan
        assert training.network == FilterCNNConfig(filter=name)
        assert (plan.batch, plan.patience, plan.half_period) == (16, 20, 10)
        assert (plan.max_tries, plan.max_epochs, plan.mirror, plan.balance) == (
            10,
            1000,
            False,
            False,
        )


def test_shortened_training_has_one_try_of_that_many_epochs():
    plan = FILTER_TRAININGS["small"]["age"].shortened(1).plan
    assert (plan.max_epochs, plan.half_period, plan.max_tries) == (1, 1, 1)


def test_score_is_the_mean_of_the_folds_rounded(tmp_path, labeled, monkeypatch):
    monkeypatch.setattr(classifier, "FILTER_PROPERTIES", ("glass",))
    monkeypatch.setattr(classifier, "IMAGES_PER_TASK", 2)
    monkeypatch.setattr(classifier, "parallel_map", lambda device, work, parts: map(work, parts))
    train(tmp_path / "cnns", labeled, folds=3)
    images, _ = pictures(5, 9)
    folds = fold_probabilities(tmp_path / "cnns", "glass", images, 3)
    scores = filter_scores(tmp_path / "cnns", images, 3, torch.device("cpu"))
    assert scores["glass"].tolist() == pytest.approx(folds.mean(1), abs=6e-5)
    assert (scores["glass"] == scores["glass"].round(4)).all() and folds.std(1).min() > 1e-3


def test_evaluator_uses_the_meter_that_knows_the_domain(monkeypatch):
    """Toy faces: the annotator; photographs: the mean of the five published CNNs per property."""
    annotator = checkpoints.load("annotator")
    networks, loaded = {}, []

    def load(name):
        loaded.append(name)
        if name == "annotator":
            return annotator
        return networks.setdefault(name, new_filter_cnn(TINY, len(networks)))

    monkeypatch.setattr(checkpoints, "load", load)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    toy, photo = FaceEvaluator(TOY), FaceEvaluator(PHOTO)
    assert (toy.meter, photo.meter) == ("the annotator network", "the published filter CNNs")
    names = [f"{name}-{fold}" for name in FILTER_PROPERTIES for fold in range(5)]
    assert loaded == ["annotator", *names]
    found, expected = photo.annotate(images), annotator.annotate(images)
    inputs = classifier.at_resolution(images, 32)
    age = [classifier.probabilities(networks[f"age-{fold}"], inputs) for fold in range(5)]
    np.testing.assert_allclose(found.probabilities["age"], np.mean(age, 0))
    hidden = [networks[f"{name}-0"].hidden(inputs / 255).detach() for name in FILTER_PROPERTIES]
    np.testing.assert_allclose(found.features, torch.cat(hidden, 1), atol=1e-5)
    np.testing.assert_allclose(
        toy.probabilities(images)["age"], expected.probabilities["age"], atol=1e-5
    )


def test_every_property_and_fold_has_its_own_split_and_seed(tmp_path, labeled, monkeypatch):
    jobs = []

    def run_jobs(work, given, *_):
        jobs.extend(given)
        for job in given:
            job.output.write_text("{}")
        return [job.output for job in given]

    monkeypatch.setattr(classifier, "run_jobs", run_jobs)
    images, labels = labeled
    labels = labels.assign(age=labels["glass"])
    trainings = dict.fromkeys(("glass", "age"), FilterTraining(TINY, PLAN))
    train_folds(tmp_path, images, labels, trainings, folds=2, seed=7, workers=1)
    assert [job.task.seed for job in jobs] == [(7, 0, 0), (7, 0, 1), (7, 1, 0), (7, 1, 1)]
    splits = [job.task.held_out for job in jobs]
    assert sorted(splits[0] + splits[1]) == list(range(60)) and splits[0] != splits[2]
    assert splits[0] == tuple(stratified_folds(labels["glass"].to_numpy(), 2, (7, 0))[0])


def test_balanced_training_gives_probabilities_that_match_the_labels(tmp_path):
    """A fifth of the pictures are a yes: unsure answers are near 0.2, not near 0.5."""
    rng = np.random.default_rng(0)
    faces = rng.integers(60, 120, (100, 32, 32, 3), np.uint8)  # nothing to learn
    labels = pd.DataFrame({"glass": (np.arange(100) % 5 == 0).astype(int)})
    plan = replace(PLAN, max_epochs=1, max_tries=1, balance=True, learning_rate=1e-6)
    table = train_folds(tmp_path / "cnns", faces, labels, {"glass": FilterTraining(TINY, plan)},
                        folds=2, workers=1)  # fmt: skip
    assert table["shift"].tolist() == pytest.approx([np.log(0.25)] * 2)
    found = fold_probabilities(tmp_path / "cnns", "glass", faces, 2)
    before = expit(logit(found) - table["shift"].to_numpy())
    assert abs(before.mean() - 0.5) < 0.2 and found.mean() < before.mean() - 0.15
