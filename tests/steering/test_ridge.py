"""Ridge directions: one property moves as asked, the rest stays."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.ridge import Moments, RidgeConfig, _pooled, fit_ridge, moments, whitening
from ohlora_lib.steering.svm import fit_svm
from tests.steering.conftest import cosines

OWN = RidgeConfig(pooling=10)


def test_every_group_has_its_planted_direction_pointing_upwards(planted):
    directions, report = fit_ridge(planted.vectors, planted.scores, planted.grouping, OWN)
    assert cosines(directions.vectors, planted.truth).min() >= 0.9
    assert np.einsum("gpd,gpd->gp", directions.vectors, planted.truth) == pytest.approx(1, abs=0.15)
    expression = report[report["property"].isin(EXPRESSION)]
    # The noise is a fifth of the scores' variance.
    assert len(expression) == 24 and expression["r2"].between(0.7, 0.87).all()


@pytest.fixture(scope="module")
def entangled():
    """Vectors that vary together, seven correlated scores, and their truth."""
    rng = np.random.default_rng(6)
    mixing = rng.standard_normal((40, 40)) * np.geomspace(3, 0.03, 40)[:, None]
    vectors = (rng.standard_normal((8000, 40)) @ mixing).astype(np.float32)
    names = [*EXPRESSION, *V7, "hairstyle"]
    truth = np.linalg.pinv(mixing)[:, :7] + 0.5 * np.linalg.pinv(mixing)[:, :1]
    scores = vectors @ truth + 0.3 * rng.standard_normal((8000, 7))
    return vectors, pd.DataFrame(scores, columns=names), truth


def test_a_step_changes_its_score_by_1_and_no_other(entangled):
    vectors, scores, truth = entangled
    moved = fit_ridge(vectors, scores).directions.vectors[0] @ truth
    assert moved == pytest.approx(np.eye(3, 7), abs=0.06)
    normals = fit_svm(vectors, scores).directions.vectors[0] @ truth
    others = np.abs(normals / np.diag(normals)[:, None] - np.eye(3, 7)).max()
    assert others > 0.3, "on these vectors an SVM's normal should carry the others along"


def test_only_controlled_scores_stay(entangled):
    vectors, scores, truth = entangled
    free = (
        fit_ridge(vectors, scores, config=RidgeConfig(controlled=())).directions.vectors[0] @ truth
    )
    assert free[:, :3] == pytest.approx(np.eye(3), abs=0.06)
    assert np.abs(free[:, 3:]).max() > 0.2


def test_the_shared_directions_do_not_depend_on_a_scale_of_the_vectors(entangled):
    vectors, scores, _ = entangled
    directions, larger = (fit_ridge(vectors * by, scores).directions.vectors for by in (1, 100))
    assert larger == pytest.approx(100 * directions, rel=1e-3, abs=1e-3)


def test_an_empty_group_has_the_directions_of_all_images(planted):
    groups = planted.grouping.indices(planted.scores)
    vectors, scores = planted.vectors[groups != 5], planted.scores[groups != 5]
    by_group, report = fit_ridge(vectors, scores, planted.grouping)
    shared = fit_ridge(vectors, scores).directions.vectors[0]
    assert by_group.vectors[5] == pytest.approx(shared, abs=1e-5)
    assert not np.allclose(by_group.vectors[4], shared, atol=0.05)
    assert report[report["group"] == "lhl"]["r2"].isna().all()


def test_constant_and_duplicate_scores_are_no_obstacle(entangled):
    vectors, scores, truth = entangled
    twice = scores.assign(background_std=scores["background_mean"], hairstyle=0.0)
    moved = fit_ridge(vectors, twice).directions.vectors[0] @ truth[:, :6]
    assert moved == pytest.approx(np.eye(3, 6), abs=0.06)


def test_noise_has_no_r2(entangled):
    vectors, scores, _ = entangled
    noise = np.random.default_rng(1).standard_normal(len(scores))
    report = fit_ridge(vectors, scores.assign(hairstyle=noise)).report.set_index("property")["r2"]
    assert report["hairstyle"] < 0.01 and report["eyes"] > 0.8


def test_what_has_no_direction_is_named(entangled):
    vectors, scores, _ = entangled
    with pytest.raises(VectorError, match="'eyes' is the same in all rows"):
        fit_ridge(vectors, scores.assign(eyes=1.0))
    with pytest.raises(VectorError, match="'hair_color' in row 3 is nan"):
        fit_ridge(vectors, scores.assign(hair_color=scores["hair_color"].where(scores.index != 3)))
    with pytest.raises(VectorError, match="no scores of 'glass'"):
        fit_ridge(vectors, scores, config=RidgeConfig(controlled=("glass",)))
    with pytest.raises(VectorError, match="all vectors are the same"):
        fit_ridge(np.ones_like(vectors), scores)
    with pytest.raises(VectorError, match="pooling and stillness must be above 0"):
        RidgeConfig(pooling=0)


def test_ridge_by_hand():
    """Least squares on whitened vectors and its pseudo-inverse, with all scores as targets."""
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((10, 10))
    vectors = (rng.standard_normal((3000, 10)) @ mixing + 5).astype(np.float32)
    scores = pd.DataFrame(
        vectors @ rng.standard_normal((10, 4)) + rng.standard_normal((3000, 4)),
        columns=["hair_length", *EXPRESSION],
    )
    train = np.random.default_rng(2025).random(3000) < 0.8
    x, y = vectors[train].astype(float), scores[train]
    names = ("eyes", "mouth", "pose", "hair_length")
    weights = np.linalg.lstsq(x - x.mean(0), y[list(names)] - y[list(names)].mean(), rcond=None)[0]
    covariance = np.cov(x.T, bias=True)
    steps = covariance @ weights @ np.linalg.inv(weights.T @ covariance @ weights)  # (D, P)
    found, report = fit_ridge(vectors, scores)
    assert found.names == names
    assert found.vectors[0] == pytest.approx(steps.T[:3], rel=1e-3, abs=1e-4)
    assert found.controlled[0] == pytest.approx(steps.T[3:], rel=1e-3, abs=1e-4)
    rest = scores[~train][list(names)]
    predicted = (vectors[~train] - x.mean(0)) @ weights + y[list(names)].mean().to_numpy()
    r2 = 1 - ((rest - predicted) ** 2).sum() / ((rest - rest.mean()) ** 2).sum()
    assert report["r2"].tolist() == pytest.approx(r2.tolist(), rel=1e-5)
    assert report["property"].tolist() == list(names) and (report["images"] == 3000).all()


def test_few_images_support_few_components_and_tiny_ones_are_left_out():
    variances = np.array([4.0, 3, 2, 1, 1e-7])
    fit = Moments(12, np.zeros(5), np.zeros(1), np.diag(variances), np.zeros((5, 1)))
    whiten, unwhiten = whitening(fit)  # 12 images: 3 components
    assert whiten.shape == (5, 3)
    assert whiten.T @ fit.covariance @ whiten == pytest.approx(np.eye(3))
    assert whiten.T @ unwhiten == pytest.approx(np.eye(3))
    assert np.flatnonzero(np.abs(whiten).sum(1)).tolist() == [0, 1, 2]
    assert whitening(fit._replace(count=1000))[0].shape == (5, 4), "1e-7 is under the floor"


def test_pooling_is_a_number_of_images():
    """Weights of n images are the mean of their own and the shared ones, n to pooling."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 3))
    fit = moments(x, x @ np.float64([[1], [0], [0]]), np.arange(4000))
    fit = fit._replace(covariance=np.eye(3))
    shared = np.float64([[0], [1], [0]])
    weights = _pooled(fit, np.eye(3), shared, 1000)
    assert weights == pytest.approx(0.8 * fit.cross + 0.2 * shared)


