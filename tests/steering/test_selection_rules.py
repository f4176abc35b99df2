"""Choosing: by stated rules on both meters, with a person's last word."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.select import CORRELATIONS
from ohlora_lib.steering.selection_rules import (
    ChoiceRule,
    GradeRule,
    funnel,
    judged,
    published_info,
    read_picks,
    why_not,
    with_picks,
)
from ohlora_lib.store import StoreError


@pytest.fixture
def tested():
    """Six latents that all follow perfectly and stay all that they should."""
    table = pd.DataFrame({"idx": [3, 5, 8, 13, 21, 34], "group_name": "hlhl", "method": "m"})
    for meter in ("cnn", "parser"):
        for name in EXPRESSION:
            table[f"{meter}_{name}_corr"] = 0.97
            table[f"{meter}_{name}_slope"] = 1.0
            table[f"{meter}_{name}_monotonic"] = 1.0
    stays = {"gender": 0.99, "quality": 0.9, "age": 0.02, "glass": 0.01}
    for name, value in stays.items():
        table[f"{name}_worst"] = value
    return table.assign(background=0.05, outline=0.05)


@pytest.mark.parametrize(
    ("column", "value", "stage"),
    [
        ("cnn_eyes_corr", 0.91, "passes"),
        ("parser_pose_corr", 0.5, "passes on both"),
        ("cnn_pose_corr", -0.97, "passes"),  # the opposite of what was asked for
        ("gender_worst", 0.3, "consistent"),
        ("age_worst", 0.9, "consistent"),
        ("quality_worst", 0.1, "consistent"),
        ("background", 0.6, "consistent"),
        ("outline", 0.5, "consistent"),
        ("parser_mouth_slope", 0.1, "chosen"),
        ("cnn_mouth_monotonic", 0.5, "chosen"),
        ("parser_eyes_corr", np.nan, "passes on both"),
    ],
)
def test_each_rule_stops_the_latent_that_breaks_it_at_its_stage(tested, column, value, stage):
    tested.loc[2, column] = value
    table = judged(tested, ChoiceRule())
    stages = ["passes", "passes on both", "consistent", "chosen"]
    reached = table.loc[2, stages].tolist()
    assert reached == [True] * stages.index(stage) + [False] * (4 - stages.index(stage))
    assert funnel(table).tolist() == [6] + [6] * stages.index(stage) + [5] * (
        4 - stages.index(stage)
    )
    assert sum(dict(why_not(table)).values()) >= 1


def test_the_best_are_chosen_where_more_fit_than_wanted(tested):
    tested["cnn_mouth_corr"] = [0.95, 0.99, 0.93, 0.98, 0.94, 0.96]
    assert judged(tested, ChoiceRule(most=2)).query("chosen")["idx"].tolist() == [5, 13]


def test_the_next_best_fill_up_where_too_few_fit_and_are_told_apart(tested):
    tested["gender_worst"] = 0.1
    tested.loc[4, "gender_worst"] = 0.99
    tested["parser_pose_corr"] = [0.9, np.nan, 0.97, 0.96, 0.95, 0.91]
    table = judged(tested, ChoiceRule(least=3)).query("chosen")
    assert table["idx"].tolist() == [8, 13, 21] and table["fits"].tolist() == [False, False, True]


def test_a_grade_is_the_worse_meters_and_needs_both_slope_and_monotonicity(tested):
    tested.loc[1, "parser_eyes_slope"] = 0.65
    tested.loc[2, "cnn_eyes_monotonic"] = 0.75
    tested.loc[3, ["cnn_eyes_slope", "parser_eyes_slope"]] = 0.1
    tested.loc[4, "cnn_eyes_slope"] = np.nan
    assert GradeRule().grade(tested)["eyes"].tolist() == ["최상", "상", "중", "하", "하", "최상"]


def test_a_persons_picks_override_the_rules(tested, tmp_path):
    tested.loc[0, "gender_worst"] = 0.1
    path = tmp_path / "picks.csv"
    path.write_text("idx,chosen,eyes,mouth\n3,1,상,\n8,0,,중\n", encoding="utf-8")
    table = with_picks(judged(tested, ChoiceRule()), read_picks(path)).set_index("idx")
    assert table.loc[3, "chosen"] and not table.loc[8, "chosen"] and table.loc[5, "chosen"]
    assert table.loc[3, ["eyes_grade", "mouth_grade"]].tolist() == ["상", "최상"]
    assert table.loc[8, ["eyes_grade", "mouth_grade"]].tolist() == ["최상", "중"]


def test_why_a_latent_was_not_chosen_is_said_for_each_rule_it_fails(tested):
    tested.loc[0, ["gender_worst", "outline", "cnn_mouth_slope"]] = [0.1, 0.9, 0.0]
    tested["cnn_pose_corr"] = [0.97, 0.99, 0.98, 0.96, 0.95, 0.94]
    table = judged(tested, ChoiceRule(most=2))
    assert {why: count for why, count in why_not(table) if count} == {
        "does not stay a woman": 1,
        "background or outline does not stay": 1,
        "has a grade of 하": 1,
        "fits every rule, but others that fit follow better": 3,
    }
    left_out = with_picks(table, pd.DataFrame({"idx": [5], "chosen": [0]}))
    assert dict(why_not(left_out))["fits every rule, but a person left it out"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("idx,chosen\n3,1\n3,0\n", "twice"),
        ("idx,chosen\n3,2\n", "0 or 1"),
        ("idx,chosen,eyes\n3,1,best\n", "'best' is no grade"),
        ("idx\n3\n", "no column 'chosen'"),
    ],
)
def test_mistakes_in_a_persons_csv_are_named(tmp_path, text, message):
    path = tmp_path / "picks.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        read_picks(path)


def test_a_pick_that_was_not_tested_is_refused(tested):
    with pytest.raises(StoreError, match="latent 4 was not tested"):
        with_picks(judged(tested, ChoiceRule()), pd.DataFrame({"idx": [4], "chosen": [1]}))


def test_the_info_has_the_published_columns_and_marks(tested):
    tested.loc[1, "cnn_eyes_corr"] = -0.2
    info = published_info(judged(tested, ChoiceRule()))
    assert list(info) == ["case", "vector_no", "passed", "group_name", *CORRELATIONS,
                          "sum_abs_corr"]  # fmt: skip
    assert info["passed"].tolist() == ["O", "X", "O", "O", "O", "O"]
    assert info.loc[1, "sum_abs_corr"] == pytest.approx(0.2 + 0.97 + 0.97)
