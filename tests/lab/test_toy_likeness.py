"""Generated faces beside rendered ones: copies are found out, and the floor is of equal sets."""

from dataclasses import replace

import numpy as np
import pytest

from ohlora_lib.lab import toy_likeness as toy
from ohlora_lib.lab.toy_likeness import Likeness
from ohlora_lib.measure.similarity import frechet_distance
from ohlora_lib.models.annotator import Annotations

COUNT = 60


def read(features):
    rng = np.random.default_rng(len(features))
    names = {name: rng.normal(size=len(features)) for name in toy.SHOWN}
    said = {name: np.full(len(features), 0.25) for name in toy.CONCEPT}
    return Annotations(names, said | {"gender": rng.random(len(features))}, features)


def features(seed, count=COUNT):
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def likeness(generated):
    faces = np.arange(COUNT, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    fresh = read(features(1, 2 * COUNT))
    return Likeness(read(generated), fresh, read(features(2)), read(features(5)), faces, COUNT)


def test_copies_of_training_faces_are_found_out_and_others_are_not():
    copied = likeness(features(2) + 0.01)
    assert toy.nearest(copied)["to known"].max() < 0.1 and "it leans" in toy.nearest_told(copied)
    told = toy.nearest_told(likeness(features(3)))
    assert "nearest of 60 faces of the original generator's training set" in told
    assert "these 60 are not repeated, which says little about the others" in told


def test_closest_faces_stand_above_their_own_neighbors():
    generated = features(3)
    generated[7] = features(2)[11]
    rows = toy.neighbor_rows(likeness(generated), np.zeros((COUNT, 2, 2, 3), np.uint8), 2, 5)
    assert rows.shape == (15, 2, 2, 3) and rows[5, 0, 0, 0] == 11


def test_floor_and_distance_compare_sets_of_one_size():
    one = likeness(features(3))
    fresh = one.fresh.features
    assert one.floor() == pytest.approx(frechet_distance(fresh[:COUNT], fresh[COUNT:]))
    assert one.similarity().frechet < 3 * one.floor()
    assert likeness(features(3) + 2).similarity().frechet > 10 * one.floor()


def test_page_points_to_a_model_card_only_where_there_is_one():
    few = replace(likeness(features(3)), size=30)
    told = {name: toy.similarity_told(few, name) for name in ("original", "data/x.safetensors")}
    assert all("mostly chance" in sentence for sentence in told.values())
    assert [name for name, sentence in told.items() if "model card" in sentence] == ["original"]


def test_shares_and_finding_say_what_the_annotator_says():
    one = likeness(features(3))
    one.generated.probabilities["quality"][:] = 0.75
    women = (one.generated.probabilities["gender"] >= 0.5).mean()
    shares = toy.shares(one)
    assert shares["generated"].iloc[0] == women == shares["generated"].iloc[-1]
    assert shares["rendered"].iloc[-1] == 0
    sentence, headline = toy.found(one, shares)
    assert f"{women:.1%} of the faces are women" in sentence
    assert f"floors, between sets of {COUNT}" in sentence
    assert headline["women"] == f"{women:.1%}"
