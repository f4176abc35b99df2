"""Simple directions, their side effects and linear fits, on planted data."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.steering.entanglement import (
    largest_side_effect,
    linear_r2,
    mean_difference,
    side_effects,
)


def test_the_mean_difference_is_that_of_the_highest_and_the_lowest_fifth():
    values = np.array([5.0, 1, 4, 2, 3, 9, 0, 8, 7, 6])
    vectors = np.stack([values, np.ones(10)], 1)
    # highest two: 9 and 8; lowest two: 0 and 1
    np.testing.assert_allclose(mean_difference(vectors, values), [8.5 - 0.5, 0])
    np.testing.assert_allclose(mean_difference(vectors, values, fraction=0.01), [9, 0])


def test_side_effects_are_in_standard_deviations_per_standard_deviation_of_the_edited_one():
    change = pd.DataFrame(
        [[2.0, 1.0, -3.0], [0.5, 4.0, 0.0]], ["eyes", "mouth"], ["eyes", "mouth", "smile"]
    )
    std = pd.Series({"smile": 3.0, "mouth": 2.0, "eyes": 0.5})
    effects = side_effects(change, std)
    np.testing.assert_allclose(effects.loc["eyes"], [1, 0.5 / 4, -1 / 4])
    np.testing.assert_allclose(effects.loc["mouth"], [1 / 2, 1, 0])


def test_the_largest_side_effect_may_be_negative_and_is_never_the_edited_property():
    effects = pd.DataFrame(
        [[1.0, 0.2, -0.6], [0.5, 1.0, 0.1]], ["eyes", "mouth"], ["eyes", "mouth", "smile"]
    )
    assert largest_side_effect(effects) == ("eyes", "smile", -0.6)
    assert largest_side_effect(effects[["eyes", "mouth"]]) == ("mouth", "eyes", 0.5)


def test_r2_is_one_for_a_sum_small_for_a_product_and_missing_for_too_few_rows():
    w = np.random.default_rng(1).standard_normal((2000, 12))
    values = pd.DataFrame({"straight": w[:, 0] + w[:, 1], "bent": w[:, 0] * w[:, 1]})
    r2 = linear_r2(w, values)
    assert r2["straight"] > 0.99 and r2["bent"] < 0.1
    assert linear_r2(w[:20], values[:20]).isna().all()
    # Held out: values that are noise on the last rows are not explained, whatever the fit.
    noisy = values.copy()
    noisy.loc[1600:, "straight"] = np.random.default_rng(2).standard_normal(400)
    assert linear_r2(w, noisy)["straight"] < 0.1


def test_r2_is_that_of_the_closed_form():
    rng = np.random.default_rng(3)
    w, y = rng.standard_normal((100, 4)) + 2, rng.standard_normal((100, 1))
    x, mean = w[:80] - w[:80].mean(0), y[:80].mean(0)
    square = x.T @ x
    square += np.eye(4) * 0.01 * np.trace(square) / 4
    missed = (
        y[80:] - mean - (w[80:] - w[:80].mean(0)) @ np.linalg.solve(square, x.T @ (y[:80] - mean))
    )
    expected = 1 - np.square(missed).mean() / y[80:].var()
    assert linear_r2(w, pd.DataFrame(y, columns=["y"]))["y"] == pytest.approx(expected, rel=1e-9)
