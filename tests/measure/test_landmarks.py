"""The external judge: what its measures mean, and that it reads faces where it is installed."""

import pickle

import numpy as np
import pytest

from ohlora_lib.checkpoints import WeightsError
from ohlora_lib.measure import landmarks
from ohlora_lib.measure.landmarks import (
    CROP,
    INNER_MOUTH,
    IRISES,
    LEFT_EYE,
    LIPS,
    MOUTH_CORNERS,
    OUTER_CORNERS,
    RIGHT_EYE,
    SIZE,
    FaceLandmarker,
    crop,
    load_judge,
    measures,
)
from ohlora_lib.toyworld import render, sample_attributes, texture_seed
from ohlora_lib.toyworld.attributes import GLASSES
from ohlora_lib.toyworld.face_sets import DEFECTS_BELOW, TEST_SEED

judge = load_judge()
needs_judge = pytest.mark.skipif(
    judge is None, reason="not installed: python -m ohlora_lib.checkpoints fetch landmarks"
)


@pytest.fixture
def points() -> np.ndarray:
    """A face that looks ahead: eyes 20 wide and 6 high, lips 8 apart, mouth 40 wide."""
    one = np.zeros((1, 478, 3), np.float32)
    for eye, left in ((RIGHT_EYE, 60), (LEFT_EYE, 120)):
        corners, *lids = eye
        one[0, list(corners)] = (left, 100, 0), (left + 20, 100, 0)
        for place, (upper, lower) in enumerate(lids):
            one[0, upper], one[0, lower] = (
                (left + 7 + 6 * place, 97, 0),
                (left + 7 + 6 * place, 103, 0),
            )
    one[0, list(IRISES)] = (70, 100, 0), (130, 100, 0)
    one[0, list(LIPS)] = (100, 150, 0), (100, 158, 0)
    one[0, list(INNER_MOUTH)] = (84, 154, 0), (116, 154, 0)
    one[0, list(MOUTH_CORNERS)] = (80, 154, 0), (120, 154, 0)
    return one


def test_a_face_that_looks_ahead(points):
    found = measures(points).iloc[0]
    assert found["ear"] == pytest.approx(6 / 20) and found["mar"] == pytest.approx(8 / 32)
    assert found["smile"] == pytest.approx(40 / 80)
    assert found[["yaw", "roll", "gaze", "asymmetry"]].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("axes, name", [((0, 2), "yaw"), ((0, 1), "roll")])
def test_angles_of_a_rotated_face(points, axes, name):
    """Her left eye, at the image's right, comes nearer (z < 0) and sinks as pose rises."""
    angle = np.radians(15)
    sign = -1 if name == "yaw" else 1
    first, second = points[..., axes[0]].copy(), points[..., axes[1]].copy()
    points[..., axes[0]] = first * np.cos(angle) - sign * second * np.sin(angle)
    points[..., axes[1]] = sign * first * np.sin(angle) + second * np.cos(angle)
    found = measures(points).iloc[0]
    assert found[name] == pytest.approx(15, abs=1e-3)
    assert found["ear"] == pytest.approx(6 / 20, abs=1e-3)  # distances in three dimensions


def test_one_closed_eye_is_asymmetry_and_irises_give_the_gaze(points):
    for upper, lower in LEFT_EYE[1:]:
        points[0, [upper, lower], 1] = 100
    points[0, list(IRISES), 0] += 5
    found = measures(points).iloc[0]
    assert found["asymmetry"] == pytest.approx(-6 / 20) and found["ear"] == pytest.approx(3 / 20)
    assert found["gaze"] == pytest.approx(0.5)
    assert list(OUTER_CORNERS) == [RIGHT_EYE[0][0], LEFT_EYE[0][1]]


def test_the_crop_is_the_stated_part_of_the_image():
    """A ramp in x and y: each pixel's value tells where in the image it was taken."""
    ramp = np.zeros((100, 100, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(100), np.arange(100)[:, None]
    x, y = (crop(ramp)[..., channel] * 255 for channel in (0, 1))
    left, top, right, bottom = (100 * side for side in CROP)
    pixel = (right - left) / SIZE
    assert x[SIZE // 2, 0] == pytest.approx(left + pixel / 2 - 0.5, abs=0.6)
    assert x[SIZE // 2, -1] == pytest.approx(right - pixel / 2 - 0.5, abs=0.6)
    assert y[0, SIZE // 2] == pytest.approx(top + pixel / 2 - 0.5, abs=0.6)
    assert y[-1, SIZE // 2] == pytest.approx(bottom - pixel / 2 - 0.5, abs=0.6)


def test_without_the_file_or_the_package_there_is_no_judge(tmp_path, monkeypatch):
    assert load_judge(tmp_path) is None
    (tmp_path / landmarks.FILE).write_bytes(b"anything")
    monkeypatch.setattr(landmarks, "_runtime", lambda: None)
    assert load_judge(tmp_path) is None


@needs_judge
def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / landmarks.FILE
    path.write_bytes(b"TFL3 no model")
    with pytest.raises(WeightsError, match=f"{path.name} is damaged"):
        FaceLandmarker(path)(np.zeros((1, 64, 64, 3), np.uint8))


@needs_judge
def test_it_agrees_with_the_truth_of_rendered_faces_and_finds_none_in_noise():
    people = (sample_attributes(TEST_SEED, index) for index in range(120))
    good = [
        (index, one)
        for index, one in enumerate(people)
        if one.quality >= DEFECTS_BELOW and one.glasses < GLASSES
    ][:80]
    images = np.stack([render(one, texture_seed(TEST_SEED, i)).image for i, one in good])
    again = pickle.loads(pickle.dumps(judge))  # as worker processes get it
    found = again.measure(images)
    assert found.notna().all(axis=None)
    for name, attribute, least in (
        ("yaw", "pose", 0.98),
        ("ear", "eyes", 0.85),
        ("mar", "mouth", 0.75),
    ):
        truth = [getattr(one, attribute) for _, one in good]
        assert np.corrcoef(found[name], truth)[0, 1] > least, name
    noise = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), np.uint8)
    assert judge.measure(noise).isna().all(axis=None)
