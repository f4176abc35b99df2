"""Class maps on disk: areas, missing classes, errors against the truth, scores."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from ohlora_lib.faces.classes import CLASS_NAMES, LEFT_EYE, NOSE, RIGHT_BROW, RIGHT_EYE, SKIN
from ohlora_lib.measure import segmentation as measure
from ohlora_lib.measure.parse import Parsed
from ohlora_lib.measure.scores import SECOND, score
from ohlora_lib.measure.segmentation import segment
from ohlora_lib.store import StoreError
from ohlora_lib.store.images import ImageSet
from ohlora_lib.toyworld.renderer import face

IDX = np.array([2, 5, 9, 11])


def parsed(maps, found=None):
    number = len(maps)
    boxes = np.tile(np.float32([0, 0, 128, 128]), (number, 1))
    faces = np.random.default_rng(0).integers(0, 256, (*maps.shape, 3), np.uint8)
    return Parsed(maps, faces, boxes, np.ones(number, bool) if found is None else found)


def corners(*classes):
    """Maps (N, 224, 224) of skin, with a corner of 56 x 56 pixels of each of these classes."""
    maps = np.full((len(classes), 224, 224), SKIN, np.uint8)
    for at, number in enumerate(classes):
        maps[at, :56, :56] = number
    return maps


def made(folder, maps, found=None):
    images = ImageSet(folder / "images")
    idx = IDX[: len(maps)]
    images.write(idx, np.zeros((len(idx), 16, 16, 3), np.uint8))
    return segment(images, idx, folder / "out", lambda _: parsed(maps, found))


def test_areas_count_the_pixels_of_found_faces_only(tmp_path, monkeypatch):
    maps = corners(LEFT_EYE, RIGHT_EYE, NOSE, NOSE)
    maps[2] = NOSE
    found = np.array([True, True, True, False])
    segmentation = made(tmp_path, maps, found)
    monkeypatch.setattr(measure, "SHARD", 2)  # the last shard is a partial one
    areas, frequency = measure.class_areas(segmentation)
    assert areas.index.tolist() == [2, 5, 9]
    assert areas["left eye"].tolist() == [56**2, 0, 0]
    assert areas["nose"].tolist() == [0, 0, 224**2]
    assert frequency.shape == (11, 224, 224)
    assert frequency[LEFT_EYE, 10, 55] == frequency[NOSE, 100, 100] == pytest.approx(1 / 3)
    assert frequency[SKIN, 100, 100] == pytest.approx(2 / 3)
    table = measure.area_table(areas)
    assert table.at["left eye", "faces without it"] == 2
    assert table.at["left eye", "area (% of the frame)"] == pytest.approx(100 / 16 / 3)
    skin = [100 * 15 / 16, 100 * 15 / 16, 0]
    assert table.at["skin", "5th percentile"] == pytest.approx(np.quantile(skin, 0.05))
    assert table.at["skin", "95th percentile"] == pytest.approx(np.quantile(skin, 0.95))


def test_no_face_at_all_gives_an_empty_table(tmp_path):
    segmentation = made(tmp_path, np.zeros((1, 224, 224), np.uint8), np.array([False]))
    areas, frequency = measure.class_areas(segmentation)
    assert areas.shape == (0, 11) and not frequency.any()
    assert measure.area_table(areas)["faces without it"].tolist() == [0] * 11
    assert measure.eye_window_fraction(frequency) == 0


def test_the_eye_window_fraction_weights_every_pixel_of_both_eyes():
    frequency = np.zeros((11, 224, 224))
    frequency[LEFT_EYE, 56:58, 0] = 1.0  # two pixels inside the window of rows 56 to 167
    frequency[LEFT_EYE, 55, 0] = 0.5
    frequency[RIGHT_EYE, 167, 223] = 1.0
    frequency[RIGHT_EYE, 168, 223] = frequency[RIGHT_EYE, 100, 55] = 1.0
    frequency[LEFT_EYE, 100, 168] = 0.5
    assert measure.eye_window_fraction(frequency) == pytest.approx(3 / 6)


def test_the_confusion_is_that_of_scikit_learn_and_rows_are_the_truth():
    rng = np.random.default_rng(1)
    truth, read = rng.integers(0, 11, (2, 3, 8, 8), np.uint8)
    table = measure.class_confusion(truth, read)
    wanted = confusion_matrix(truth.ravel(), read.ravel(), labels=range(11))
    assert np.array_equal(table, wanted) and list(table.index) == list(CLASS_NAMES)
    scores = jaccard_score(truth.ravel(), read.ravel(), labels=range(11), average=None)
    np.testing.assert_allclose(measure.iou(table), scores)


def test_half_a_nose_read_as_skin_is_an_iou_of_one_half_and_the_worst_error():
    truth = corners(LEFT_EYE, RIGHT_EYE, NOSE)
    read = truth.copy()
    read[2, :28, :56] = SKIN
    table = measure.class_confusion(truth, read)
    iou = measure.iou(table)
    assert iou["nose"] == 0.5 and iou[["left eye", "right eye"]].tolist() == [1, 1]
    assert iou["hair"] == 0  # absent from both
    worst = measure.worst_confusions(table, most=2)
    assert worst.iloc[0].tolist() == ["nose", "skin", 0.5]
    assert worst.iloc[1]["of its pixels"] == 0 and len(worst) == 2


def test_errors_are_fractions_of_the_true_class():
    table = pd.DataFrame(0, list(CLASS_NAMES), list(CLASS_NAMES))
    table.loc["nose", ["nose", "skin"]] = [6, 4]
    table.loc["skin", ["skin", "nose"]] = [1000, 100]
    worst = measure.worst_confusions(table, most=2)
    assert worst["true class"].tolist() == ["nose", "skin"]
    assert worst["read as"].tolist() == ["skin", "nose"]
    assert worst["of its pixels"].tolist() == [0.4, 100 / 1100]


def test_scores_keep_the_images_numbers_and_have_none_where_no_face_was_found(tmp_path):
    maps = corners(LEFT_EYE, RIGHT_EYE, NOSE)
    segmentation = made(tmp_path, maps, np.array([True, False, True]))
    table = measure.segmentation_scores(segmentation, SECOND)
    assert table["idx"].tolist() == [2, 5, 9]
    assert table[list(SECOND)].isna().all(axis=1).tolist() == [False, True, False]
    stored = segmentation.read(segmentation.boxes)
    wanted = score(maps[[0, 2]], stored.faces[[0, 2]])
    np.testing.assert_array_equal(table.loc[[0, 2], list(SECOND)], wanted)


def areas_of(maps):
    """What `class_areas` returns for these maps."""
    areas = pd.DataFrame(measure.class_pixels(maps), columns=list(CLASS_NAMES))
    return areas, np.stack([(maps == number).mean(0) for number in range(len(CLASS_NAMES))])


def test_maps_of_faces_are_plausible_and_those_of_a_random_parser_are_not():
    maps = np.stack([face(3, index, 224).parse_map for index in range(24)])
    assert measure.implausible(*areas_of(maps)) == []
    brows = maps.copy()
    brows[:, :75] = RIGHT_BROW
    assert any("right brow covers" in one for one in measure.implausible(*areas_of(brows)))
    upside_down = measure.implausible(*areas_of(maps[:, ::-1]))
    assert {"the brow lies below the eye", "the eye lies below the nose"} <= set(upside_down)
    mirrored = measure.implausible(*areas_of(maps[:, :, ::-1]))
    assert mirrored == ["the left eye lies right of the right eye"]
    assert measure.implausible(*areas_of(np.full_like(maps, NOSE)))
    random = np.random.default_rng(0).integers(0, 11, maps.shape).astype(np.uint8)
    assert measure.implausible(*areas_of(random))


def test_images_without_any_face_are_told_with_the_remedy(tmp_path):
    segmentation = made(tmp_path, corners(NOSE, NOSE), np.array([False, False]))
    with pytest.raises(
        StoreError, match=r"found no face in any of 2 images.*check that the weights"
    ):
        measure.check_faces(segmentation)
    assert len(measure.check_faces(made(tmp_path / "b", corners(NOSE, NOSE)))) == 2
