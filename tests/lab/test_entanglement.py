"""What moves along is measured on pictures, and straight lies what was planted straight."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.lab import entanglement
from ohlora_lib.lab.entanglement import ALONG


class Plain:
    """Draws vectors as themselves and reads attribute n off value n; eyes drag the mouth along."""

    def images(self, w):
        return w

    def annotate(self, w):
        values = {name: w[:, place].copy() for place, name in enumerate(ALONG)}
        values["mouth"] += 0.5 * values["eyes"]
        return SimpleNamespace(attributes=values)


def test_what_goes_along_is_in_the_matrix_and_told():
    world, w = Plain(), np.random.default_rng(0).standard_normal((4000, 12))
    read = world.annotate(w)
    matrix = entanglement.disturbance(world, world, w, read)
    assert np.allclose(np.diag(matrix), 1)
    assert 0.4 < matrix.loc["eyes", "mouth"] < 0.6 and abs(matrix.loc["eyes", "pose"]) < 0.1


def test_largest_of_the_three_and_of_all_that_is_watched_are_told():
    matrix = pd.DataFrame(0.0, list(EXPRESSION), list(ALONG))
    for name in EXPRESSION:
        matrix.loc[name, name] = 1.0
    matrix.loc["eyes", "pose"], matrix.loc["mouth", "smile"] = -0.11, 0.96
    told = entanglement.told(matrix, {}, {})
    assert "among the three: raising eyes by one deviation moves pose by -0.11" in told
    assert "watched: raising mouth by one deviation moves smile by +0.96" in told


def test_straightness_is_one_for_a_sum_and_little_for_a_product():
    w = np.random.default_rng(1).standard_normal((2000, 12))
    straight, bent = w[:, 0] + w[:, 1], w[:, 0] * w[:, 1]
    read = SimpleNamespace(attributes={"eyes": straight, "mouth": bent, "pose": straight})
    explained = entanglement.straightness(w, read)
    assert explained["eyes"] > 0.99 and explained["mouth"] < 0.1
    assert entanglement.straightness(w[:20], read) == {}
