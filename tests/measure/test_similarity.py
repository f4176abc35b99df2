"""Distances between sets of faces: known answers, and what each figure must notice."""

import numpy as np
import pytest

from ohlora_lib.measure.similarity import (
    compare,
    compare_with_reference,
    distances,
    frechet_distance,
    nearest_gap,
    neighborhoods,
    relative_path_length,
)


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
    reference = frechet_distance(x[:2000], x[2000:])
    assert frechet_distance(x[:2000], bound[2000:]) > 20 * reference


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


def test_recall_uses_the_balls_of_the_others_and_coverage_those_of_the_real_faces():
    """On a line, with the nearest neighbor: real balls have radius 1, those of the others 2."""
    real = np.array([[0.0], [1], [10], [11]])
    other = np.array([[2.5], [4.5], [100], [102]])
    given = neighborhoods(real, other, neighbors=1)
    # real 1 lies within 2 of 2.5; real 0 does not, nor do 10 and 11
    assert given["recall"] == 1 / 4
    assert given == {"precision": 0.0, "recall": 0.25, "density": 0.0, "coverage": 0.0}
    assert neighborhoods(other, real, neighbors=1) == {
        "precision": 1 / 4,
        "recall": 0.0,
        "density": 1 / 4,
        "coverage": 1 / 4,
    }


def test_precision_and_density_count_faces_recall_and_coverage_real_ones():
    real = np.array([[0.0], [1], [50], [52]])
    other = np.array([[0.2], [0.8], [0.9], [30]])
    given = neighborhoods(real, other, neighbors=1)
    # 0.2, 0.8 and 0.9 lie in the balls of 0 and 1: six pairs, three of four faces, two of four real
    assert given["precision"] == 3 / 4 and given["density"] == 6 / 4
    assert given["coverage"] == 2 / 4
    # Radii of the others: 0.6, 0.1, 0.1, 29.1. Within: 0 of 0.2; 1 of 0.9; 50 and 52 of 30.
    assert given["recall"] == 1.0


def test_the_reference_distance_is_that_of_two_disjoint_sets_of_the_same_size(rng):
    real, other = rng.standard_normal((45, 3)), rng.standard_normal((20, 3))
    table = compare_with_reference(real, other)
    assert table.index.tolist() == ["generated", "second rendered set"]
    wanted = frechet_distance(real[:20], other), frechet_distance(real[:20], real[20:40])
    assert table["frechet"].tolist() == pytest.approx(wanted)
    assert compare_with_reference(real, real[:20]).at["generated", "frechet"] < 1e-6
    assert table.at["generated", "coverage"] == neighborhoods(real[:20], other)["coverage"]


def test_a_path_is_as_long_as_its_steps_together_relative_to_its_ends():
    straight = np.array([[0.0, 0], [1, 0], [3, 0]])
    detour = np.array([[0.0, 0], [0, 4], [3, 4]])
    assert relative_path_length(np.stack([straight, detour])).tolist() == [1, 7 / 5]


def test_only_a_set_that_is_repeated_is_nearer_than_chance(rng):
    known, other = rng.standard_normal((2, 40, 8))
    copies = known + 0.1 * rng.standard_normal(known.shape)
    gap, p = nearest_gap(distances(copies, known), distances(copies, other))
    direct = distances(copies, other).min(1) - distances(copies, known).min(1)
    assert gap == pytest.approx(direct.mean()) and gap > 0 and p == 1 / 1001
    gap, p = nearest_gap(distances(copies, other), distances(copies, known))
    assert gap == pytest.approx(-direct.mean()) and p == 1
    new = rng.standard_normal((40, 8))
    assert nearest_gap(distances(new, known), distances(new, other))[1] > 0.05
