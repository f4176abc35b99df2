"""The filter: who fits the concept."""

from functools import reduce
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces import concept
from ohlora_lib.faces.concept import (
    FITS,
    Cutoffs,
    borderline,
    concept_conditions,
    concept_fitness,
    concept_shares,
    filter_images,
    filter_quality,
    fits_concept,
    label_uncertainty,
    paired_change,
    passes,
    shares_as_text,
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


LIMITS = Cutoffs(gender=0.9, quality=0.8, age=0.2, glass=0.1)


def images(gender):
    """Images 100, 101, … that pass LIMITS in all but perhaps gender."""
    table = pd.DataFrame({"idx": np.arange(100, 100 + len(gender)), "gender": gender})
    return table.assign(quality=0.95, age=0.05, glass=0.05)


def test_images_that_pass_are_kept():
    kept = filter_images(images([0.95, 0.5, 0.9]), LIMITS, min_kept=2)
    assert kept.numbers.tolist() == [100, 102] and not kept.by_rank
    assert kept.passed["all"].tolist() == [True, False, True]


def test_if_too_few_pass_the_best_ranked_are_kept():
    kept = filter_images(images([0.1, 0.95, 0.3, 0.7]), LIMITS, min_kept=3)
    assert kept.by_rank and kept.numbers.tolist() == [101, 102, 103]
    assert kept.passed["all"].sum() == 1
    all_there_are = filter_images(images([0.95, 0.95]), LIMITS, min_kept=3)
    assert all_there_are.numbers.tolist() == [100, 101] and not all_there_are.by_rank


def test_borderline_images_are_the_nearest_on_each_side():
    scores = images([0.2, 0.99, 0.89, 0.91, 0.7, 0.9])
    table = borderline(scores, Cutoffs(gender=0.9, quality=None, age=0.2, glass=None), count=2)
    found = {key: part["idx"].tolist() for key, part in table.groupby(["property", "side"])}
    assert found == {
        ("gender", "passes"): [105, 103],
        ("gender", "fails"): [102, 104],
        ("age", "passes"): [100, 101],
    }
    assert table["rank"].tolist() == [0, 1] * 3


def test_precision_is_of_those_that_pass_and_recall_of_those_that_fit():
    found = filter_quality([True, True, True, False], [True, False, False, True])
    assert found == {
        "images": 4,
        "fit": 0.5,
        "pass": 3,
        "precision": pytest.approx(1 / 3),
        "recall": pytest.approx(1 / 2),
    }
    nothing = filter_quality([False, False], [False, False])
    assert np.isnan(nothing["precision"]) and np.isnan(nothing["recall"])


def women(count, total=40):
    """Probabilities of faces that fit, except that only the first `count` are female."""
    gender = np.where(np.arange(total) < count, 0.9, 0.1)
    return {"gender": gender, "quality": gender * 0 + 0.9, "age": gender * 0, "glass": gender * 0}


def test_shares_stand_in_their_own_columns_with_their_intervals():
    shares = concept_shares({"before": women(20), "after": women(38), "filtered set": women(40)})
    text = shares_as_text(shares)
    assert list(text) == ["before", "after", "filtered set"]
    assert text.index.tolist() == ["female", "good quality", "young", "without glasses", FITS]
    # Wilson's intervals from any table of them.
    for condition in ("female", FITS):
        assert text.loc[condition].tolist() == [
            "50.0% (35.2% to 64.8%)",
            "95.0% (83.5% to 98.6%)",
            "100.0% (91.2% to 100.0%)",
        ]
    after = shares[(shares["condition"] == "female") & (shares["set"] == "after")].iloc[0]
    assert (after["count"], after["images"], after["share"]) == (38, 40, 0.95)


def test_uncertainty_of_the_four_answers_in_bits():
    half, sure = np.array([0.5, 0.5, 0.0, 1.0]), np.array([0.5, 1.0, 0.0, 1.0])
    values = {"gender": half, "quality": half, "age": sure, "glass": sure}
    assert np.allclose(label_uncertainty(values), [4, 2, 0, 0], atol=1e-6)


def test_images_kept_by_rank_are_not_counted_as_passed():
    scores = pd.DataFrame(dict.fromkeys(["gender", "quality", "age", "glass"], [0.5] * 40)).assign(
        idx=range(40)
    )
    kept = filter_images(scores, Cutoffs(), min_kept=16)
    assert kept.headline == "0 of 40 (0.0%; 0.0%–8.8%) pass; 16 kept by rank"
    scores.loc[:9, ["gender", "quality"]], scores.loc[:9, ["age", "glass"]] = 1.0, 0.0
    assert filter_images(scores, Cutoffs(), min_kept=5).headline == "10 of 40 (25.0%; 14.2%–40.2%)"


def test_paired_change_counts_only_cases_whose_answer_changed():
    before = np.array([True] * 90 + [False] * 10)
    after = np.array([True] * 88 + [False] * 2 + [True] * 9 + [False])
    gained, lost, p = paired_change(before, after)
    assert (gained, lost) == (9, 2)
    assert p == pytest.approx(2 * sum(comb(11, k) for k in range(3)) / 2**11)
    assert paired_change(before, before) == (0, 0, 1.0)


def test_rejections_count_only_faces_that_fit_by_group_and_cutoff():
    passed = pd.DataFrame(
        {"age": [True, False, True, True, False], "all": [True, False, False, True, False]}
    )
    fits, groups = (
        np.array([1, 1, 1, 1, 0], bool),
        pd.Series(["fair", "fair", "deep", "deep", "deep"]),
    )
    table = concept.rejections(passed, fits, groups).set_index(["group", "cutoff"])
    assert table["count"].to_dict() == {
        ("fair", "age"): 1, ("fair", "all"): 1, ("deep", "age"): 0, ("deep", "all"): 1
    }  # fmt: skip
    assert table["faces"].tolist() == [2] * 4 and table["share"].tolist() == [0.5, 0.5, 0, 0.5]
    assert table.loc[("deep", "age"), ["low", "high"]].tolist() == pytest.approx(
        [0, 0.658], abs=1e-3
    )
