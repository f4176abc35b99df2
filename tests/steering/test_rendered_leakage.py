"""A true change of eyes or mouth leaks little; a head that turns leaks more."""

import numpy as np
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.measure.parse import load_parser
from ohlora_lib.steering.meters import ParserMeter, Reading, StandardizedMeter
from ohlora_lib.steering.rendered_leakage import rendered_leakage
from ohlora_lib.toyworld import face


@pytest.fixture(scope="module")
def leakage():
    meter = ParserMeter(load_parser())
    population = np.stack([face(5, index).image for index in range(16)])
    return rendered_leakage(StandardizedMeter.fit(meter, meter(population).scores), faces=3)


def test_each_moves_itself_and_a_turned_head_other_scores_too(leakage):
    assert leakage.index.tolist() == list(EXPRESSION)
    for name in EXPRESSION:
        assert leakage.loc[name, name] == pytest.approx(1, abs=0.3)
    others = {name: leakage.loc[name].drop(name).mean() for name in EXPRESSION}
    assert max(others["eyes"], others["mouth"]) < 0.05 < others["pose"] * 2 < 0.5


def test_changes_are_sizes_relative_to_the_own_score():
    """The meter's own score falls by 2 while another rises or falls by 1: the mean size is 0.5."""

    class Alternating:
        properties = (*EXPRESSION, "hairstyle")
        calls = 0

        def __call__(self, images):
            high = self.calls % 2
            self.calls += 1
            scores = np.zeros((len(images), 4))
            scores[:, :3] = -2.0 * high
            scores[::2, 3], scores[1::2, 3] = high, -high
            return Reading(scores)

    found = rendered_leakage(Alternating(), faces=4)
    assert found.loc["mouth"].tolist() == [1, 1, 1, 0.5]
