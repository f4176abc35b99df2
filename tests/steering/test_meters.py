"""Meters measure what an image shows, and return NaN where they cannot."""

import numpy as np
import pytest
import torch

from ohlora_lib import checkpoints
from ohlora_lib.faces.classes import BACKGROUND, SKIN
from ohlora_lib.faces.domain import PHOTO, TOY
from ohlora_lib.faces.properties import FILTER_PROPERTIES, PROPERTIES
from ohlora_lib.measure.parse import Parsed
from ohlora_lib.models import precision
from ohlora_lib.models.filter_cnn import FilterCNNConfig, new_filter_cnn
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig
from ohlora_lib.steering import meters
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.meters import (
    AnnotatorMeter,
    CnnMeter,
    IdentityMeter,
    MeterSet,
    ParserMeter,
    Reading,
    StandardizedMeter,
    background_mask,
    extra_meters,
    load_meters,
)
from ohlora_lib.store import StoreError
from ohlora_lib.toyworld.renderer import face
from ohlora_lib.train.classifier import at_resolution, probabilities
from tests.steering.conftest import SIZE, Bystander, Rows


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (70, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def cnn():
    torch.manual_seed(0)
    return PropertyCNN(PropertyCNNConfig(resolution=64, width=0.1, padding=1)).eval()


def test_cnn_meter_is_the_network_in_eval_mode_for_any_batch(cnn, images):
    meter = CnnMeter(cnn)
    assert np.allclose(meter(images).scores[66:], meter(images[66:]).scores, atol=1e-5)


def test_dropout_is_on_only_with_a_seed_and_repeats(cnn, images):
    plain, noisy = CnnMeter(cnn), CnnMeter(cnn, dropout_seed=3)
    assert np.array_equal(noisy(images).scores, noisy(images).scores)
    assert np.abs(noisy(images).scores - plain(images).scores).max() > 1e-3


def test_background_is_known_inside_the_crop_only():
    maps = np.full((3, 224, 224), SKIN, np.uint8)
    maps[:, :, :112] = BACKGROUND  # the crop's left half
    boxes = np.float32([[0, 0, 64, 64], [16, 32, 48, 64], [np.nan] * 4])
    found = np.array([True, True, False])
    seen = background_mask(Parsed(maps, np.zeros((3, 224, 224, 3), np.uint8), boxes, found), 64, 64)
    assert seen[0, :, :32].all() and not seen[0, :, 32:].any()
    assert seen[1, 32:, 16:32].all() and seen[1].sum() == 32 * 16
    assert not seen[2].any()


@pytest.mark.parametrize("along", ["columns", "rows"])
@pytest.mark.parametrize(("cells", "pixels"), [(110, 31), (111, 32), (113, 32), (114, 33)])
def test_a_pixel_belongs_to_the_map_cell_of_its_center(along, cells, pixels):
    """Pixel i of 64 has its center at (i + 0.5) * 3.5 of 224 cells."""
    maps = np.full((1, 224, 224), SKIN, np.uint8)
    maps[:, :cells] = BACKGROUND
    maps = maps.swapaxes(1, 2) if along == "columns" else maps
    box, found = np.float32([[0, 0, 64, 64]]), np.array([True])
    mask = background_mask(Parsed(maps, np.zeros((1, 224, 224, 3), np.uint8), box, found), 64, 64)
    mask = mask.swapaxes(1, 2) if along == "columns" else mask
    assert mask[0, :pixels].all() and not mask[0, pixels:].any()


def test_a_picture_without_a_face_has_no_scores_and_stops_nothing(images):
    def parser(images):
        found = np.arange(len(images)) != 1
        boxes = np.where(found[:, None], np.float32([0, 0, 64, 64]), np.float32(np.nan))
        blank = np.zeros((len(images), 224, 224), np.uint8)
        return Parsed(blank, np.zeros((*blank.shape, 3), np.uint8), boxes, found)

    reading = ParserMeter(parser)(images[:3])
    properties = reading.scores[:, : len(PROPERTIES)]  # a blank map has these, but no geometry
    assert np.isnan(reading.scores[1]).all() and np.isfinite(properties[[0, 2]]).all()
    units = StandardizedMeter.fit(ParserMeter(parser), reading.scores)
    assert np.isfinite(units.center).all() and (units.spread > 0).all()


def test_standardized_scores_are_of_the_population(images):
    def by_channel(images):
        return Reading(images.mean((1, 2)))

    by_channel.properties = ("r", "g", "b")
    scores = by_channel(images).scores
    found = StandardizedMeter.fit(by_channel, scores)(images).scores
    assert np.allclose(found.mean(0), 0) and np.allclose(found.std(0), 1)


def test_identity_is_the_same_in_bfloat16(monkeypatch):
    faces = np.stack([face(5, index).image for index in range(12)])
    identity = IdentityMeter.fit(checkpoints.load("annotator"), faces)
    said = []
    for pays in (False, True):
        monkeypatch.setattr(precision, "cpu_pays", lambda _, pays=pays: pays)
        said.append(identity(faces))
    (filters, who), (fast_filters, fast_who) = said
    assert 0 < np.abs(fast_filters - filters).max() < 0.03
    assert np.linalg.norm(fast_who - who, axis=1).max() < 0.05


def test_photographs_are_judged_by_the_published_filter_cnns_alone(monkeypatch):
    """Selection and checks of what must not change never read the annotator of the toy world."""
    config = FilterCNNConfig(resolution=32, width=1 / 16, padding=1, filter="glass")
    networks = {}

    def load(name):
        filters = [f"{one}-{k}" for one in FILTER_PROPERTIES for k in range(1)]
        assert name in ("property-cnn", *filters)
        if name == "property-cnn":
            return PropertyCNN(PropertyCNNConfig(resolution=16, padding=1, width=0.125)).eval()
        return networks.setdefault(name, new_filter_cnn(config, len(networks)))

    monkeypatch.setattr(checkpoints, "load", load)
    monkeypatch.setattr(meters, "load_parser", lambda name, device: name)
    _, parser, rater = load_meters(PHOTO, "property-cnn", torch.device("cpu"))
    faces = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    filters, who = IdentityMeter.fit(rater, faces)(faces)
    inputs = at_resolution(faces, 32)
    gender = probabilities(networks["gender-0"], inputs)
    assert parser.parser == "facexformer" and np.allclose(filters[:, 0], gender, atol=1e-3)
    assert who.shape == (4, 4 * 32) and np.linalg.norm(who[0] - who[1]) > 0
    with pytest.raises(VectorError, match="photographs need one"):
        load_meters(PHOTO, None, torch.device("cpu"))


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


def test_the_population_defines_every_unit(monkeypatch):
    """Backgrounds of consecutive images are compared where both show them."""
    monkeypatch.setattr(IdentityMeter, "fit", lambda annotator, images: (annotator, len(images)))
    images = np.zeros((3, 4, 4, 3), np.uint8)
    images[0], images[1], images[2] = 10, 40, 100
    mask = np.zeros((3, 4, 4), bool)
    mask[:, :2] = True
    mask[2, 1] = False  # the last image's background is one row,
    images[2, 1] = 255  # and what is below it counts in no comparison

    class Parsing:
        properties = ("eyes", "mouth")

        def __call__(self, images):
            first = images[:, 0, 0, 0].astype(float)
            return Reading(np.stack([first, np.full(3, 7.0)], 1), mask)

    meters = MeterSet.fit(Parsing(), Parsing(), "annotator", images)
    assert meters.identity == ("annotator", 3)
    assert meters.background == pytest.approx((90 + 30 + 60) / 3)
    assert meters.parser.center.tolist() == [50, 7]
    assert meters.parser.spread.tolist() == pytest.approx([np.std([10, 40, 100]), 1])
    with pytest.raises(VectorError, match="1 images are no population"):
        MeterSet.fit(Parsing(), Parsing(), None, images[:1])


@pytest.mark.parametrize(
    ("domain", "rates", "names"),
    [
        (TOY, {}, ["annotator"]),
        (PHOTO, {}, []),
        (TOY, {"hairstyle_dropout": 0.25}, ["annotator"]),
        (PHOTO, {"dense_dropout": 0.4}, ["dropout"]),
        (TOY, {"conv_dropout": 0.1}, ["annotator", "dropout"]),
    ],
)
def test_extra_meters_are_the_annotator_on_toy_faces_and_the_cnn_with_dropout(domain, rates, names):
    none = {"conv_dropout": 0.0, "dense_dropout": 0.0, "hairstyle_dropout": 0.0}
    cnn = PropertyCNN(PropertyCNNConfig(resolution=64, width=0.1, padding=1, **none | rates))
    assert list(extra_meters(CnnMeter(cnn), None, domain)) == names


def test_where_the_annotator_is_the_cnn_meter_there_is_no_extra_one():
    assert extra_meters(AnnotatorMeter(None), None, TOY) == {}


def test_without_a_property_cnn_the_annotator_takes_its_place():
    cnn, parser, annotator = load_meters(TOY, None, torch.device("cpu"))
    assert isinstance(cnn, AnnotatorMeter) and cnn.annotator is annotator
    assert isinstance(parser, ParserMeter) and cnn.properties == PROPERTIES
