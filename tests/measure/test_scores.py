"""Scores of whole batches against the definitions, pixel by pixel."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.classes import LEFT_EYE, NOSE, RIGHT_EYE, UPPER_LIP
from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.measure.scores import (
    ALL,
    FIRST,
    GEOMETRY,
    SECOND,
    ScoreError,
    complete_rows,
    of_first_algorithm,
    score,
    strongest_pair,
)


@pytest.mark.parametrize("name", ALL)
def test_a_batch_scores_as_the_loop_over_pixels_does(faces, name):
    ours, plain = score(faces.maps, faces.images, ALL)[name], faces.plain[name]
    near = np.isclose(ours, plain, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert near.all(), [(faces.names[i], ours[i], plain[i]) for i in np.flatnonzero(~near)]


def test_a_face_scores_the_same_alone_and_anywhere_in_a_batch(faces):
    """Pixels of several images lie in one list: none may be counted for its neighbor."""
    order = np.random.default_rng(0).permutation(len(faces.maps))[:9]
    together = score(faces.maps[order], faces.images[order], ALL)
    for row, image in enumerate(order):
        alone = score(faces.maps[[image]], faces.images[[image]], ALL)
        np.testing.assert_array_equal(together.iloc[row], alone.iloc[0])


def test_an_eye_that_fills_its_window_is_tilted_along_the_diagonal():
    """The farthest pair is two corners of 168 × 112 pixels: too many for the loop over pairs."""
    maps = np.full((1, 224, 224), 4, np.uint8)
    images = np.zeros((1, 224, 224, 3), np.uint8)
    eyes = score(maps, images, {"v1": "v1_eyes", "v2": "v2_eyes"})
    assert eyes["v1"][0] == 83 / 2
    assert eyes["v2"][0] == pytest.approx(111 * 167 / np.hypot(167, 111), rel=1e-12)


def test_among_equally_far_pairs_the_first_in_the_originals_order_decides():
    """A plus of two arms: the upright one is listed before the level one ends: its cosine is 0."""
    plus = np.ones((1, 224, 224), np.uint8)
    plus[0, 100, 80:87] = plus[0, 97:104, 83] = 4
    assert score(plus, np.zeros((1, 224, 224, 3), np.uint8))["eyes"][0] == 0.0


def test_hair_of_too_few_blocks_counts_as_none():
    """Strips of hair, each a column wider than the one before: one block, two, three … a row."""
    widths = np.arange(20, 60)
    maps = np.ones((len(widths), 224, 224), np.uint8)
    for one, width in zip(maps, widths, strict=True):
        one[130:174, 100 : 100 + width] = 10
    images = np.random.default_rng(4).integers(0, 256, (*maps.shape, 3), np.uint8)
    which = {"sure": "hairstyle_min_blocks", "original": "hairstyle"}
    scores = score(maps, images, which)
    some = scores[scores["original"] != 0.45]
    kept = some["sure"] == some["original"]
    first = kept.argmax()
    assert 5 < first < len(some) - 5
    assert (some["sure"][:first] == 0.45).all() and kept[first:].all()


@pytest.mark.parametrize(
    ("name", "width", "rows", "has_score"),
    [
        ("hairstyle", 23, 12, True),  # one block and its neighbors
        ("hairstyle", 22, 12, False),
        ("hairstyle_min_blocks", 42, 31, True),  # 20 x 20 blocks
        ("hairstyle_min_blocks", 41, 32, False),  # 19 x 21
    ],
)
def test_hairstyle_needs_its_number_of_blocks_and_no_more(name, width, rows, has_score):
    maps = np.ones((1, 224, 224), np.uint8)
    maps[0, 130 : 130 + rows, 100 : 100 + width] = 10
    images = np.random.default_rng(4).integers(0, 256, (*maps.shape, 3), np.uint8)
    assert (score(maps, images, {name: name})[name][0] != 0.45) == has_score


def test_a_random_noise_of_classes_is_scored_and_never_raises():
    rng = np.random.default_rng(3)
    maps = rng.integers(0, 11, (3, 224, 224))
    images = rng.integers(0, 256, (3, 224, 224, 3), np.uint8)
    assert np.isfinite(score(maps, images, ALL)).all(axis=None)


def test_scores_that_have_no_value_are_counted():
    """No hair: neither color nor length for the first algorithm. No nose: no pose."""
    maps = np.zeros((3, 224, 224), np.uint8)
    maps[0, 100:150, 100:150] = 10
    images = np.zeros((3, 224, 224, 3), np.uint8)
    undefined = score(maps, images, FIRST).isna().sum()
    wanted = {"hair_color": 2, "hair_length": 2, "pose": 3}
    assert undefined[undefined > 0].to_dict() == wanted
    assert np.isfinite(score(maps, images)).all(axis=None)


def test_no_image_gives_an_empty_table():
    table = score(np.zeros((0, 224, 224), np.uint8), np.zeros((0, 224, 224, 3), np.uint8))
    assert table.shape == (0, 8)


def test_columns_stand_in_the_order_of_the_property_cnns_outputs():
    assert tuple(SECOND) == PROPERTIES


@pytest.mark.parametrize(
    ("maps", "images", "said"),
    [
        (np.zeros((2, 128, 128), int), np.zeros((2, 128, 128, 3), np.uint8), "224"),
        (np.zeros((2, 224, 224)), np.zeros((2, 224, 224, 3), np.uint8), "class ids"),
        (np.zeros((2, 224, 224), int), np.zeros((1, 224, 224, 3), np.uint8), "2 maps"),
        (np.zeros((2, 224, 224), int), np.zeros((2, 224, 224, 3)), "uint8 images"),
        (
            np.full((1, 224, 224), 11),
            np.zeros((1, 224, 224, 3), np.uint8),
            "map 0 has a class id outside",
        ),
    ],
)
def test_what_cannot_be_scored_is_named(maps, images, said):
    with pytest.raises(ScoreError, match=said):
        score(maps, images)


def test_only_rows_with_a_finite_score_of_every_property_are_complete():
    raw = pd.DataFrame({"idx": range(5), **{name: np.arange(5.0) for name in SECOND}})
    raw["v1_pose"] = np.nan  # the first algorithm's scores do not count
    raw.loc[1, "pose"], raw.loc[2, "eyes"] = np.inf, np.nan
    assert complete_rows(raw)["idx"].tolist() == [0, 3, 4]
    with pytest.raises(ScoreError, match=r"1 of 2 faces have all eight scores.*notebook 03"):
        complete_rows(raw[:2])


def test_the_strongest_pair_may_be_negative_and_is_not_a_property_with_itself():
    names = ["eyes", "mouth", "pose"]
    matrix = pd.DataFrame([[1, 0.3, -0.6], [0.3, 1, 0.5], [-0.6, 0.5, 1]], names, names)
    assert strongest_pair(matrix) == ("eyes", "pose", -0.6)


def drawn(nose=(130, 112), left=(100, 80), right=(100, 144), mouth=(160, 90, 134), eye=9):
    """A class map with blocks: eyes, a nose and a mouth at (row, column)."""
    one = np.ones((1, 224, 224), np.uint8)
    for (row, column), name, half in (
        (left, LEFT_EYE, 4), (right, RIGHT_EYE, eye // 2), (nose, NOSE, 5)
    ):  # fmt: skip
        one[0, row - half : row + half + 1, column - half : column + half + 1] = name
    one[0, mouth[0] : mouth[0] + 6, mouth[1] : mouth[2] + 1] = UPPER_LIP
    return score(one, np.zeros((1, 224, 224, 3), np.uint8), GEOMETRY).iloc[0]


def test_turn_is_the_noses_distance_from_the_middle_of_the_eyes_in_eye_distances():
    assert drawn()["turn"] == pytest.approx(0)
    assert drawn(nose=(130, 104))["turn"] == pytest.approx(8 / 64)  # to the image's left
    assert drawn(nose=(130, 120))["turn"] == pytest.approx(-8 / 64)


def test_a_tilted_head_that_looks_ahead_does_not_turn():
    """Eyes and nose rotated together around the middle of the eyes."""
    angle = np.radians(20)
    along, down = (
        np.array([np.sin(angle), np.cos(angle)]),
        np.array([np.cos(angle), -np.sin(angle)]),
    )
    middle = np.array([100, 112])
    left, right, nose = (
        tuple(np.round(middle + offset).astype(int))
        for offset in (-32 * along, 32 * along, 30 * down)
    )
    assert abs(drawn(nose, left, right)["turn"]) < 0.01


def test_smile_is_the_width_of_the_mouth_in_eye_distances():
    assert drawn()["smile"] == pytest.approx(44 / 64)
    assert drawn(mouth=(160, 80, 144))["smile"] == pytest.approx(1)


def test_asymmetry_is_the_difference_of_the_eyes_areas():
    assert drawn()["asymmetry"] == 0
    assert drawn(eye=5)["asymmetry"] == pytest.approx((25 - 81) / (25 + 81))


def test_without_eyes_nose_or_mouth_there_is_no_geometry():
    empty = np.ones((1, 224, 224), np.uint8)
    assert score(empty, np.zeros((1, 224, 224, 3), np.uint8), GEOMETRY).isna().all(axis=None)


def test_first_algorithm_takes_the_place_of_the_second_where_it_has_a_score():
    table = pd.DataFrame({name: [1.0, 2.0] for name in PROPERTIES}).assign(idx=[3, 5])
    table = table.assign(**{column: [10.0, 20.0] for column in FIRST.values()})
    used = of_first_algorithm(table)
    assert (used[list(FIRST)].to_numpy() == [[10.0], [20.0]]).all()
    assert used["hairstyle"].tolist() == [1.0, 2.0] and used["idx"].tolist() == [3, 5]
