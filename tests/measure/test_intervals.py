"""Bootstrap intervals and the separation of two sets."""

import numpy as np
import pytest

from ohlora_lib.measure.intervals import Interval, bootstrap, mean_interval, separation
from ohlora_lib.measure.labels import auroc


def test_separation_is_the_auroc_with_ties():
    rng = np.random.default_rng(0)
    made, real = rng.integers(0, 9, 50), rng.integers(2, 12, 60)
    answers = np.repeat([0, 1], [50, 60])
    assert separation(made, real) == pytest.approx(auroc(np.concatenate([made, real]), answers))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        interval = mean_interval(rng.normal(3, 1, 40), draws=200)
        covered += interval.low <= 3 <= interval.high
    assert 85 <= covered <= 99


def test_pairs_stay_paired():
    before = np.random.default_rng(0).normal(0, 10, 50)
    after = before + 1
    change = bootstrap(lambda rows: (after[rows] - before[rows]).mean(), 50, draws=100)
    assert change.value == pytest.approx(1) and change.high - change.low < 1e-9
    assert f"{Interval(0.5, 0.25, 0.75):.1%}" == "50.0% (25.0% to 75.0%)"
