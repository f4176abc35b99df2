"""Directions that bend with the latent find what straight ones miss."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering.directions import LinearDirections, PerPropertyDirections
from ohlora_lib.steering.jacobian import (
    GradientConfig,
    JacobianDirections,
    gradient,
    local,
    read_gradient,
    slopes_of,
    write_gradient,
)
from tests.steering.conftest import SIZE, cosines

CONFIG = GradientConfig(hidden=128, epochs=20, rate=1e-2)
ONE = np.eye(3, dtype=np.float32)


@pytest.fixture(scope="module")
def bent():
    """Scores whose way up turns with the vector's first coordinate."""
    rng = np.random.default_rng(6)
    vectors = rng.standard_normal((6000, SIZE)).astype(np.float32)
    angle = 1.2 * np.tanh(vectors[:, 0])
    scores = pd.DataFrame(vectors[:, 7:8].astype(float), columns=["hair_length"])
    for at, name in enumerate(EXPRESSION, start=1):
        one, two = vectors[:, at], vectors[:, at + 3]
        scores[name] = np.cos(angle) * one + np.sin(angle) * two + 0.4 * vectors[:, 7]
    return vectors, scores


def truth(vectors, at):
    """The way up for property `at`, everywhere, hair held, (N, SIZE)."""
    angle = 1.2 * np.tanh(vectors[:, 0])
    found = np.zeros((len(vectors), SIZE))
    found[:, at + 1], found[:, at + 4] = np.cos(angle), np.sin(angle)
    return found


def test_slopes_are_those_of_the_function():
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    matrix = torch.arange(12.0).reshape(4, 3)
    assert torch.allclose(slopes_of(lambda v: v @ matrix, x), matrix.T.expand(5, -1, -1))


def test_gradients_are_of_length_1_and_follow_the_bend(bent):
    directions, report = gradient(*bent, CONFIG)
    assert (report["r2"] > 0.8).all()
    vectors = bent[0][:200]
    step = directions.step(vectors, np.tile(ONE[1], (200, 1)))
    assert np.allclose(np.linalg.norm(step, axis=1), 1, atol=1e-4)
    carried = truth(vectors, 1)
    carried[:, 7] = 0.4  # nothing is held
    assert cosines(step, carried).mean() > 0.85


def test_held_gradients_leave_the_held_score(bent):
    free, _ = gradient(*bent, CONFIG)
    config = replace(CONFIG, held=("hair_length",))
    held, _ = gradient(*bent, config)
    vectors = bent[0][:200]
    moved = [d.step(vectors, np.tile(ONE[0], (200, 1)))[:, 7] for d in (free, held)]
    assert np.abs(moved[1]).mean() < 0.3 * np.abs(moved[0]).mean()
    assert cosines(held.step(vectors, np.tile(ONE[0], (200, 1))), truth(vectors, 0)).mean() > 0.75


@pytest.mark.parametrize("held", [None, ("hair_length",)])
def test_gradients_come_back_from_disk_as_they_were(bent, tmp_path, held):
    vectors, scores = (part[:500] for part in bent)
    directions, _ = gradient(vectors, scores, replace(CONFIG, epochs=1, held=held))
    write_gradient(directions, tmp_path / "gradient.safetensors")
    read = read_gradient(tmp_path / "gradient.safetensors")
    request = np.tile(ONE[2], (9, 1))
    for again in (read, pickle.loads(pickle.dumps(read))):  # as another process gets it
        assert np.array_equal(
            directions.step(vectors[:9], request), again.step(vectors[:9], request)
        )


def test_repeated_latents_are_computed_once(bent):
    seen = []

    def slopes(x):
        seen.append(len(x))
        return torch.ones(len(x), 3, SIZE)

    vectors = np.repeat(bent[0][:3], 50, axis=0)
    step = JacobianDirections(slopes).step(vectors, np.tile(ONE[0], (150, 1)))
    assert seen == [3] and step.shape == (150, SIZE)


def test_local_slopes_go_through_generator_and_network():
    generator = Generator(GeneratorConfig(16, SIZE, SIZE, fmaps_base=64, fmaps_max=8), seed=2)
    names = ("hair_length", *EXPRESSION)

    def network(images):
        return images.mean((2, 3)) @ torch.eye(3, 4) + images[:, :1, 0, 0] * torch.ones(4)

    rng = np.random.default_rng(1)
    w = rng.standard_normal((64, SIZE)).astype(np.float32)
    directions = local(generator.eval(), network, names, w)
    with torch.inference_mode():
        before = network(generator.from_w(torch.tensor(w[:6]))).numpy()
        step = directions.step(w[:6], np.tile(0.02 * ONE[0], (6, 1)))
        after = network(generator.from_w(torch.tensor(w[:6] + step))).numpy()
    assert (np.sign(after - before)[:, names.index("eyes")] > 0).all()


def test_each_property_can_have_its_own_directions():
    rng = np.random.default_rng(0)
    first, second = (
        LinearDirections(rng.standard_normal((1, 3, SIZE)).astype(np.float32)) for _ in "ab"
    )
    mixed = PerPropertyDirections(eyes=first, mouth=second, pose=second)
    vectors = np.zeros((3, SIZE), np.float32)
    assert np.allclose(
        mixed.step(vectors, ONE), [first.vectors[0, 0], second.vectors[0, 1], second.vectors[0, 2]]
    )
