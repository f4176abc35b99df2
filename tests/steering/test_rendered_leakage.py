"""A true change of eyes or mouth leaks little; a head that turns leaks more."""

import numpy as np
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.measure.parse import load_parser
from ohlora_lib.steering.meters import ParserMeter, Reading, StandardizedMeter
from ohlora_lib.steering.rendered_leakage import (
    changed_alone,
    identity_changes,
    rendered_leakage,
    rendered_responses,
    true_changes,
)
from ohlora_lib.toyworld import face


@pytest.fixture(scope="module")
def leakage():
    meter = ParserMeter(load_parser())
    population = np.stack([face(5, index).image for index in range(16)])
    return rendered_leakage(StandardizedMeter.fit(meter, meter(population).scores), faces=3)


class Alternating:
    """Reads pairs of images: its first three scores fall by 2, the last rises or falls by 1."""

    properties = (*EXPRESSION, "hairstyle")
    calls = 0

    def __call__(self, images):
        high = self.calls % 2
        self.calls += 1
        scores = np.zeros((len(images), 4))
        scores[:, :3] = -2.0 * high
        scores[::2, 3], scores[1::2, 3] = high, -high
        return Reading(scores)


def test_each_moves_itself_and_a_turned_head_other_scores_too(leakage):
    assert leakage.index.tolist() == list(EXPRESSION)
    for name in EXPRESSION:
        assert leakage.loc[name, name] == pytest.approx(1, abs=0.3)
    others = {name: leakage.loc[name].drop(name).mean() for name in EXPRESSION}
    assert max(others["eyes"], others["mouth"]) < 0.05 < others["pose"] * 2 < 0.5


def test_changes_are_sizes_relative_to_the_own_score():
    """The meter's own score falls by 2 while another rises or falls by 1: the mean size is 0.5."""
    found = rendered_leakage(Alternating(), faces=4)
    assert found.loc["mouth"].tolist() == [1, 1, 1, 0.5]


def test_true_changes_keep_their_sign_and_are_per_unit_of_the_own_score():
    """The meter's own score rises by 2, another falls by 1, one with both signs cancels out."""

    class Falling(Alternating):
        properties = (*EXPRESSION, "roll", "hairstyle")

        def __call__(self, images):
            scores = super().__call__(images).scores
            return Reading(np.insert(-scores, 3, scores[:, 0] / 2, axis=1))

    found = true_changes(Falling(), faces=4)
    assert found.index.tolist() == list(EXPRESSION)
    assert found.loc["mouth"].tolist() == [1, 1, 1, -0.5, 0]


def test_true_requests_are_followed_on_the_parser(monkeypatch):
    monkeypatch.setattr("ohlora_lib.steering.rendered_leakage.REFERENCE", 60)
    found = rendered_responses({"parser": ParserMeter(load_parser())}, faces=1)
    for name in EXPRESSION:
        assert found.loc[0, f"parser_{name}_corr"] > 0.95
        assert found.loc[0, f"parser_{name}_slope"] == pytest.approx(1, abs=0.3)


def test_faces_of_64_pixels_are_enlarged():
    (low, high), (small_low, small_high) = (
        changed_alone(["mouth"], 2, size)["mouth"] for size in (128, 64)
    )
    assert small_low.shape == low.shape == (2, 128, 128, 3)
    difference = np.abs(small_high.astype(int) - high).mean()
    assert 0 < difference < 0.5 * np.abs(high[0].astype(int) - high[1]).mean()


def test_identity_change_is_the_mean_distance_of_the_pairs():
    def identity(images):
        return None, images[:, 0, 0, :2] / 10.0

    low = np.zeros((2, 4, 4, 3), np.uint8)
    high = low.copy()
    high[0, :, :, 0], high[0, :, :, 1], high[1, :, :, 1] = 30, 40, 10
    assert identity_changes(identity, {"eyes": (low, high)}).to_dict() == {"eyes": 3.0}
