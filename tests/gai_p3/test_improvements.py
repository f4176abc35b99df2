"""Attempts to improve generated faces, on planted faults."""

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.gai_p3 import improvements, judges
from ohlora_lib.gai_p3.improvements import FittedNoise, RefinerPlan
from tests.gai_p3.networks import conditions, noisy_faces, trained_nvae


def test_refiner_changes_nothing_at_first_and_learns_a_planted_shift():
    originals = noisy_faces(24)
    darker = np.clip(originals.astype(int) - 30, 0, 255).astype(np.uint8)
    untrained = improvements.train_refiner(darker, originals, RefinerPlan(steps=0))
    np.testing.assert_array_equal(improvements.refined(untrained, darker), darker)
    plan = RefinerPlan(steps=25, batch=8, learning_rate=1e-2)
    refiner = improvements.train_refiner(darker, originals, plan)
    new = noisy_faces(8, 5).astype(int)
    again = improvements.refined(refiner, np.clip(new - 30, 0, 255).astype(np.uint8))
    assert np.abs(again - new).mean() < 0.5 * 30


def test_fitted_noise_has_the_planted_distribution():
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(4000, 2, 2, 2))
    coarse[:, 0, 0, 0] = 0.9 * coarse[:, 1, 1, 1] + 0.4 * coarse[:, 0, 0, 0] + 1
    fine = rng.normal([[[[0.5]], [[-1.0]]]], [[[[0.3]], [[2.0]]]], size=(4000, 2, 8, 8))
    fitted = FittedNoise.fit([coarse, fine])
    given = [torch.randn(20_000, 2, 2, 2), torch.randn(2000, 2, 8, 8)]
    found = [each.numpy() for each in fitted(given)]
    pair = np.cov(found[0][:, 0, 0, 0], found[0][:, 1, 1, 1])
    np.testing.assert_allclose(pair, [[0.97, 0.9], [0.9, 1]], atol=0.06)
    assert found[0][:, 0, 0, 0].mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(found[1].mean((0, 2, 3)), [0.5, -1.0], atol=0.03)
    np.testing.assert_allclose(found[1].std((0, 2, 3)), [0.3, 2.0], rtol=0.03)


def test_standard_noise_fitted_is_itself():
    """Of noise that already is N(0, 1), almost nothing changes."""
    network, given = trained_nvae(), conditions(4)
    values = [
        np.random.default_rng(0).normal(size=(3000, *s)) for s in network.config.latent_shapes
    ]
    fitted = FittedNoise.fit(values)
    seeds = np.arange(4)
    images = improvements.make_fitted(network, fitted, seeds, given)
    wanted = judges.make_faces(network, seeds, given)
    assert np.abs(images.astype(int) - wanted).mean() < 3


def table(**changes):
    """Three seeds of a baseline and of an attempt that is better in everything."""
    rows = []
    for seed in range(3):
        base = {"Fréchet ratio": 3.0 + seed, "recall": 0.5, "AUROC of a fresh judge": 0.9}
        better = {"Fréchet ratio": 2.9 + seed, "recall": 0.5, "AUROC of a fresh judge": 0.8}
        rows.append({"attempt": "baseline", "seed": seed} | base)
        rows.append({"attempt": "new", "seed": seed} | better)
    table = pd.DataFrame(rows)
    for column, value in changes.items():
        table.loc[(table["attempt"] == "new") & (table["seed"] == 2), column] = value
    return table


def test_an_attempt_is_kept_only_if_it_is_better_with_every_seed():
    assert improvements.why_dropped(table(), "new") == []
    worse = {"Fréchet ratio": 5.0, "recall": 0.4, "AUROC of a fresh judge": 1.3}
    for column, value in worse.items():
        assert improvements.why_dropped(table(**{column: value}), "new") == [column]
    with pytest.raises(ValueError, match="three seeds"):
        improvements.why_dropped(table().query("seed < 2"), "new")
