"""Faces are found, cropped and read; an image without one stops nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ohlora_lib.faces.classes import LEFT_EYE, RIGHT_EYE, SKIN
from ohlora_lib.measure.parse import (
    PublishedParser,
    class_pixels,
    default_scores,
    load_parser,
    parse,
    property_scores,
    shows_face,
    without_specks,
)
from ohlora_lib.measure.scores import NO_HAIRSTYLE, SECOND, SECOND_MIN_BLOCKS, score
from ohlora_lib.measure.segmentation import Segmentation, segment
from ohlora_lib.models.facexformer import FaceXFormer, FaceXFormerConfig, crop_face
from ohlora_lib.models.mtcnn import Detection
from ohlora_lib.store.images import ImageSet
from ohlora_lib.toyworld import face

GOLDEN = Path(__file__).resolve().parents[3] / "shared/golden"
TINY = FaceXFormerConfig(embed=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), width=16, decoder_mlp=8)


class Finder(torch.nn.Module):
    """Stands for MTCNN: says the boxes that it was given, image by image."""

    def __init__(self, *boxes):
        super().__init__()
        self.boxes = iter(boxes)

    def forward(self, images):
        found = [np.array(next(self.boxes), np.float32).reshape(-1, 4) for _ in images]
        return [Detection(boxes, np.ones(len(boxes)), np.zeros((0, 5, 2))) for boxes in found]


@pytest.fixture(scope="module")
def drawn():
    return [face(781, index) for index in range(6)]


@pytest.fixture(scope="module")
def images(drawn):
    return np.stack([one.image for one in drawn])


@pytest.fixture(scope="module")
def embedded():
    return load_parser("embedded")


def faceless(number):
    """A flat, a noisy and a shaded picture."""
    rng = np.random.default_rng(number)
    noisy = rng.integers(0, 256, (128, 128, 3), np.uint8)
    shaded = np.linspace(0, 255, 128).astype(np.uint8)[:, None, None].repeat(128, 1).repeat(3, 2)
    return np.stack([np.full_like(noisy, 90), noisy, shaded])


def test_embedded_parser_maps_the_frame_that_it_was_given(drawn, images, embedded):
    parsed = parse(images, embedded)
    rows = np.arange(128) * 224 // 128 + 1
    truth = np.stack([one.parse_map for one in drawn])
    assert (parsed.maps[:, rows[:, None], rows] == truth).mean() > 0.95
    assert parsed.found.all() and (parsed.boxes == [0, 0, 128, 128]).all()
    means = parsed.faces.mean((1, 2)), images.mean((1, 2))
    np.testing.assert_allclose(*means, atol=0.5)


def test_a_picture_without_a_face_is_counted_and_changes_no_other(images, embedded):
    mixed = np.concatenate([images[:2], faceless(0), images[2:]])
    parsed, alone = parse(mixed, embedded), parse(images, embedded)
    assert parsed.found.tolist() == [True] * 2 + [False] * 3 + [True] * 4
    assert not parsed.maps[2:5].any() and np.isnan(parsed.boxes[2:5]).all()
    np.testing.assert_array_equal(parsed.maps[parsed.found], alone.maps)
    scores = property_scores(mixed, embedded)
    assert scores.isna().all(axis=1).tolist() == (~parsed.found).tolist()


def test_scores_are_those_of_the_maps_however_many_images_go_at_once(images, embedded):
    parsed = parse(images, embedded)
    wanted = score(parsed.maps, parsed.faces, SECOND_MIN_BLOCKS)
    for batch in (1, 4, 50):
        given = property_scores(images, embedded, batch=batch)
        np.testing.assert_allclose(given, wanted, rtol=1e-3, atol=1e-3)


def test_no_image_at_all_gives_no_score_and_an_error_where_maps_are_wanted(embedded):
    none = np.zeros((0, 128, 128, 3), np.uint8)
    assert property_scores(none, embedded).shape == (0, 8)
    with pytest.raises(ValueError, match="no images"):
        parse(none, embedded)


def test_an_unknown_parser_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match="'unet': choose from embedded, facexformer"):
        load_parser("unet")


def test_published_parser_reads_the_first_box_and_leaves_out_what_has_none(images):
    torch.manual_seed(0)
    largest, other, outside = [30, 20, 90, 110], [0, 0, 20, 20], [200, 200, 230, 230]
    finder = Finder([largest, other], [], [outside], [largest])
    parsed = parse(images[:4], PublishedParser(finder, FaceXFormer(TINY).eval()))
    assert parsed.found.tolist() == [True, False, False, True]
    np.testing.assert_allclose(parsed.boxes[0], [15, 0, 105, 128])  # a quarter more on each side
    assert np.isnan(parsed.boxes[1:3]).all() and not parsed.maps[1:3].any()
    crop = crop_face(images[0], np.array(largest)).astype(int)
    assert np.abs(parsed.faces[0] - crop).max() <= 1  # the original truncates
    assert parsed.maps.shape == (4, 224, 224) and parsed.maps.max() <= 10


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"no reference values in {GOLDEN}")
def test_published_face_image_is_the_reference_one():
    golden = np.load(GOLDEN / "facexformer.golden.npz")
    said = json.loads((GOLDEN / "facexformer.manifest.json").read_text())["inputs"]["image"]
    number = int(said.split("image ")[1].split()[0].strip(".,;:()"))
    image = np.load(GOLDEN / "test_images_256.npz")["images"][[number]]
    parser = PublishedParser(Finder(golden["bbox_in"]), FaceXFormer(TINY).eval())
    parsed = parser(image)
    np.testing.assert_array_equal(parsed.faces[0], golden["face_png_rgb"])
    np.testing.assert_allclose(parsed.boxes[0], golden["bbox_adjusted"], rtol=1e-6)


def test_a_face_is_skin_with_most_of_eyes_nose_and_mouth():
    maps = np.zeros((5, 50, 50), np.uint8)
    maps[:, 10:40, 10:40] = 1
    maps[0, 20, 15:25], maps[0, 30, 15:25] = 4, 6
    maps[1, 20, 15:25] = 5  # an eye alone
    maps[2, 20, 15:25], maps[2, 35, 15:25], maps[2, 12:39] = 4, 8, 0  # hardly any skin
    maps[3, 25, 15:25], maps[3, 35, 15:25] = 6, 9
    maps[4, 25, 20], maps[4, 35, 20] = 6, 9  # specks
    assert shows_face(maps).tolist() == [True, False, False, True, False]
    assert class_pixels(maps)[1, [0, 1, 5]].tolist() == [1600, 890, 10]


def test_only_of_the_embedded_parsers_maps_a_few_strands_tell_nothing(embedded):
    published = PublishedParser(Finder(), FaceXFormer(TINY).eval())
    assert default_scores(published) is SECOND and default_scores(embedded) is SECOND_MIN_BLOCKS
    short = face(3, 38).image[None]
    assert property_scores(short, embedded)["hairstyle"][0] == NO_HAIRSTYLE
    assert property_scores(short, embedded, SECOND)["hairstyle"][0] > NO_HAIRSTYLE + 0.1


def test_an_eye_is_one_piece_and_its_specks_are_skin():
    one = np.full((1, 224, 224), SKIN, np.uint8)
    one[0, 80:90, 60:90], one[0, 80:90, 130:160] = LEFT_EYE, RIGHT_EYE
    specked = one.copy()
    specked[0, 110, 60:70], specked[0, 60:62, 140] = LEFT_EYE, RIGHT_EYE
    assert np.array_equal(without_specks(specked), one)
    none = np.zeros((1, 224, 224), np.uint8)
    assert np.array_equal(without_specks(none.copy()), none)


def test_segmentation_on_disk_goes_on_where_it_was_cut_off(tmp_path, images, embedded, monkeypatch):
    monkeypatch.setattr("ohlora_lib.measure.segmentation.SHARD", 3)
    pictures = ImageSet(tmp_path / "images")
    idx = np.array([3, 5, 8, 13, 21, 34, 55])
    pictures.write(idx, np.concatenate([images, faceless(0)[:1]]))
    calls = []

    def dies_late(part):
        calls.append(len(part))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embedded(part)

    with pytest.raises(KeyboardInterrupt):
        segment(pictures, idx, tmp_path / "out", dies_late)
    assert not (tmp_path / "out/boxes.parquet").exists()
    made = segment(pictures, idx, tmp_path / "out", embedded)
    assert calls == [3, 3, 1]
    assert made.boxes["idx"].tolist() == idx.tolist() and made.boxes["found"].sum() == 6
    parsed = made.read(Segmentation(tmp_path / "out").boxes[1:4])
    np.testing.assert_array_equal(parsed.maps, parse(images[1:4], embedded).maps)
    assert sum(len(part.maps) for part in made.batches(2)) == 7
