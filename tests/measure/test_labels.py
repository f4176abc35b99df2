"""Labels, and who gave them."""

from pathlib import Path

import numpy as np
import pytest

from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.measure.labels import SimulatedAnnotator, auroc, cohen_kappa, read_labels
from ohlora_lib.store import StoreError

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/golden/published"
TABLE = "idx,gender,quality,age,glass\n7,1,1,0,0\n3,0,1,1,0\n"


def written(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_a_csv_in_the_published_format_keeps_its_labels_and_says_who_labeled(tmp_path):
    labels = read_labels(written(tmp_path, TABLE), "the author")
    assert labels.table["gender"].tolist() == [1, 0]
    assert labels.labeled_by == "the author" and labels.error_rate is None
    labels.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == TABLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE.replace("glass", "glasses"), "'glass'"),
        (TABLE.replace("3,0", "7,0"), "image 7 is labeled twice"),
        (TABLE.replace("3,0,1", "3,0,2"), "image 3 has quality"),
        (TABLE.replace("3,0,1", "3,0,"), "image 3 has quality"),
        (TABLE.replace("3,0", "three,0"), "idx three is not an image number"),
        (TABLE.replace("3,0", ",0"), "idx nan is not an image number"),
        (TABLE.splitlines()[0], "has no labels"),
    ],
)
def test_a_table_that_is_wrong_says_where(tmp_path, text, said):
    with pytest.raises(StoreError, match=said):
        read_labels(written(tmp_path, text), "the author")


def test_missing_labels_name_the_images_the_format_and_the_labeling_notebook(tmp_path):
    path = tmp_path / "labels.csv"
    with pytest.raises(StoreError) as error:
        read_labels(path, "a person", "data/x/01_generate/images")
    for part in (
        path,
        "a person",
        "data/x/01_generate/images",
        "label.ipynb",
        "idx",
        *FILTER_PROPERTIES,
    ):
        assert str(part) in str(error.value)


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no published tables in {PUBLISHED}")
def test_the_published_hand_labels_are_read():
    labels = read_labels(PUBLISHED / "v3_hand_labels_first_2k.csv", "the original project")
    assert len(labels.table) == 2000
    assert labels.table[list(FILTER_PROPERTIES)].sum().tolist() == [1805, 1926, 128, 103]


@pytest.fixture(scope="module")
def probabilities():
    rng = np.random.default_rng(1)
    return {name: rng.beta(0.4, 0.4, 20000) for name in FILTER_PROPERTIES}


def test_as_many_labels_are_wrong_as_the_annotator_says(probabilities):
    """Truth drawn from the calibrated probabilities: uncertainty and slips both show."""
    rng = np.random.default_rng(2)
    labels = SimulatedAnnotator(slips=0.05).label(np.arange(20000), probabilities)
    for name in FILTER_PROPERTIES:
        truth = rng.random(20000) < probabilities[name]
        wrong = (labels.table[name] != truth).mean()
        assert labels.error_rate[name] > 0.1
        assert wrong == pytest.approx(labels.error_rate[name], abs=0.012)  # four deviations


def test_without_slips_sure_probabilities_are_labeled_right():
    sure = dict.fromkeys(FILTER_PROPERTIES, np.array([0.0, 1.0, 1.0]))
    labels = SimulatedAnnotator(slips=0.0).label([4, 5, 6], sure)
    assert (labels.table[list(FILTER_PROPERTIES)].T.to_numpy() == [0, 1, 1]).all()
    assert set(labels.error_rate.values()) == {0.0}
    assert labels.labeled_by == "the simulated annotator"


def test_an_image_has_its_label_in_any_batch_and_order(probabilities):
    annotator = SimulatedAnnotator(slips=0.3, seed=4)
    everything = annotator.label(np.arange(20000), probabilities).table
    some = np.array([900, 3, 17, 19999, 250])
    part = {name: values[some] for name, values in probabilities.items()}
    np.testing.assert_array_equal(annotator.label(some, part).table, everything.iloc[some])


def test_properties_and_seeds_slip_on_different_images():
    never = dict.fromkeys(FILTER_PROPERTIES, np.zeros(2000))
    first, other = (
        SimulatedAnnotator(slips=0.5, seed=s).label(np.arange(2000), never) for s in (0, 1)
    )
    slipped = [first.table[name].to_numpy() for name in FILTER_PROPERTIES] + [other.table["gender"]]
    together = np.corrcoef(slipped) - np.eye(5)
    assert np.abs(together).max() < 0.12


@pytest.mark.parametrize(
    ("gender", "said"),
    [
        (np.zeros(2), "2"),
        (np.array([0.5, 1.2, 0]), "outside"),
        (np.array([0.5, np.nan, 0]), "outside"),
    ],
)
def test_probabilities_that_are_none_are_refused(gender, said):
    with pytest.raises(ValueError, match=said):
        SimulatedAnnotator().label(
            range(3), dict.fromkeys(FILTER_PROPERTIES, np.zeros(3)) | {"gender": gender}
        )


def test_error_rate_of_known_probabilities():
    """0.8 is wrong with 0.2; a slip of 0.1 turns 0.2 into 0.2 * 0.9 + 0.8 * 0.1 = 0.26."""
    known = dict.fromkeys(FILTER_PROPERTIES, np.array([0.8, 0.2]))
    exact = SimulatedAnnotator(slips=0.0).label([0, 1], known).error_rate
    slipping = SimulatedAnnotator(slips=0.1).label([0, 1], known).error_rate
    assert list(exact.values()) == pytest.approx([0.2] * 4)
    assert list(slipping.values()) == pytest.approx([0.26] * 4)


def test_auroc_of_known_cases():
    answers = np.array([0, 0, 1, 1])
    assert auroc(np.array([0.1, 0.4, 0.35, 0.8]), answers) == 0.75
    assert auroc(np.full(4, 0.5), answers) == 0.5
    assert np.isnan(auroc(np.arange(4), np.ones(4))) and np.isnan(auroc(np.arange(4), np.zeros(4)))


def test_unlabeled_images_are_the_others_in_their_order(tmp_path):
    labels = read_labels(written(tmp_path, TABLE), "the author")
    assert labels.unlabeled([9, 7, 3, 1]).tolist() == [9, 1]
    with pytest.raises(StoreError, match="image 3, which the image set lacks"):
        labels.unlabeled([9, 7])
    with pytest.raises(StoreError, match="all 2 images are labeled"):
        labels.unlabeled([7, 3])


def test_cohens_kappa_of_a_textbook_table():
    """Cohen's own form: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no give (0.7 − 0.5) / 0.5."""
    first = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    second = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert np.isnan(cohen_kappa(np.ones(5), np.ones(5)))


def test_weighted_kappa_forgives_a_neighboring_grade():
    order = ("a", "b", "c", "d")
    first = np.array(["a", "b", "c", "d"] * 5)
    near = np.array(["b", "c", "d", "c"] * 5)
    # Mean squared distance 1; by chance 1.25 + 0.5 (variances) + 0.25 (difference of means) = 2.
    assert cohen_kappa(first, near, order) == pytest.approx(1 - 1 / 2)
    assert cohen_kappa(first, near) < 0
