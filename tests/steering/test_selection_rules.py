"""Selection: stated rules on both meters, and a person's picks that override them."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.select import CorrelationCutoffs
from ohlora_lib.steering.selection_rules import (
    RANK,
    STAGES,
    Conditions,
    GradeRule,
    SelectionRule,
    apply_picks,
    apply_rules,
    funnel_counts,
    pick_agreement,
    read_picks,
    rejection_reasons,
    rules_as_picks,
    selected_rows,
)
from ohlora_lib.store import StoreError


@pytest.fixture
def tested():
    """Six latents that follow perfectly and meet every condition."""
    table = pd.DataFrame({"idx": [3, 5, 8, 13, 21, 34], "group_name": "hlhl", "method": "m"})
    for meter in ("cnn", "parser"):
        for name in EXPRESSION:
            table[f"{meter}_{name}_corr"] = 0.97
            table[f"{meter}_{name}_slope"] = 1.0
            table[f"{meter}_{name}_monotonic"] = 1.0
    worst = {"gender": 0.99, "quality": 0.9, "age": 0.02, "glass": 0.01}
    for name, value in worst.items():
        table[f"{name}_worst"] = value
    return table.assign(background=0.05, outline=0.05)


@pytest.mark.parametrize(
    ("column", "value", "stage", "reason"),
    [
        ("cnn_eyes_corr", 0.91, "passes_cnn", "does not pass by the CNN"),
        ("cnn_pose_corr", -0.97, "passes_cnn", "does not pass by the CNN"),  # moves the wrong way
        ("parser_pose_corr", 0.5, "passes_both", "passes by the CNN, not by the parser"),
        ("parser_eyes_corr", np.nan, "passes_both", "passes by the CNN, not by the parser"),
        ("gender_worst", 0.79, "consistent", "not female in all 50 images"),
        ("age_worst", 0.31, "consistent", "not young and without glasses in all 50 images"),
        ("glass_worst", 0.31, "consistent", "not young and without glasses in all 50 images"),
        ("quality_worst", 0.49, "consistent", "not of good quality in all 50 images"),
        ("background", 0.26, "consistent", "background or outline changes"),
        ("outline", 0.16, "consistent", "background or outline changes"),
        ("parser_mouth_slope", 0.39, "fits", "has a low grade"),
        ("cnn_mouth_monotonic", 0.69, "fits", "has a low grade"),
    ],
)
def test_each_rule_rejects_the_latent_that_breaks_it(tested, column, value, stage, reason):
    tested.loc[2, column] = value
    table = apply_rules(tested, SelectionRule())
    passed = STAGES.index(stage)
    assert table.loc[2, list(STAGES)].tolist() == [True] * passed + [False] * (5 - passed)
    assert funnel_counts(table).tolist() == [6] + [6] * passed + [5] * (5 - passed)
    reasons = rejection_reasons(table)
    assert reasons["latents"].to_dict() == {reason: 1} and reasons["which"].tolist() == ["8"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("cnn_eyes_corr", 0.92), ("parser_mouth_corr", 0.88), ("gender_worst", 0.8),
     ("quality_worst", 0.5), ("age_worst", 0.3), ("glass_worst", 0.3), ("background", 0.25),
     ("outline", 0.15), ("cnn_pose_slope", 0.4), ("parser_pose_monotonic", 0.7)],
)  # fmt: skip
def test_a_value_on_its_bound_is_accepted(tested, column, value):
    tested.loc[2, column] = value
    assert apply_rules(tested, SelectionRule())["selected"].all()


def test_each_meter_has_its_own_cutoffs(tested):
    tested["cnn_eyes_corr"], tested["parser_eyes_corr"] = 0.85, 0.95
    lenient = CorrelationCutoffs(eyes=0.8)
    assert funnel_counts(apply_rules(tested, SelectionRule(cutoffs=lenient)))["passes_both"] == 6
    swapped = SelectionRule(parser_cutoffs=lenient)
    assert funnel_counts(apply_rules(tested, swapped))["passes_cnn"] == 0


def test_the_rank_is_the_signed_sum_over_both_meters(tested):
    values = {"cnn_eyes": 0.9, "cnn_mouth": -0.5, "cnn_pose": 0.8,
              "parser_eyes": 0.7, "parser_mouth": 0.6, "parser_pose": -0.1}  # fmt: skip
    for name, value in values.items():
        tested[f"{name}_corr"] = value
    assert apply_rules(tested, SelectionRule())[RANK].tolist() == pytest.approx([2.4] * 6)


def test_the_best_are_selected_if_more_fit_than_the_maximum(tested):
    tested["cnn_mouth_corr"] = [0.95, 0.99, 0.93, 0.98, 0.94, 0.96]
    table = apply_rules(tested, SelectionRule(max_selected=2))
    assert table.loc[table["selected"], "idx"].tolist() == [5, 13]
    assert table["fits"].all() and not table["picked"].any()


def test_selected_rows_are_positions_in_the_table_best_first(tested):
    tested["cnn_mouth_corr"] = [0.95, 0.96, 0.93, 0.99, 0.94, 0.98]
    table = apply_rules(tested, SelectionRule(max_selected=3))
    assert selected_rows(table).tolist() == [3, 5, 1]
    assert table["idx"].iloc[selected_rows(table)].tolist() == [13, 34, 5]
    assert selected_rows(table.set_axis(range(10, 16))).tolist() == [3, 5, 1]


def test_if_too_few_fit_the_next_best_are_selected_but_do_not_fit(tested):
    tested["gender_worst"] = 0.1
    tested.loc[4, "gender_worst"] = 0.99
    tested["parser_pose_corr"] = [0.9, np.nan, 0.97, 0.96, 0.95, 0.91]
    table = apply_rules(tested, SelectionRule(min_selected=3)).query("selected")
    assert table["idx"].tolist() == [8, 13, 21] and table["fits"].tolist() == [False, False, True]


def test_a_grade_is_that_of_the_worse_meter_and_needs_slope_and_monotonicity(tested):
    tested.loc[1, "parser_eyes_slope"] = 0.65
    tested.loc[2, "cnn_eyes_monotonic"] = 0.75
    tested.loc[3, ["cnn_eyes_slope", "parser_eyes_slope"]] = 0.1
    tested.loc[4, "cnn_eyes_slope"] = np.nan
    tested.loc[5, "cnn_pose_slope"] = 0.5
    grades = GradeRule().grade(tested)
    assert list(grades) == ["eyes_grade", "mouth_grade", "pose_grade"]
    assert grades["eyes_grade"].tolist() == ["최상", "상", "중", "하", "하", "최상"]
    assert grades["pose_grade"].tolist() == ["최상"] * 5 + ["중"]
    assert (grades["mouth_grade"] == "최상").all()


def test_bounds_are_quantiles_of_true_changes_read_by_the_worse_meter(tested):
    slopes = np.linspace(0.8, 1.2, 41)
    rendered = pd.DataFrame({f"{meter}_{name}_{what}": 0.99 for meter in ("cnn", "parser")
                             for name in EXPRESSION for what in ("slope", "corr")},
                            index=range(41))  # fmt: skip
    rendered["cnn_eyes_slope"], rendered["parser_eyes_slope"] = slopes, slopes + 0.1
    rule = GradeRule.from_true_changes(rendered)
    bounds = rule.bounds["eyes_slope"]
    assert bounds.tolist() == pytest.approx([0.9, 0.82, 0.9 * 0.8])
    assert rule.bounds["mouth_corr"].tolist() == pytest.approx([0.99, 0.99, 0.9 * 0.99])
    tested[[f"{meter}_{name}_corr" for meter in ("cnn", "parser") for name in EXPRESSION]] = 0.995
    tested["parser_eyes_slope"] = [0.95, 0.89, 0.75, 0.7, 0.95, 0.95]
    tested.loc[4, "cnn_eyes_corr"] = 0.95
    assert rule.grade(tested)["eyes_grade"].tolist() == ["최상", "상", "중", "하", "중", "최상"]
    missed = rule.missed(tested)
    assert missed.loc["eyes_slope"].tolist() == pytest.approx([0.82, 0.92, 2])
    assert missed["below"].tolist() == [2, 1, 0, 0, 0, 0]


def test_conditions_are_four_columns_in_the_order_of_their_bounds(tested):
    tested.loc[0, "quality_worst"] = 0.2
    met = Conditions().check(tested)
    assert met.loc[0].to_dict() == {
        "stays_female": True,
        "stays_young_no_glasses": True,
        "stays_good_quality": False,
        "keeps_surroundings": True,
    }


def test_picks_override_the_rules(tested, tmp_path):
    tested.loc[0, "gender_worst"] = 0.1
    path = tmp_path / "picks.csv"
    path.write_text("idx,chosen,eyes,mouth\n3,1,상,\n8,0,,중\n", encoding="utf-8")
    table = apply_picks(apply_rules(tested, SelectionRule()), read_picks(path)).set_index("idx")
    assert table["selected"].to_dict() == {3: True, 5: True, 8: False, 13: True, 21: True, 34: True}
    assert table["picked"].to_dict() == {3: True, 5: False, 8: True, 13: False, 21: False,
                                         34: False}  # fmt: skip
    assert table.loc[3, ["eyes_grade", "mouth_grade"]].tolist() == ["상", "최상"]
    assert table.loc[8, ["eyes_grade", "mouth_grade"]].tolist() == ["최상", "중"]


def test_all_reasons_for_a_rejection_are_counted(tested):
    tested.loc[0, ["gender_worst", "outline", "cnn_mouth_slope"]] = [0.1, 0.9, 0.0]
    tested["cnn_pose_corr"] = [0.97, 0.99, 0.98, 0.96, 0.95, 0.94]
    table = apply_rules(tested, SelectionRule(max_selected=2))
    reasons = rejection_reasons(table)
    assert reasons["latents"].to_dict() == {
        "not female in all 50 images": 1,
        "background or outline changes": 1,
        "has a low grade": 1,
        "fits all rules, but others rank higher": 3,
    }
    assert rejection_reasons(table, named=2)["which"].iloc[-1] == "13, 21, …"
    rejected = apply_picks(table, pd.DataFrame({"idx": [5], "chosen": [0]}))
    reasons = rejection_reasons(rejected)["which"]
    assert reasons["fits all rules, but a person rejected it"] == "5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("idx,chosen\n3,1\n3,0\n", "latent 3 has more than one row"),
        ("idx,chosen\n3,2\n", "0 or 1"),
        ("idx,chosen,eyes\n3,1,best\n", "grade 'best': must be one of"),
        ("idx\n3\n", "no column 'chosen'"),
    ],
)
def test_mistakes_in_the_picks_are_named(tmp_path, text, message):
    path = tmp_path / "picks.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        read_picks(path)


def test_a_pick_that_was_not_tested_is_rejected(tested):
    with pytest.raises(StoreError, match="latent 4 was not tested"):
        apply_picks(apply_rules(tested, SelectionRule()), pd.DataFrame({"idx": [4], "chosen": [1]}))


def test_agreement_of_picks_with_the_rules(tested):
    ruled = rules_as_picks(apply_rules(tested, SelectionRule()))
    same = pick_agreement(ruled, ruled)
    assert (same["agree"] == 1).all() and (same["latents"] == len(tested)).all()
    picks = ruled.assign(chosen=1 - ruled["chosen"], eyes=None).drop(columns="pose")
    other = pick_agreement(ruled, picks.head(3))
    assert list(other.index) == ["chosen", "eyes", "mouth"]
    assert other.loc["chosen", ["latents", "agree"]].tolist() == [3, 0]
    assert other.loc["eyes", "latents"] == 0 and np.isnan(other.loc["eyes", "agree"])
