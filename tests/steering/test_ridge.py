"""Ridge directions: one property moves as asked, the rest stays."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.ridge import RidgeConfig, fit_ridge
from ohlora_lib.steering.svm import fit_svm
from tests.steering.conftest import cosines

OWN = RidgeConfig(pooling=10)


def test_every_group_has_its_planted_direction_pointing_upwards(planted):
    arrows, report = fit_ridge(planted.vectors, planted.scores, planted.grouping, OWN)
    assert cosines(arrows.vectors, planted.truth).min() >= 0.9
    assert np.einsum("gpd,gpd->gp", arrows.vectors, planted.truth) == pytest.approx(1, abs=0.15)
    expression = report[report["property"].isin(EXPRESSION)]
    # The noise is a fifth of the scores' variance.
    assert len(expression) == 24 and expression["r2"].between(0.7, 0.87).all()


@pytest.fixture(scope="module")
def entangled():
    """Vectors that vary together, seven scores that lean on each other, and their truth."""
    rng = np.random.default_rng(6)
    mixing = rng.standard_normal((40, 40)) * np.geomspace(3, 0.03, 40)[:, None]
    vectors = (rng.standard_normal((8000, 40)) @ mixing).astype(np.float32)
    names = [*EXPRESSION, *V7, "hairstyle"]
    truth = np.linalg.pinv(mixing)[:, :7] + 0.5 * np.linalg.pinv(mixing)[:, :1]
    scores = vectors @ truth + 0.3 * rng.standard_normal((8000, 7))
    return vectors, pd.DataFrame(scores, columns=names), truth


def test_a_step_moves_what_is_asked_by_as_much_and_holds_the_rest(entangled):
    vectors, scores, truth = entangled
    arrows = fit_ridge(vectors, scores).directions.vectors[0]
    moved = arrows @ truth
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


def test_the_shared_arrows_do_not_depend_on_a_scale_of_the_vectors(entangled):
    vectors, scores, _ = entangled
    arrows, larger = (fit_ridge(vectors * by, scores).directions.vectors for by in (1, 100))
    assert larger == pytest.approx(100 * arrows, rel=1e-3, abs=1e-3)


def test_an_empty_group_has_the_arrows_of_all_images(planted):
    groups = planted.grouping.indices(planted.scores)
    vectors, scores = planted.vectors[groups != 5], planted.scores[groups != 5]
    by_group, report = fit_ridge(vectors, scores, planted.grouping)
    shared = fit_ridge(vectors, scores).directions.vectors[0]
    assert by_group.vectors[5] == pytest.approx(shared, abs=1e-5)
    assert not np.allclose(by_group.vectors[4], shared, atol=0.05)
    assert report[report["group"] == "lhl"]["r2"].isna().all()


def test_what_never_varies_or_is_there_twice_needs_no_holding(entangled):
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
