"""Distances between sets of faces: known answers, and what each figure must notice."""

import numpy as np
import pytest

from ohlora_lib.measure.similarity import compare, distances, frechet_distance, neighborhoods


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_frechet_distance_of_gaussians_is_the_closed_form(rng):
    # |m1 - m2|^2 + sum (s1 - s2)^2 for diagonal covariances, here made exact by whitening.
    x = rng.standard_normal((500, 4))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    first, second = x * [1, 2, 3, 4], x * [2, 2, 1, 4] + [1, 0, 0, -2]
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 4, abs=1e-8)


def test_frechet_distance_sees_a_correlation_that_no_single_feature_shows(rng):
    x = rng.standard_normal((4000, 2))
    bound = x @ np.linalg.cholesky([[1, 0.9], [0.9, 1]]).T
    floor = frechet_distance(x[:2000], x[2000:])
    assert frechet_distance(x[:2000], bound[2000:]) > 20 * floor


def test_frechet_distance_survives_features_that_never_vary(rng):
    x = np.concatenate([rng.standard_normal((50, 3)), np.ones((50, 2))], 1)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_copies_of_few_faces_are_precise_and_cover_little(rng):
    real = rng.standard_normal((600, 6))
    repeated = np.repeat(real[:6], 100, 0) + 1e-3 * rng.standard_normal((600, 6))
    figures = compare(real, repeated)
    assert figures.precision > 0.95 and figures.coverage < 0.15 and figures.recall < 0.1


def test_a_set_of_the_same_kind_covers_nearly_all(rng):
    figures = compare(rng.standard_normal((600, 6)), rng.standard_normal((600, 6)))
    assert figures.coverage > 0.9 and figures.density == pytest.approx(1, abs=0.15)


def test_faces_from_elsewhere_are_never_precise(rng):
    far = neighborhoods(rng.standard_normal((200, 6)), rng.standard_normal((200, 6)) + 20)
    assert set(far.values()) == {0.0}


def test_distances_are_those_of_the_plain_formula(rng):
    a, b = rng.standard_normal((5, 3)), rng.standard_normal((7, 3))
    assert np.allclose(distances(a, b), np.linalg.norm(a[:, None] - b[None], axis=2))


def test_too_few_faces_are_refused_with_the_count_needed(rng):
    with pytest.raises(ValueError, match="at least 6"):
        neighborhoods(rng.standard_normal((5, 3)), rng.standard_normal((50, 3)))
    with pytest.raises(ValueError, match="same space"):
        frechet_distance(rng.standard_normal((5, 3)), rng.standard_normal((5, 4)))
