"""The one interface to all that steers, and its file."""

import numpy as np
import pytest

from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering.directions import (
    LinearDirections,
    ScaledDirections,
    load_linear,
    save_linear,
)
from ohlora_lib.steering.groups import Grouping, VectorError
from ohlora_lib.store import StoreError

GROUPING = Grouping(V7, (0.1, -0.4574, 1 / 3))
RNG = np.random.default_rng(0)
SHARED = LinearDirections(RNG.standard_normal((1, 3, 5)).astype(np.float32))
GROUPED = LinearDirections(RNG.standard_normal((8, 3, 5)).astype(np.float32), GROUPING)
CONTROLLING = LinearDirections(
    SHARED.vectors,
    None,
    RNG.standard_normal((1, 2, 5)).astype(np.float32),
    ("eyes", "mouth", "pose", "hair_length", "hairstyle"),
)
LATENTS = np.zeros((2, 5), np.float32)
REQUEST = np.array([[1.2, 0, 0], [0, -1.8, 0.6]])


def test_a_step_is_the_request_times_the_directions():
    step = SHARED.step(LATENTS, REQUEST)
    eyes, mouth, pose = SHARED.vectors[0]
    assert step.dtype == np.float32
    assert step == pytest.approx(np.stack([1.2 * eyes, -1.8 * mouth + 0.6 * pose]), abs=1e-6)


def test_each_latent_steps_along_its_group():
    step = GROUPED.step(LATENTS, REQUEST, np.array([7, 2]))
    assert step[0] == pytest.approx(1.2 * GROUPED.vectors[7, 0], abs=1e-6)
    assert step[1] == pytest.approx(
        -1.8 * GROUPED.vectors[2, 1] + 0.6 * GROUPED.vectors[2, 2], abs=1e-6
    )


def test_scaled_directions_step_farther_per_property():
    scaled = ScaledDirections(GROUPED, (2.0, 0.5, -1.0)).step(LATENTS, REQUEST, np.array([0, 0]))
    asked = GROUPED.step(LATENTS, REQUEST * [2, 0.5, -1], np.array([0, 0]))
    assert scaled == pytest.approx(asked)


@pytest.mark.parametrize("groups", [None, [0], [0, 8], [-1, 0], [0.0, 1.0]])
def test_grouped_directions_refuse_what_is_no_group(groups):
    with pytest.raises(VectorError, match="group"):
        GROUPED.step(LATENTS, REQUEST, groups and np.array(groups))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(VectorError, match=r"vectors are \(2, 4\): need \(N, 5\)"):
        SHARED.step(LATENTS[:, :4], REQUEST)
    with pytest.raises(VectorError, match=r"request is \(1, 3\)"):
        SHARED.step(LATENTS, REQUEST[:1])
    with pytest.raises(VectorError, match=r"need \(8, 3, D\)"):
        LinearDirections(SHARED.vectors, GROUPING)
    with pytest.raises(VectorError, match="5 directions per group need 5 names"):
        LinearDirections(CONTROLLING.vectors, None, CONTROLLING.controlled)
    with pytest.raises(VectorError, match="not finite"):
        LinearDirections(SHARED.vectors * np.nan)


@pytest.mark.parametrize("directions", [SHARED, GROUPED, CONTROLLING])
def test_a_file_gives_back_the_same_directions_and_groups(tmp_path, directions):
    save_linear(directions, tmp_path / "svm.safetensors")
    again = load_linear(tmp_path / "svm.safetensors")
    assert (
        np.array_equal(again.vectors, directions.vectors) and again.grouping == directions.grouping
    )
    assert again.names == directions.names and (again.controlled is None) == (
        directions.controlled is None
    )
    places = np.zeros(2, int)
    assert np.array_equal(again.every(2, places), directions.every(2, places))


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "svm.safetensors").write_bytes(b"half a file")
    with pytest.raises(StoreError, match="holds no directions"):
        load_linear(tmp_path / "svm.safetensors")
