"""Meters read what is in the picture, and say where they cannot."""

import numpy as np
import pytest
import torch

from ohlora_lib import checkpoints
from ohlora_lib.faces.classes import BACKGROUND, SKIN
from ohlora_lib.faces.domain import DOMAINS
from ohlora_lib.measure.parse import Parsed
from ohlora_lib.models import precision
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig
from ohlora_lib.steering.meters import (
    AnnotatorMeter,
    CnnMeter,
    IdentityMeter,
    MeterSet,
    ParserMeter,
    StandardizedMeter,
    background_mask,
    extra_meters,
)
from ohlora_lib.store import StoreError
from ohlora_lib.toyworld.renderer import face
from tests.steering.conftest import SIZE, Bystander, Rows


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (70, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def cnn():
    torch.manual_seed(0)
    return PropertyCNN(PropertyCNNConfig(resolution=64, width=0.1, padding=1)).eval()


def test_cnn_meter_is_the_network_in_eval_mode_whatever_the_batch(cnn, pictures):
    meter = CnnMeter(cnn)
    assert np.allclose(meter(pictures).scores[66:], meter(pictures[66:]).scores, atol=1e-5)


def test_dropout_is_on_only_where_asked_for_and_repeats(cnn, pictures):
    plain, noisy = CnnMeter(cnn), CnnMeter(cnn, dropout_seed=3)
    assert np.array_equal(noisy(pictures).scores, noisy(pictures).scores)
    assert np.abs(noisy(pictures).scores - plain(pictures).scores).max() > 1e-3


def test_background_lies_where_the_crop_saw_it_and_nowhere_outside():
    maps = np.full((3, 224, 224), SKIN, np.uint8)
    maps[:, :, :112] = BACKGROUND  # the crop's left half
    boxes = np.float32([[0, 0, 64, 64], [16, 32, 48, 64], [np.nan] * 4])
    found = np.array([True, True, False])
    seen = background_mask(Parsed(maps, np.zeros((3, 224, 224, 3), np.uint8), boxes, found), 64, 64)
    assert seen[0, :, :32].all() and not seen[0, :, 32:].any()
    assert seen[1, 32:, 16:32].all() and seen[1].sum() == 32 * 16
    assert not seen[2].any()


def test_a_picture_without_a_face_has_no_scores_and_stops_nothing(pictures):
    def parser(images):
        found = np.arange(len(images)) != 1
        boxes = np.where(found[:, None], np.float32([0, 0, 64, 64]), np.float32(np.nan))
        blank = np.zeros((len(images), 224, 224), np.uint8)
        return Parsed(blank, np.zeros((*blank.shape, 3), np.uint8), boxes, found)

    reading = ParserMeter(parser)(pictures[:3])
    assert np.isnan(reading.scores[1]).all() and np.isfinite(reading.scores[[0, 2]]).all()
    units = StandardizedMeter.fit(ParserMeter(parser), reading.scores)
    assert np.isfinite(units.center).all() and (units.spread > 0).all()


def test_standardized_scores_are_of_the_population(pictures):
    def by_channel(images):
        from ohlora_lib.steering.meters import Reading

        return Reading(images.mean((1, 2)))

    by_channel.properties = ("r", "g", "b")
    scores = by_channel(pictures).scores
    found = StandardizedMeter.fit(by_channel, scores)(pictures).scores
    assert np.allclose(found.mean(0), 0) and np.allclose(found.std(0), 1)


def test_witness_says_the_same_in_bfloat16(monkeypatch):
    faces = np.stack([face(5, index).image for index in range(12)])
    identity = IdentityMeter.fit(checkpoints.load("annotator"), faces)
    said = []
    for pays in (False, True):
        monkeypatch.setattr(precision, "cpu_pays", lambda _, pays=pays: pays)
        said.append(identity(faces))
    (filters, who), (fast_filters, fast_who) = said
    assert 0 < np.abs(fast_filters - filters).max() < 0.03
    assert np.linalg.norm(fast_who - who, axis=1).max() < 0.05


def test_identity_changes_with_the_person_more_than_with_the_expression():
    annotator = checkpoints.load("annotator")
    faces = np.stack([face(5, i, 128).image for i in range(24)])
    identity = IdentityMeter.fit(annotator, faces)
    filters, who = identity(faces)
    apart = np.linalg.norm(who - np.roll(who, 1, axis=0), axis=1)
    assert filters.shape == (24, 4) and apart.mean() == pytest.approx(1, rel=1e-3)
    mirrored = faces[:, :, ::-1].copy()  # as the head turned the other way
    same = np.linalg.norm(identity(mirrored)[1] - who, axis=1)
    assert same.mean() < 0.8
    assert AnnotatorMeter(annotator)(faces).scores.shape == (24, 8)


def test_meters_come_back_in_the_same_units(sampler, tmp_path):
    images = sampler.images(np.random.default_rng(0).standard_normal((64, SIZE)).astype(np.float32))
    made = MeterSet(
        type_of(images, 0.0), type_of(images, 0.3), Witnessed(mean_distance=2.0), background=33.0
    )
    made.write(tmp_path / "meters.json")
    again = MeterSet.read(tmp_path / "meters.json", Rows(), Rows(0.3), None)
    assert np.array_equal(made.cnn(images).scores, again.cnn(images).scores)
    assert (again.identity.mean_distance, again.background) == (2.0, 33.0)
    with pytest.raises(StoreError, match="its cnn meter reads"):
        MeterSet.read(tmp_path / "meters.json", Rows(0, ("eyes",)), Rows(), None)


def type_of(images, noise):
    return StandardizedMeter.fit(Rows(noise), Rows(noise)(images).scores)


class Witnessed(Bystander):
    def __new__(cls, mean_distance):
        made = super().__new__(cls)
        made.mean_distance = mean_distance
        return made


@pytest.mark.parametrize(
    ("rates", "measured"),
    [({}, False), ({"hairstyle_dropout": 0.25}, False), ({"dense_dropout": 0.4}, True)],
)
def test_dropout_is_measured_only_where_the_expression_branches_have_it(rates, measured):
    none = {"conv_dropout": 0.0, "dense_dropout": 0.0, "hairstyle_dropout": 0.0}
    config = PropertyCNNConfig(resolution=64, width=0.1, padding=1, **none | rates)
    meters = extra_meters(CnnMeter(PropertyCNN(config)), None, DOMAINS["photo"])
    assert list(meters) == ["dropout"] * measured


def test_the_annotator_is_an_extra_meter_of_toy_faces_unless_it_is_the_cnn_already(cnn):
    assert "annotator" in extra_meters(CnnMeter(cnn), None, DOMAINS["toy"])
    assert "annotator" not in extra_meters(CnnMeter(cnn), None, DOMAINS["photo"])
    assert extra_meters(AnnotatorMeter(None), None, DOMAINS["toy"]) == {}
