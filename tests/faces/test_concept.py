"""The filter: who fits the concept."""

from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.concept import (
    FITS,
    Cutoffs,
    concept_conditions,
    concept_fitness,
    fits_concept,
    passes,
)

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/golden/published"


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no published tables in {PUBLISHED}")
def test_the_published_scores_leave_the_published_images():
    tables = [
        pd.read_csv(PUBLISHED / f"v3_cnn_inference_{name}_13k.csv", index_col="img_no")[
            [f"property_{name}_final_score"]
        ].set_axis([name], axis=1)
        for name in ("gender", "quality", "age", "glass")
    ]
    passed = passes(reduce(pd.DataFrame.join, tables))
    counts = {"gender": 11251, "quality": 12147, "age": 6857, "glass": 11142, "all": 4930}
    assert len(passed) == 13000 and passed.sum().to_dict() == counts
    kept = pd.read_csv(PUBLISHED / "v3_hairstyle_scores_4930.csv")["img_no"]
    assert passed.index[passed["all"]].tolist() == kept.tolist()


def scores(**changed):
    fits = {"gender": 0.92, "quality": 0.9, "age": 0.008, "glass": 0.01}
    return pd.DataFrame([fits | changed], index=[2000])


def test_a_score_on_its_cutoff_passes():
    assert passes(scores()).loc[2000].tolist() == [True] * 5


@pytest.mark.parametrize(
    ("name", "value"),
    [("gender", 0.9199), ("quality", 0.8999), ("age", 0.0081), ("glass", 0.0101), ("age", np.nan)],
)
def test_one_score_beyond_its_cutoff_keeps_the_image_out(name, value):
    passed = passes(scores(**{name: value}))
    assert not passed.loc[2000, [name, "all"]].any()
    assert passed.drop(columns=[name, "all"]).all(axis=None)


def test_a_cutoff_of_none_asks_nothing():
    """The first version filtered by gender and quality alone."""
    asked = Cutoffs(gender=0.5, age=None, glass=None)
    passed = passes(scores().drop(columns=["age", "glass"]), asked)
    assert list(passed) == ["gender", "quality", "all"] and passed.all(axis=None)


def test_missing_scores_are_named():
    with pytest.raises(ValueError, match="'glass'"):
        passes(scores().drop(columns="glass"))


YOUNG_WOMAN = {"gender": 0.5, "quality": 0.5, "age": 0.49, "glass": 0.49}


@pytest.mark.parametrize(
    ("name", "value", "condition"),
    [
        ("gender", 0.49, "female"),
        ("quality", 0.49, "good quality"),
        ("age", 0.5, "young"),
        ("glass", 0.5, "without glasses"),
    ],
)
def test_concept_asks_for_all_four_conditions(name, value, condition):
    table = concept_conditions(pd.DataFrame([YOUNG_WOMAN, YOUNG_WOMAN | {name: value}]))
    assert table.iloc[0].all()
    assert table.columns[~table.iloc[1]].tolist() == [condition, FITS]


def test_labels_fit_as_probabilities_do():
    labels = {"gender": [1, 0, 1], "quality": [1, 1, 1], "age": [0, 0, 1], "glass": [0, 0, 0]}
    assert fits_concept(labels).tolist() == [True, False, False]


def test_fitness_is_the_probability_of_all_four():
    given = {"gender": [0.9], "quality": [0.8], "age": [0.3], "glass": [0.1]}
    assert concept_fitness(given) == pytest.approx([0.9 * 0.8 * 0.7 * 0.9])