def test_moments_are_means_and_covariances_over_the_rows():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20_000, 3)).astype(np.float32) + 2, rng.standard_normal((20_000, 2))
    rows = np.arange(0, 20_000, 2)  # more than one chunk
    fit = moments(x, y, rows)
    both = np.cov(np.column_stack([x[rows], y[rows]]).T, bias=True)
    assert fit.count == 10_000 and fit.vector == pytest.approx(x[rows].mean(0), rel=1e-5)
    assert fit.score == pytest.approx(y[rows].mean(0))
    assert fit.covariance == pytest.approx(both[:3, :3], abs=1e-5)
    assert fit.cross == pytest.approx(both[:3, 3:], abs=1e-5)


def test_companions_change_with_their_property_as_they_do_from_face_to_face(entangled):
    """hair_color accompanies pose by the slope of its regression on pose; nothing else changes."""
    vectors, scores, truth = entangled
    names = list(scores)
    config = RidgeConfig(tuple(names), companions=(("pose", "hair_color"),))
    directions = fit_ridge(vectors, scores, config=config).directions
    train = np.random.default_rng(config.seed).random(len(scores)) < config.train
    slope = np.polyfit(scores["pose"][train], scores["hair_color"][train], 1)[0]
    wanted = np.eye(3, 7)
    wanted[2, 3] = slope
    assert abs(slope) > 0.1 and directions.effects == pytest.approx(wanted, abs=1e-6)
    assert directions.vectors[0] @ truth == pytest.approx(wanted, abs=0.06)
