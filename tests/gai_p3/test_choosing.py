"""Choosing among generated faces: planted differences come out as they are."""

import numpy as np
import pytest

from ohlora_lib.gai_p3 import choosing
from ohlora_lib.gai_p3.choosing import NoiseOdds


def test_rejection_sampling_turns_generated_into_real_values():
    """Real values N(0.8, 1), generated ones N(0, 1): their true log-odds are 0.8 x - 0.32."""
    made = np.random.default_rng(0).normal(size=200_000)
    weights = choosing.rejection_weights(0.8 * made - 0.32, quantile=0.999)
    assert weights.min() > 0 and weights.max() == 1
    assert np.average(made, weights=weights) == pytest.approx(0.8, abs=0.03)
    assert np.sqrt(np.cov(made, aweights=weights)) == pytest.approx(1, abs=0.03)


def test_rejection_sampling_keeps_all_above_the_quantile():
    weights = choosing.rejection_weights(np.array([0.0, 1.0, 2.0, 3.0, 90.0]), quantile=0.5)
    np.testing.assert_allclose(weights, [np.exp(-2), np.exp(-1), 1, 1, 1])


def test_metropolis_hastings_turns_generated_into_real_values():
    """As above; the chains need no quantile."""
    made = np.random.default_rng(0).normal(size=(20_000, 30))
    at = choosing.metropolis_hastings(0.8 * made - 0.32, 1)
    found = made[np.arange(len(made)), at]
    assert found.mean() == pytest.approx(0.8, abs=0.03)
    assert found.std() == pytest.approx(1, abs=0.03)


def test_a_chain_stays_where_odds_are_best_and_always_rises():
    falling = np.array([[50.0, 0.0, -50.0], [-90.0, 0.0, 90.0]])
    assert choosing.metropolis_hastings(falling, 0).tolist() == [0, 2]


def test_noise_odds_know_a_planted_difference_and_nothing_else():
    """The second group's noise is that of the prior; the first's is narrower in one channel, so
    that its true log-odds are those of two normal distributions."""
    rng = np.random.default_rng(0)
    spread = np.array([0.8, 1.0])[:, None, None]
    draw = lambda n: [rng.normal(size=(n, 2, 4, 4)) * spread, rng.normal(size=(n, 2, 4, 4))]  # noqa: E731
    odds = NoiseOdds.fit(draw(4000))
    new = draw(500)
    x = new[0][:, 0]
    true = (0.5 * x**2 - 0.5 * (x / 0.8) ** 2 - np.log(0.8)).sum((1, 2))
    found = odds(new)
    assert np.corrcoef(found, true)[0, 1] > 0.97
    assert np.polyfit(true, found, 1)[0] == pytest.approx(1, abs=0.15)
    same = NoiseOdds.fit([rng.normal(size=(2000, 2, 4, 4))])
    assert np.abs(same([rng.normal(size=(500, 2, 4, 4))])).mean() < 0.25


def test_statistics_see_how_neighbors_go_together():
    values = np.zeros((1, 1, 2, 3))
    values[0, 0] = [[1, 1, 1], [-1, -1, -1]]
    np.testing.assert_allclose(choosing.statistics(values), [[0, 1, 1, -1]])


def test_resampling_draws_by_odds():
    log_odds = np.tile(np.log([0.7, 0.2, 0.1]), (20_000, 1))
    counts = np.bincount(choosing.resampled(log_odds, 0)) / 20_000
    np.testing.assert_allclose(counts, [0.7, 0.2, 0.1], atol=0.015)


def test_effective_share():
    assert choosing.effective_share(np.zeros((3, 4))) == 1
    assert choosing.effective_share(np.array([[0.0, -900.0]])) == 0.5
