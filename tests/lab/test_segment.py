"""What page 03 says of class maps: areas, what is missing, and agreement with the truth."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.classes import CLASS_NAMES, NOSE, SKIN
from ohlora_lib.lab import segment as lab
from ohlora_lib.lab.segment import SegmentSettings
from ohlora_lib.measure.parse import Parsed
from ohlora_lib.measure.rendered import ParsedTruth, crop_maps
from ohlora_lib.measure.segmentation import segment
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import write_table
from ohlora_lib.toyworld import face

SETTINGS = {"out": "data/x", "seed": 0, "parser": "embedded", "rendered": 3, "columns": 4}


def parsed(maps, boxes=None, found=None):
    number = len(maps)
    boxes = np.tile(np.float32([0, 0, 128, 128]), (number, 1)) if boxes is None else boxes
    found = np.ones(number, bool) if found is None else found
    return Parsed(maps, np.zeros((*maps.shape, 3), np.uint8), boxes, found)


def blocks(*classes):
    """Maps (N, 224, 224) that are skin, with a corner of each of these classes."""
    maps = np.full((len(classes), 224, 224), SKIN, np.uint8)
    for at, number in enumerate(classes):
        maps[at, :56, :56] = number
    return maps


def test_overlay_colors_every_class_and_leaves_the_background_alone():
    faces = np.full((1, 224, 224, 3), 100, np.uint8)
    drawn = lab.overlay(faces, blocks(0))
    assert (drawn[0, :56, :56] == 100).all()
    wanted = (1 - lab.STRENGTH) * 100 + lab.STRENGTH * lab.COLORS[SKIN]
    np.testing.assert_allclose(drawn[0, 100, 100], wanted, atol=0.5)
    assert len({tuple(color) for color in lab.COLORS}) == len(CLASS_NAMES)


def test_true_maps_are_seen_in_the_frame_of_the_box():
    one = face(3, 0)
    maps = np.stack([one.parse_map] * 3)
    boxes = np.float32([[0, 0, 128, 128], [32, 16, 96, 112], [np.nan] * 4])
    found = np.array([True, True, False])
    whole, crop, none = crop_maps(maps, parsed(maps, boxes, found))
    centers = np.arange(128) * 224 // 128 + 1
    assert (whole[np.ix_(centers, centers)] == one.parse_map).mean() > 0.97
    centers = np.arange(64) * 224 // 64 + 1
    rows = np.arange(96) * 224 // 96 + 1
    assert (crop[np.ix_(rows, centers)] == one.parse_map[16:112, 32:96]).mean() > 0.97
    assert not none.any()


def test_agreement_is_one_with_itself_and_counts_what_was_read_instead():
    truth = blocks(4, 5, 6)
    said = truth.copy()
    said[2, :28, :56] = SKIN  # half of the nose
    same = ParsedTruth(truth, parsed(truth), truth, pd.DataFrame())
    other = ParsedTruth(truth, parsed(said), truth, pd.DataFrame())
    assert lab.iou(same)[["skin", "left eye", "nose"]].tolist() == [1, 1, 1]
    assert lab.iou(other)["nose"] == 0.5
    worst = lab.confusions(other).iloc[0]
    assert worst.tolist() == ["nose", "skin", "50.0%"]


def test_areas_tell_what_is_missing_and_where(tmp_path):
    maps = blocks(4, 5, 6)
    maps[2] = NOSE
    pictures = ImageSet(tmp_path / "images")
    idx = np.array([2, 5, 9])
    pictures.write(idx, np.zeros((3, 16, 16, 3), np.uint8))
    found = np.array([True, True, True])
    made = segment(pictures, idx, tmp_path / "out", lambda _: parsed(maps, found=found))
    areas = lab.measure_areas(made)
    assert areas.shares[4, 10, 10] == pytest.approx(1 / 3)
    assert lab.area_table(areas).at["left eye", "faces without it"] == 2
    lacking, names = lab.lacking(areas, most=2)
    assert lacking == [9, 2], "the face that is all nose lacks most"
    assert names[0].startswith("no background\nno skin")
    sentence, headline = lab.found(made, None)
    assert "100.0% of 3 images" in sentence and headline == {"images with a face": "3 of 3"}


def test_no_face_at_all_is_told_and_not_divided_by(tmp_path):
    pictures = ImageSet(tmp_path / "images")
    pictures.write([0], np.zeros((1, 16, 16, 3), np.uint8))
    nothing = parsed(np.zeros((1, 224, 224), np.uint8), found=np.array([False]))
    made = segment(pictures, np.array([0]), tmp_path / "out", lambda _: nothing)
    areas = lab.measure_areas(made)
    assert "0 of 1 images" in lab.failures_told(made, areas)
    assert lab.lacking(areas, 8) == ([], []) and "0.0%" in lab.windows_told(areas)
    assert lab.area_table(areas)["faces without it"].tolist() == [0] * 11


def test_only_the_kept_images_are_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(lab, "inside_root", lambda path: tmp_path / path)
    pictures = ImageSet(tmp_path / "images")
    pictures.write(range(4), np.zeros((4, 16, 16, 3), np.uint8))
    pictures.finish(pd.DataFrame({"index": range(4)}))
    write_table(pd.DataFrame({"idx": [1, 3]}), tmp_path / "kept.parquet")
    every = SegmentSettings(**SETTINGS, images="images", kept="")
    some = SegmentSettings(**SETTINGS, images="images", kept="kept.parquet")
    assert lab.images_to_segment(every, tmp_path)[1].tolist() == [0, 1, 2, 3]
    assert lab.images_to_segment(some, tmp_path)[1].tolist() == [1, 3]
