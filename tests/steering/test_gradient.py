"""Gradient directions follow a score whose direction changes from latent to latent."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import LinearDirections, PerPropertyDirections
from ohlora_lib.steering.gradient import (
    GradientConfig,
    GradientDirections,
    fit_gradient,
    gradients_of,
    load_gradient,
    save_gradient,
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
    """The way up for property `at`, everywhere, hair controlled, (N, SIZE)."""
    angle = 1.2 * np.tanh(vectors[:, 0])
    found = np.zeros((len(vectors), SIZE))
    found[:, at + 1], found[:, at + 4] = np.cos(angle), np.sin(angle)
    return found


def test_gradients_are_those_of_the_function():
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    matrix = torch.arange(12.0).reshape(4, 3)
    assert torch.allclose(gradients_of(lambda v: v @ matrix, x), matrix.T.expand(5, -1, -1))


def test_gradients_are_of_length_1_and_follow_the_bend(bent):
    directions, report = fit_gradient(*bent, CONFIG)
    assert (report["r2"] > 0.8).all()
    vectors = bent[0][:200]
    step = directions.step(vectors, np.tile(ONE[1], (200, 1)))
    assert np.allclose(np.linalg.norm(step, axis=1), 1, atol=1e-4)
    carried = truth(vectors, 1)
    carried[:, 7] = 0.4  # nothing is controlled
    assert cosines(step, carried).mean() > 0.85


def test_controlled_gradients_keep_the_controlled_score(bent):
    free, _ = fit_gradient(*bent, CONFIG)
    config = replace(CONFIG, controlled=("hair_length",))
    controlled, _ = fit_gradient(*bent, config)
    vectors = bent[0][:200]
    moved = [d.step(vectors, np.tile(ONE[0], (200, 1)))[:, 7] for d in (free, controlled)]
    assert np.abs(moved[1]).mean() < 0.3 * np.abs(moved[0]).mean()
    assert (
        cosines(controlled.step(vectors, np.tile(ONE[0], (200, 1))), truth(vectors, 0)).mean()
        > 0.75
    )


@pytest.mark.parametrize("controlled", [None, ("hair_length",)])
def test_gradients_come_back_from_disk_as_they_were(bent, tmp_path, controlled):
    vectors, scores = (part[:500] for part in bent)
    directions, _ = fit_gradient(vectors, scores, replace(CONFIG, epochs=1, controlled=controlled))
    save_gradient(directions, tmp_path / "gradient.safetensors")
    read = load_gradient(tmp_path / "gradient.safetensors")
    request = np.tile(ONE[2], (9, 1))
    for again in (read, pickle.loads(pickle.dumps(read))):  # as another process gets it
        assert np.array_equal(
            directions.step(vectors[:9], request), again.step(vectors[:9], request)
        )


def test_repeated_latents_are_computed_once(bent):
    class Counting(torch.nn.Linear):
        seen = ()

        def forward(self, x):
            self.seen += (len(x),)
            return super().forward(x)

    network = Counting(SIZE, 3)
    vectors = np.repeat(bent[0][:3], 50, axis=0)
    step = GradientDirections(network).step(vectors, np.tile(ONE[1], (150, 1)))
    assert network.seen == (3,)
    row = network.weight.detach().numpy()[1]
    assert step == pytest.approx(np.tile(row / np.linalg.norm(row), (150, 1)), abs=1e-6)


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


def test_r2_is_measured_on_the_held_out_fifth_and_the_metric_is_the_vectors_own():
    """Two epochs on few vectors of unequal variances: training rows would fit better."""
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((300, 6)) * [0.1, 1, 2, 3, 4, 5]).astype(np.float32)
    names = [*EXPRESSION, "hair_length"]
    scores = pd.DataFrame(rng.standard_normal((300, 4)), columns=names)
    config = GradientConfig(hidden=16, epochs=2, controlled=("hair_length",))
    directions, report = fit_gradient(vectors, scores, config)
    rest = np.random.default_rng(2025).random(300) >= 0.8
    with torch.inference_mode():
        predicted = directions.network(torch.tensor(vectors[rest])).numpy()
    missed = np.square(predicted - scores[rest]).sum()
    spread = np.square(scores[rest] - scores[rest].mean()).sum()
    assert report["property"].tolist() == names
    assert report["r2"].tolist() == pytest.approx((1 - missed / spread).tolist(), rel=1e-4)
    own = np.cov(vectors[~rest].T, bias=True)
    assert directions.unwhiten @ directions.unwhiten.T == pytest.approx(own, rel=1e-3, abs=1e-4)


def test_a_controlled_step_is_the_shortest_in_whitened_vectors():
    """For a linear network, up to the damping, as ridge does it."""
    rng = np.random.default_rng(1)
    network, unwhiten = torch.nn.Linear(6, 4), np.diag([0.1, 1.0, 2, 3, 4, 5])
    torch.nn.init.normal_(network.weight, generator=torch.Generator().manual_seed(0))
    white = network.weight.detach().double().numpy() @ unwhiten
    directions = GradientDirections(network, unwhiten, damping=1e-9)
    vectors = rng.standard_normal((3, 6)).astype(np.float32)
    step = directions.step(vectors, ONE)
    assert step == pytest.approx((unwhiten @ np.linalg.pinv(white)).T[:3], rel=1e-3, abs=1e-5)
