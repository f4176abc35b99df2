"""Exploration: where numbers, methods and truncation lead."""

import numpy as np
import pytest

from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.exploration import (
    MEAN_OF,
    Exploration,
    SteeredFace,
    saved_faces,
    steered_faces,
)
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.method import Method, Start
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.ohlora import OhLora
from ohlora_lib.steering.sampling import Sampler, latents

CONFIG = GeneratorConfig(16, fmaps_base=128, fmaps_max=16, split_size=32)
NAMES = ("eyes", "mouth", "pose", "hair_color")


@pytest.fixture(scope="module")
def sampler():
    return Sampler(Generator(CONFIG, seed=3).eval(), "float32")


@pytest.fixture(scope="module")
def vectors(sampler):
    return sampler.vectors(latents(1, range(3), sampler.z_size))


@pytest.fixture
def directions(vectors):
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((1, 4, vectors.shape[1])).astype(np.float32) * vectors.std()
    return LinearDirections(steps[:, :3], controlled=steps[:, 3:], names=NAMES)


def test_saved_faces_give_the_images_of_the_file(sampler, vectors):
    steps = np.random.default_rng(1).standard_normal((3, 3, 512)).astype(np.float32)
    lora = OhLora(sampler.generator, vectors, steps)
    exploration = Exploration(sampler, {"saved": saved_faces(lora)}, 3)
    asked = {"eyes": 0.5, "mouth": -0.2, "pose": 0.1}
    assert np.array_equal(exploration.image(face=2, **asked), lora.image(**asked, face=2))


def test_a_method_moves_what_it_knows_by_its_own_directions(sampler, vectors, directions):
    method = Method(MethodSpec("ridge"), directions, factors=(2.0, 1.0, 1.0))
    exploration = Exploration(
        sampler, {"ridge": steered_faces(method, sampler, None, vectors)}, len(vectors)
    )
    assert exploration.face(1).names == NAMES
    point = exploration.point(1, "ridge", values={"eyes": 0.5, "hair_color": -1})
    steps = directions.every(1)[0]
    wanted = vectors[1] + 0.5 * 2.0 * steps[0] - steps[3]
    assert np.allclose(point.w, wanted, atol=1e-5)
    assert np.array_equal(
        exploration.image(1, eyes=0.5, hair_color=-1), sampler.images(np.float32(wanted)[None])[0]
    )


def test_numbers_of_a_recentered_method_start_at_the_mean(
    sampler, vectors, directions, monkeypatch
):
    method = Method(MethodSpec("ridge", recentered=True), directions)
    start = Start(vectors[:1], vectors[:1] + 1, None)
    monkeypatch.setattr(Method, "start", lambda *_: start)
    face = steered_faces(method, sampler, None, vectors)(0)
    steps = directions.every(1)[0]
    assert np.allclose(face.edited({}), start.vectors[0] - 0.6 * steps[2], atol=1e-5)


def test_truncation_moves_the_face_to_the_mean_and_keeps_the_edit(sampler, vectors):
    step = np.ones((1, 512), np.float32)
    exploration = Exploration(
        sampler, {"one": lambda face: SteeredFace(("eyes",), vectors[face], step)}, 3
    )
    z = latents(0, range(MEAN_OF), sampler.z_size)
    mean = sampler.vectors(z).mean(axis=0)
    for psi in (0, 0.5, 1):
        wanted = mean + psi * (vectors[0] - mean) + 2
        assert np.allclose(exploration.point(0, None, psi, {"eyes": 2}).w, wanted, atol=1e-5)


def test_vectors_before_w_are_mapped_and_layers_outside_keep_the_unedited_face(sampler):
    split = sampler.vectors(latents(1, range(1), sampler.z_size), "mapping_split2")
    step = np.full((1, split.shape[1]), 0.5, np.float32)
    face = SteeredFace(("eyes",), split[0], step, "mapping_split2", (0, 2), split[0])
    exploration = Exploration(sampler, {"one": lambda _: face}, 1)
    wanted = sampler.images(split + 2 * step, "mapping_split2", split, (0, 2))[0]
    assert np.array_equal(exploration.image(eyes=2), wanted)
    assert not np.array_equal(exploration.image(eyes=2), exploration.image())


def test_errors_name_what_is_wrong(sampler, vectors):
    step = np.ones((1, 512), np.float32)
    exploration = Exploration(
        sampler, {"one": lambda face: SteeredFace(("eyes",), vectors[face], step)}, 3
    )
    for arguments, message in (
        ({"face": 3}, "face 3: must be from 0 to 2"),
        ({"method": "two"}, "no method 'two': choose from one"),
        ({"truncation": 3}, "truncation 3: must be from 0 to 2"),
        ({"smile": 1}, "cannot move 'smile': use eyes"),
        ({"eyes": np.nan}, "must be finite"),
    ):
        with pytest.raises(VectorError, match=message):
            exploration.image(**arguments)
    with pytest.raises(VectorError, match="nothing to explore"):
        Exploration(sampler, {}, 3)
