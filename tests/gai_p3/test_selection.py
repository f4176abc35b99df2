"""The gender model's folds, and what a cutoff keeps."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.gai_p3 import selection
from ohlora_lib.gai_p3.collect import Collection, with_variants
from ohlora_lib.measure.labels import auroc
from ohlora_lib.models.filter_cnn import FilterCNNConfig
from ohlora_lib.train import classifier
from ohlora_lib.train.classifier import stratified_folds

TRAINING = selection.TRAININGS["small"].shortened(3)
TRAINING = replace(
    TRAINING,
    network=FilterCNNConfig(
        resolution=32, width=1 / 16, padding=1, conv_dropout=0, dense_dropout=0
    ),
    plan=replace(TRAINING.plan, learning_rate=5e-3, mirror=False),
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Starting processes would take most of the time."""
    monkeypatch.setattr(classifier, "processes", lambda count: nullcontext())


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Bright women, dark men, and both unlabeled."""
    rng = np.random.default_rng(0)
    kinds = np.array(["female", "male", "unlabeled"])[[0] * 40 + [1] * 30 + [2] * 20]
    female = np.concatenate([np.ones(40, bool), np.zeros(30, bool), np.arange(20) % 2 == 0])
    level = np.where(female, 170, 90)[:, None, None, None]
    images = (level + rng.normal(0, 8, (90, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    names = [f"{kind}/{number:03d}.png" for number, kind in enumerate(kinds)]
    table = pd.DataFrame({"kind": kinds, "name": names, "female": female})
    return Collection.write(tmp_path_factory.mktemp("collection"), *with_variants(images, table))


def test_model_separates_and_labeled_images_are_scored_by_their_held_out_fold(collection, tmp_path):
    selection.train_gender_model(tmp_path / "cnns", collection, TRAINING, folds=2, seed=5)
    found = selection.female_probabilities(tmp_path / "cnns", collection, folds=2, seed=5)
    female = collection.table["female"].to_numpy()
    assert auroc(found[:90], female[:90]) > 0.99
    answers = np.array([1] * 40 + [0] * 30)
    each = selection.fold_probabilities(tmp_path / "cnns", "gender", np.array(collection.images), 2)
    first = stratified_folds(answers, 2, (5, 0))[0]
    np.testing.assert_array_equal(found[first], each[first, 0])
    np.testing.assert_array_equal(found[first + 90], each[first + 90, 0])  # their variants
    np.testing.assert_array_equal(found[70:90], each[70:90].mean(1))  # unlabeled


def test_the_authors_validation_images_are_women(collection):
    assert selection.last_tenth(collection).to_dict() == {"female": 7}


def test_precision_and_recall_of_a_cutoff():
    p, female = np.array([0.95, 0.92, 0.91, 0.4, 0.2]), np.array([1, 1, 0, 1, 0], bool)
    row = selection.selection_table(p, female, (0.9, 0.99)).loc[0.9]
    assert (row["kept"], row["women"]) == (3, 2)
    assert row["precision"] == pytest.approx(2 / 3) and row["recall"] == pytest.approx(2 / 3)
    none = selection.selection_table(p, female, (0.99,)).loc[0.99]
    assert none["kept"] == 0 and np.isnan(none["precision"]) and none["recall"] == 0


def test_a_cutoff_as_strict_as_the_authors_keeps_the_same_share():
    p = np.linspace(0, 1, 10_001)
    strict = selection.as_strict_as_the_authors(p, 0.9)
    assert (p >= strict).sum() / (p >= 0.9).sum() == pytest.approx(13_064 / 17_551, abs=2e-3)
    assert selection.as_strict_as_the_authors(np.zeros(3), 0.9) == 0.9


def test_men_are_needed(tmp_path):
    images = np.zeros((4, 32, 32, 3), np.uint8)
    table = pd.DataFrame({"kind": "female", "name": [f"{i}.png" for i in range(4)]})
    women = Collection.write(tmp_path / "women", *with_variants(images, table))
    with pytest.raises(ValueError, match="no labeled men"):
        selection.train_gender_model(tmp_path / "cnns", women, TRAINING, folds=2)
