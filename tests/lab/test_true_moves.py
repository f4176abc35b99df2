"""What a true movement moves along: little for eyes and mouth, more for a head that turns."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.lab import true_moves
from ohlora_lib.measure.parse import load_parser
from ohlora_lib.steering.meters import ParserMeter, StandardizedMeter
from ohlora_lib.toyworld import face


@pytest.fixture(scope="module")
def moves():
    meter = ParserMeter(load_parser())
    population = np.stack([face(5, index).image for index in range(16)])
    standardized = StandardizedMeter.fit(meter, meter(population).scores)
    return true_moves.true_moves(SimpleNamespace(parser=standardized), faces=3)


def test_each_moves_itself_and_a_turned_head_other_scores_too(moves):
    assert moves.index.tolist() == list(EXPRESSION)
    for name in EXPRESSION:
        assert moves.loc[name, name] == pytest.approx(1, abs=0.3)
    others = {name: moves.loc[name].drop(name).mean() for name in EXPRESSION}
    assert max(others["eyes"], others["mouth"]) < 0.05 < others["pose"] * 2 < 0.5


def test_it_is_told_beside_the_method_on_the_latents_tested_last(moves):
    rows = [{"method": "svm", "part": part} for part in ("test", "confirmation")]
    tested = pd.DataFrame(rows)
    for name in EXPRESSION:
        tested[f"parser_{name}_slope"] = 1.0
        tested[f"parser_{name}_leakage"] = [0.5, 0.25]
    for column in true_moves.comparison.UNWANTED:
        tested[column] = 0.0
    told = true_moves.told(moves, tested, "svm")
    assert "'svm' changes them by 0.250 / 0.250 / 0.250" in told
    assert f"/ {moves.loc['pose'].drop('pose').mean():.3f} per deviation" in told
