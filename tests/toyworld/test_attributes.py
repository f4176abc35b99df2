"""Attributes of toy faces: deterministic, and going together as in people."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.toyworld import ATTRIBUTE_NAMES, FaceAttributes, sample_attributes
from ohlora_lib.toyworld.attributes import filter_truth


@pytest.fixture(scope="module")
def people():
    return [sample_attributes(11, index) for index in range(4000)]


@pytest.fixture(scope="module")
def table(people):
    return pd.DataFrame([person.to_dict() for person in people])


def test_an_index_names_a_face_whatever_came_before():
    assert sample_attributes(5, 1234) == sample_attributes(5, 1234)
    assert sample_attributes(5, 1234) != sample_attributes(5, 1235)
    assert sample_attributes(6, 1234) != sample_attributes(5, 1234)


def test_attributes_stay_the_ones_that_trained_the_embedded_models():
    # values of the first release: a change here makes every embedded model's truth wrong
    person = sample_attributes(0, 7)
    assert person.eyes == pytest.approx(0.3860822, abs=1e-6)
    assert person.hair_length == pytest.approx(0.5543177, abs=1e-6)


def test_rates_are_like_the_published_ones(people):
    share = {
        truth: np.mean([getattr(person, truth) for person in people])
        for truth in ("is_female", "is_old", "has_glasses", "is_good")
    }
    assert 0.52 < share["is_female"] < 0.59
    assert 0.12 < share["is_old"] < 0.20
    assert 0.07 < share["has_glasses"] < 0.11
    assert 0.93 < share["is_good"] < 0.97


def test_attributes_go_together_as_in_people(table):
    corr = table.corr()
    assert corr.loc["gender", "hair_length"] > 0.7
    assert corr.loc["age", "hair_grey"] > 0.6
    assert corr.loc["smile", "mouth"] > 0.4
    assert corr.loc["smile", "eyes"] < -0.1
    assert corr.loc["gender", "makeup"] > 0.7
    assert table.beard[table.gender > 0.8].max() < 0.01
    assert abs(corr.loc["eyes", "pose"]) < 0.06  # independent ones stay so


def test_expression_is_near_gaussian_so_that_z_scores_mean_something(table):
    for name in ("eyes", "mouth", "pose"):
        z = (table[name] - table[name].mean()) / table[name].std()
        assert abs((z**3).mean()) < 0.25, name
        assert 2.5 < (z**4).mean() < 3.3, name
    assert (table.eyes < 0.1).mean() < 0.03, "eyes are rarely closed"


def test_every_attribute_lies_in_its_range(table):
    assert list(table.columns) == list(ATTRIBUTE_NAMES)
    signed = {"pose", "gaze", "parting", "light"}
    for name in ATTRIBUTE_NAMES:
        low, high = (-3, 3) if name == "roll" else (-1, 1) if name in signed else (0, 1)
        assert table[name].between(low, high).all(), name


def test_truth_follows_its_threshold():
    assert FaceAttributes(glasses=0.51).has_glasses and not FaceAttributes(glasses=0.49).has_glasses
    assert FaceAttributes(age=0.66).is_old and not FaceAttributes(age=0.64).is_old


def test_filter_truth_is_exact_at_its_thresholds():
    thresholds = FaceAttributes(gender=0.5, quality=0.5, age=0.65, glasses=0.5)
    beyond = FaceAttributes(gender=0.51, quality=0.51, age=0.66, glasses=0.51)
    young_man = FaceAttributes(gender=0.1, quality=0.9, age=0.2, glasses=0.9)
    people = (thresholds, beyond, young_man)
    table = filter_truth([list(one.to_dict().values()) for one in people])
    assert list(table) == ["gender", "quality", "age", "glass"]
    assert table.to_numpy().tolist() == [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]]
