"""The 50 requests, and what is computed from the scores measured for them."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.responses import MIDDLE, REQUESTS, responses


def test_the_50_requests_are_the_published_ones():
    assert REQUESTS.shape == (50, 3) and len(np.unique(REQUESTS, axis=0)) == 50
    assert np.allclose(REQUESTS.mean(axis=0), MIDDLE, atol=1e-6)
    assert REQUESTS.min(axis=0) == pytest.approx([-1.2, -1.8, -1.8])
    assert REQUESTS.max(axis=0) == pytest.approx([1.2, 1.8, 0.6])
    assert REQUESTS[1] == pytest.approx([-1.2, -1.8, -1.2]), "pose varies fastest"


def test_responses_agree_with_scipy_latent_by_latent():
    rng = np.random.default_rng(0)
    properties = ("hairstyle", "pose", "mouth", "eyes")
    scores = rng.standard_normal((4, 50, 4))
    scores[..., 3] += 0.7 * REQUESTS[:, 0]
    scores[..., 1] -= 0.4 * REQUESTS[:, 2]
    found = responses(scores, properties)
    for row in range(4):
        for place, name in enumerate(EXPRESSION):
            own, requested = scores[row, :, properties.index(name)], REQUESTS[:, place]
            slope, spearman = np.polyfit(requested, own, 1)[0], spearmanr(own, requested)[0]
            assert found[f"{name}_corr"][row] == pytest.approx(pearsonr(own, requested)[0])
            assert found[f"{name}_spearman"][row] == pytest.approx(spearman)
            assert found[f"{name}_slope"][row] == pytest.approx(slope)


def test_responses_of_a_perfect_latent_and_of_a_constant_one():
    scores = np.zeros((2, 50, 4))
    scores[0, :, :3] = REQUESTS
    scores[0, :, 3] = -0.5 * REQUESTS[:, 1]  # moves with the mouth, the other way
    found = responses(scores, (*EXPRESSION, "hair_length"))
    for name in EXPRESSION:
        assert found[f"{name}_corr"][0] == pytest.approx(1)
        assert found[f"{name}_slope"][0] == pytest.approx(1)
        assert found[f"{name}_monotonic"].tolist() == [1, 0]
        assert np.isnan(found[f"{name}_corr"][1]), "a constant score has no correlation"
    assert found["mouth_lowest"].tolist() == pytest.approx([-1.8, 0])
    assert found["pose_highest"].tolist() == pytest.approx([0.6, 0])
    assert found["mouth_to_hair_length"][0] == pytest.approx(-0.5)
    assert found["mouth_leakage"][0] == pytest.approx(0.5 / 3)
    assert found["eyes_leakage"][0] == pytest.approx(0, abs=1e-9)


def test_monotonic_counts_steps_along_its_own_property():
    scores = np.zeros((1, 50, 3))
    scores[0, :, 1] = np.where(REQUESTS[:, 1] > 0, 1.0, 0.0)  # one of four mouth steps rises
    found = responses(scores, EXPRESSION)
    assert found["mouth_monotonic"][0] == pytest.approx(1 / 4)
    assert found["pose_monotonic"][0] == found["eyes_monotonic"][0] == 0


def test_what_only_the_geometry_sees_is_no_leakage():
    """A turning head moves the nose: its slope is kept, but it does not count as leakage."""
    scores = np.zeros((1, 50, 4))
    scores[0, :, :3], scores[0, :, 3] = REQUESTS, REQUESTS[:, 2]
    found = responses(scores, (*EXPRESSION, "turn"))
    assert found["pose_to_turn"][0] == pytest.approx(1)
    assert found["pose_leakage"][0] == pytest.approx(0, abs=1e-9)
