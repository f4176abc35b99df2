"""Filter CNNs by folds: what is kept, what predicts, and what a second run does again."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib import checkpoints
from ohlora_lib.measure.labels import auroc
from ohlora_lib.models.filter_cnn import FilterCNNConfig, new_filter_cnn
from ohlora_lib.train import classifier
from ohlora_lib.train.classifier import PUBLISHED, FoldPlan, Recipe, folds, train_folds, vote

TINY = FilterCNNConfig(resolution=32, width=1 / 16, padding=1, dense_dropout=0.2, filter="glass")
PLAN = FoldPlan(5e-3, accept=0.4, batch=8, half_period=6, most_epochs=6, tries=2)


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
    np.save(tmp_path / "faces.npy", faces)
    return tmp_path / "faces.npy", pd.DataFrame({"glass": answers})


def train(folder, labeled, plan=PLAN, config=TINY, **options):
    given = {"count": 2, "seed": 1, "workers": 1} | options
    return train_folds(folder, *labeled, {"glass": Recipe(config, plan)}, **given)


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
    found = folds(answers, 5, (0,))
    assert sorted(np.concatenate(found)) == list(range(53))
    assert {int(answers[rows].sum()) for rows in found} <= {2, 3}
    assert not np.array_equal(found[0], folds(answers, 5, (1,))[0])
    assert [len(rows) for rows in folds(np.zeros(10), 5, (0,))] == [2] * 5


def test_vote_tells_unseen_faces_apart(tmp_path, labeled):
    notes = train(tmp_path / "cnns", labeled)
    faces, answers = pictures(60, 9)
    said = vote(tmp_path / "cnns", "glass", faces, 2)
    assert said.shape == (60, 2) and auroc(said.mean(1), answers) > 0.95
    assert (notes["auroc"] > 0.9).all() and notes["accepted"].all()


def test_best_epoch_is_kept_and_predicts_without_dropout(tmp_path, labeled):
    wild = replace(PLAN, learning_rate=0.05, tries=1)  # losses go up as well as down
    notes = train(tmp_path / "cnns", labeled, wild, replace(TINY, dense_dropout=0.5), count=3)
    assert any(n.best_epoch < len(n.tries[0]["losses"]) - 1 for n in notes.itertuples())
    faces, answers = np.load(labeled[0]), labeled[1]["glass"].to_numpy()
    said = vote(tmp_path / "cnns", "glass", faces, 3)
    assert np.array_equal(said, vote(tmp_path / "cnns", "glass", faces, 3))
    for note, rows in zip(notes.itertuples(), folds(answers, 3, (1, 0)), strict=True):
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
    plan = replace(PLAN, accept=0.0, tries=3, most_epochs=1)
    notes = train(tmp_path / "cnns", labeled, plan)
    for note in notes.itertuples():
        best = [min(each["losses"]) for each in note.tries]
        assert len(set(best)) == 3 and note.loss == min(best) == best[note.kept]
        assert not note.accepted


def test_training_stops_when_nothing_is_gained_for_as_long_as_patience_lasts(tmp_path, labeled):
    plan = replace(PLAN, learning_rate=0.0, patience=2, most_epochs=50, tries=1)
    note = train(tmp_path / "cnns", labeled, plan).iloc[0]
    assert len(note.tries[0]["losses"]) == 4 and note.best_epoch == 0


def test_each_try_starts_from_the_given_weights(tmp_path, labeled):
    start = new_filter_cnn(TINY, 5)
    checkpoints.save(start, tmp_path / "start.safetensors")
    plan = replace(
        PLAN, learning_rate=0.0, most_epochs=1, start=str(tmp_path / "start.safetensors")
    )
    train(tmp_path / "cnns", labeled, plan)
    made = checkpoints.load(tmp_path / "cnns/glass_fold1.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(made.parameters(), start.parameters(), strict=True)
    )


def test_balance_lets_the_rarer_answer_count_as_much_as_the_other(labeled):
    recipe = Recipe(TINY, replace(PLAN, balance=True))
    answers = (1,) + (0,) * 9
    data = classifier._Data.of(
        classifier.FoldTask(recipe, labeled[0], answers, (8, 9), (0,), labeled[0])
    )
    assert data.weight[data.learnt].sum() == pytest.approx(8)
    assert data.weight[0] == pytest.approx(4)


def test_labels_that_are_all_alike_train_and_have_no_auroc(tmp_path, labeled):
    labels = pd.DataFrame({"glass": np.zeros(60, int)})
    notes = train(tmp_path / "cnns", (labeled[0], labels), replace(PLAN, most_epochs=1))
    assert notes["auroc"].isna().all()


def test_record_is_json_that_others_can_read(tmp_path, labeled):
    train(tmp_path / "cnns", labeled, replace(PLAN, most_epochs=1))
    note = json.loads((tmp_path / "cnns/glass_fold0.json").read_text())
    assert len(note["tries"][0]["training_losses"]) == 1


def test_published_recipes_are_the_published_ones():
    """Learning rates and thresholds: the table of golden/README.md."""
    told = {name: (r.plan.learning_rate, r.plan.accept) for name, r in PUBLISHED.items()}
    assert told == {
        "gender": (5e-6, 0.35),
        "quality": (5e-6, 0.13),
        "age": (2.5e-5, 0.23),
        "glass": (5e-5, 0.10),
    }
    assert all(r.network == FilterCNNConfig(filter=name) for name, r in PUBLISHED.items())
    assert all(
        (r.plan.batch, r.plan.patience, r.plan.half_period) == (16, 20, 10)
        for r in PUBLISHED.values()
    )
