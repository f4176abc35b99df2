"""Pictures and class maps: deterministic, framed for the published crops, true to each other."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ohlora_lib.faces.classes import (
    HAIR,
    INNER_MOUTH,
    LEFT_BROW,
    LEFT_EYE,
    LOWER_LIP,
    NOSE,
    RIGHT_BROW,
    RIGHT_EYE,
    SKIN,
    UPPER_LIP,
)
from ohlora_lib.toyworld import (
    FaceAttributes,
    face,
    render,
    sample_attributes,
    texture_seed,
)

WOMAN = FaceAttributes(hair_length=0.7)
MAN = FaceAttributes(gender=0.05, makeup=0.0, hair_length=0.1, beard=0.3, hair_color=0.2)
# the property CNN's crops, fractions of height and width: y0, y1, x0, x1 (SPEC 2.2)
CROPS = {
    (LEFT_EYE, RIGHT_EYE): (3 / 8, 9 / 16, 1 / 4, 3 / 4),
    (UPPER_LIP, INNER_MOUTH, LOWER_LIP): (5 / 8, 13 / 16, 3 / 8, 5 / 8),
    (NOSE,): (7 / 16, 5 / 8, 11 / 32, 21 / 32),
}


@pytest.fixture(scope="module")
def faces():
    return [face(3, index, 128) for index in range(40)]


def test_an_index_names_a_picture():
    one, again = face(5, 12, 64), face(5, 12, 64)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.parse_map, again.parse_map)
    direct = render(sample_attributes(5, 12), texture_seed(5, 12), 64)
    assert np.array_equal(one.image, direct.image)


def test_a_face_looks_the_same_on_any_machine():
    # mean of R, G, B over 4 × 4 tiles of face 7 of seed 0, from the first release
    tiles = cv2.resize(
        face(0, 7, 64).image.astype(np.float32), (4, 4), interpolation=cv2.INTER_AREA
    )
    first = np.array(
        [
            [218.3, 193.0, 218.6, 217.2],
            [208.4, 163.1, 191.3, 220.6],
            [202.2, 151.6, 177.9, 223.1],
            [212.6, 161.0, 199.0, 222.3],
        ]
    )
    assert np.abs(tiles.mean(-1) - first).max() < 1.5


def test_sizes_show_the_same_face():
    small, large = face(4, 3, 128), face(4, 3, 256)
    shrunk = cv2.resize(large.image, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small.image).mean() < 4
    assert (large.parse_map[::2, ::2] == small.parse_map).mean() > 0.96


def test_a_size_that_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(ValueError, match="size 16"):
        render(WOMAN, 0, 16)


def _changed(one, other):
    return np.abs(one.image.astype(int) - other.image).max(-1) > 0


@pytest.mark.parametrize("edit", [{"eyes": 0.9}, {"gaze": 0.8}, {"iris": 0.9}])
def test_editing_the_eyes_changes_the_eyes_only(edit):
    changed = _changed(render(WOMAN, 1, 128), render(replace(WOMAN, **edit), 1, 128))
    rows, columns = np.nonzero(changed)
    assert len(rows) > 20
    assert rows.min() > 0.34 * 128 and rows.max() < 0.56 * 128
    assert columns.min() > 0.22 * 128 and columns.max() < 0.78 * 128


def test_editing_the_background_leaves_the_person_alone():
    one = render(MAN, 1, 128)
    other = render(replace(MAN, background_mean=0.9, background_kind=0.7), 1, 128)
    inside = cv2.erode((one.parse_map > 0).astype(np.uint8), np.ones((3, 3))) > 0
    assert _changed(one, other)[:40].mean() > 0.3
    assert _changed(one, other)[inside].mean() < 0.02, "no more than seams between soft edges"


def test_editing_hair_color_keeps_its_shape_and_strands():
    one, other = render(WOMAN, 1, 128), render(replace(WOMAN, hair_color=0.9), 1, 128)
    assert np.array_equal(one.parse_map, other.parse_map)
    hair = one.parse_map == HAIR
    dark, light = (x.image.mean(-1)[hair] for x in (one, other))
    assert np.corrcoef(dark, light)[0, 1] > 0.7


@pytest.mark.parametrize("person", [WOMAN, MAN], ids=["woman", "man"])
@pytest.mark.parametrize("pose", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_features_lie_inside_the_published_crops_at_any_turn(person, pose):
    for extreme in (0.1, 0.9):
        person_ = replace(
            person, pose=pose, eye_spacing=extreme, nose_length=extreme, smile=extreme
        )
        person_ = replace(
            person_, face_length=extreme, nose_width=extreme, mouth=extreme, jaw=extreme
        )
        parse_map = render(person_, 2, 128).parse_map
        for classes, (y0, y1, x0, x1) in CROPS.items():
            rows, columns = np.nonzero(np.isin(parse_map, classes))
            inside = (rows >= y0 * 128) & (rows < y1 * 128)
            inside &= (columns >= x0 * 128) & (columns < x1 * 128)
            assert inside.mean() > 0.98, (classes, pose, extreme)


def test_eyes_lie_in_the_windows_that_the_scores_search(faces):
    for one in faces:
        parse_map = cv2.resize(one.parse_map, (224, 224), interpolation=cv2.INTER_NEAREST)
        for eye, columns in ((LEFT_EYE, slice(0, 168)), (RIGHT_EYE, slice(56, 224))):
            window = parse_map[56:140, columns] == eye
            assert window.sum() == (parse_map == eye).sum() > 0


def test_face_is_about_half_as_wide_as_the_frame(faces):
    widths = [np.isin(one.parse_map, range(1, 10)).any(0).sum() / 128 for one in faces]
    assert 0.42 < np.median(widths) < 0.58


def test_every_class_is_in_nearly_every_map(faces):
    counts = np.mean([[(one.parse_map == i).any() for i in range(11)] for one in faces], 0)
    assert counts[[0, SKIN, LEFT_EYE, RIGHT_EYE, NOSE, UPPER_LIP, LOWER_LIP, HAIR]].min() == 1
    assert counts[[LEFT_BROW, RIGHT_BROW, INNER_MOUTH]].min() > 0.85


def test_colors_of_each_class_are_those_of_the_thing(faces):
    def mean_color(one, *classes):
        return one.image[np.isin(one.parse_map, classes)].mean(0)

    def red(color):
        return color[0] / color.sum()

    good = [one for one in faces if one.attributes.quality > 0.75]
    skins = [mean_color(one, SKIN) for one in good]
    lips = [mean_color(one, UPPER_LIP, LOWER_LIP) for one in good]
    noses = [mean_color(one, NOSE) for one in good]
    brows = [mean_color(one, LEFT_BROW, RIGHT_BROW) for one in good]
    hair = [mean_color(one, HAIR).mean() for one in good]
    for skin, lip, nose, brow in zip(skins, lips, noses, brows, strict=True):
        assert red(lip) > red(skin) + 0.005
        assert np.abs(nose - skin).max() < 50, "a nose is lit skin"
        assert brow.mean() < skin.mean()
    assert np.corrcoef(hair, [one.attributes.hair_color for one in good])[0, 1] > 0.95


def test_eyes_hold_whites_and_dark_pupils():
    woman = render(replace(WOMAN, eyes=0.7), 3, 256)
    light = woman.image.mean(-1)
    for eye in (LEFT_EYE, RIGHT_EYE):
        pixels = light[woman.parse_map == eye]
        assert pixels.max() > 215 and pixels.min() < 60


def test_quality_spoils_pictures_only_when_it_is_low():
    clean, fair, poor = (render(replace(WOMAN, quality=q), 4, 128) for q in (0.99, 0.8, 0.1))
    assert np.array_equal(clean.image, fair.image)
    assert _changed(clean, poor).mean() > 0.02


@pytest.mark.parametrize("kind", [0.05, 0.2, 0.4, 0.55, 0.7, 0.95])
def test_every_defect_is_visible_and_leaves_a_face(kind):
    poor = render(replace(WOMAN, quality=0.1, defect_kind=kind), 4, 128)
    assert _changed(render(WOMAN, 4, 128), poor).mean() > 0.02
    assert (poor.parse_map == SKIN).mean() > 0.08 and (poor.parse_map == HAIR).mean() > 0.08


def test_glasses_are_drawn_over_the_eyes_and_not_into_the_map():
    plain, worn = render(WOMAN, 5, 128), render(replace(WOMAN, glasses=0.9), 5, 128)
    assert _changed(plain, worn)[45:75].mean() > 0.08
    assert np.array_equal(plain.parse_map, worn.parse_map)
