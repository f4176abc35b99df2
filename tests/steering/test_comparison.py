"""Comparison tables have exact values: a dropped abs, a swapped column or meter shows."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering import comparison
from ohlora_lib.steering.select import CUTOFFS_V7, CUTOFFS_V8


def rows(method: str, part: str, eyes_on_parser: list[float], **columns) -> pd.DataFrame:
    """Latents that follow on the CNN, and on the parser except for the given eyes."""
    count = len(eyes_on_parser)
    table = pd.DataFrame({"method": method, "part": part, "idx": range(count)})
    for place, name in enumerate(EXPRESSION):
        for meter, slope in (("cnn", 1.0), ("parser", 0.5)):
            table[f"{meter}_{name}_corr"] = 0.97
            table[f"{meter}_{name}_slope"] = slope
            table[f"{meter}_{name}_leakage"] = 0.1 * (place + 1)
        table[f"unedited_{name}"] = 0.5
    for place, name in enumerate(comparison.UNWANTED):
        table[name] = 0.01 * (place + 1)
    table["recentering_change"] = 0.0
    return table.assign(parser_eyes_corr=eyes_on_parser, **columns)


def test_pass_rates_come_with_n_and_their_wilson_interval():
    table = pd.concat([rows("b", "test", [0.5] * 8 + [0.95] * 2), rows("a", "test", [0.95] * 10)])
    rates = comparison.pass_rates(table.reset_index(), "parser", CUTOFFS_V8)
    assert list(rates.index) == ["b", "a"]
    assert rates.loc["b", ["tested", "passed", "rate"]].tolist() == [10, 2, 0.2]
    assert rates.loc["b", ["low", "high"]].tolist() == pytest.approx([0.0567, 0.5098], abs=1e-4)
    assert rates.loc["a", "low"] == pytest.approx(0.7225, abs=1e-4)
    assert comparison.pass_rates(table.reset_index(), "cnn", CUTOFFS_V8).rate.tolist() == [1, 1]


def test_what_moves_in_the_other_direction_does_not_pass():
    table = rows("a", "test", [-0.97, 0.97])
    assert comparison.pass_rates(table, "parser", CUTOFFS_V8).rate["a"] == 0.5


def test_gains_divide_the_parsers_slopes_by_the_cnns():
    table = rows("a", "test", [0.97] * 2, cnn_mouth_slope=[1.0, 3.0], cnn_pose_slope=0.0)
    gains = comparison.gains(table).loc["a"]
    assert gains.eyes == 0.5 and gains.mouth == 0.25 and np.isnan(gains.pose)


def test_slope_variation_is_deviation_over_mean():
    table = rows("a", "test", [0.97] * 2, parser_eyes_slope=[0.5, 1.5], cnn_eyes_slope=[1.0, 5.0])
    assert comparison.slope_variation(table).loc["a"].tolist() == pytest.approx([0.5, 0, 0])
    assert comparison.slope_variation(table, "cnn").loc["a", "eyes"] == pytest.approx(2 / 3)


def test_side_effects_are_per_size_of_the_movement_whatever_its_sign():
    """Slopes 0.5, -0.5, 0.5: leakage is divided by 0.5 and what should not move too."""
    table = rows("a", "test", [0.97] * 3, parser_mouth_slope=-0.5)
    effects = comparison.side_effects(table).loc["a"]
    assert effects[list(EXPRESSION)].tolist() == pytest.approx([0.2, 0.4, 0.6])
    unwanted = effects[list(comparison.UNWANTED)]
    assert unwanted.tolist() == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14])
    still = rows("a", "test", [0.97] * 3, parser_eyes_slope=0.0)
    assert np.isnan(comparison.side_effects(still).loc["a", "eyes"])


def test_a_pass_curve_counts_latents_whose_least_correlation_reaches_the_cutoff():
    table = rows("a", "test", [0.5, 0.8, np.nan, 0.99])  # mouth and pose: .97
    curve = comparison.pass_curves(table, "parser", np.array([0.5, 0.6, 0.97, 0.98]))["a"]
    assert curve.tolist() == [0.75, 0.5, 0.25, 0]


def test_responses_of_one_method_are_means_over_its_latents():
    table = rows("a", "test", [0.97] * 2, judge_eyes_slope=[0.8, 1.0], judge_mouth_slope=0.7,
                 judge_pose_slope=0.9, judge_eyes_to_mouth=[0.0, 0.2], judge_eyes_to_pose=-0.1,
                 judge_mouth_to_eyes=0.3, judge_mouth_to_pose=0.4, judge_mouth_to_smile=[0.5, 0.7],
                 judge_eyes_to_smile=0.0, judge_pose_to_smile=0.0, judge_pose_to_eyes=0.0,
                 judge_pose_to_mouth=0.0)  # fmt: skip
    other = table.assign(method="b", judge_eyes_slope=9.0)
    found = comparison.response_table(pd.concat([other, table]), "a", "judge")
    assert list(found) == [*EXPRESSION, "smile"] and list(found.index) == list(EXPRESSION)
    assert found.loc["eyes"].tolist() == pytest.approx([0.9, 0.1, -0.1, 0])
    assert found.loc["mouth"].tolist() == pytest.approx([0.3, 0.7, 0.4, 0.6])


def test_what_fits_calibrates_or_selects_does_not_confirm():
    table = rows("a", "test", [0.97])
    assert (
        comparison.confirming_meter(table.assign(annotator_eyes_corr=1, judge_eyes_corr=1))
        == "judge"
    )
    with_annotator = table.assign(annotator_eyes_corr=1)
    assert comparison.confirming_meter(with_annotator) == "annotator"
    assert comparison.confirming_meter(table) is None
    used = ("cnn", "parser", "annotator")
    assert comparison.confirming_meter(with_annotator, used) is None
    assert comparison.confirming_meter(with_annotator.assign(judge_eyes_corr=1), used) == "judge"


def test_the_best_method_passes_most_on_the_parser_then_on_the_cnn_then_leaks_least():
    low, high = [0.5] * 2 + [0.97] * 2, [0.97] * 4
    few = rows("few", "test", low)
    fooled = rows("fooled", "test", high, cnn_eyes_corr=0.5)
    leaky, clean = (
        rows(name, "test", high, parser_pose_leakage=leakage)
        for name, leakage in (("leaky", 0.4), ("clean", 0.2))
    )
    assert comparison.best_method(pd.concat([few, fooled], ignore_index=True)) == "fooled"
    table = pd.concat([few, fooled, leaky, clean], ignore_index=True)
    assert comparison.best_method(table) == "clean"
    confirmed = pd.concat([table, rows("leaky", "confirmation", high)], ignore_index=True)
    assert comparison.best_method(confirmed) == "leaky", "only confirmed methods are candidates"


def test_extreme_latents_have_the_highest_and_lowest_sum_on_both_meters():
    table = rows("a", "test", [0.97, 0.2, 0.99, np.nan])
    assert comparison.extreme_latents(table, "a") == (2, 3)
    table.loc[0, "cnn_pose_corr"] = -0.9
    assert comparison.extreme_latents(table.iloc[:3], "a") == (2, 0)


def test_failures_on_a_meter_are_counted_by_property_with_their_means():
    table = rows("a", "test", [0.5, 0.91, 0.95, np.nan], parser_eyes_slope=[0.2, 0.3, 0.4, 0.1],
                 unedited_eyes=[-1.0, 2.0, -0.25, 0.0])  # fmt: skip
    failed = comparison.failures(table, "a", "parser").set_index("property")
    assert failed.failed.tolist() == [3, 0, 0]
    assert comparison.failures(table, "a", "cnn").failed.tolist() == [0, 0, 0]
    eyes = failed.loc["eyes"]
    assert eyes.tested == 4
    assert eyes["|unedited score|, failed"] == 1 and eyes["|unedited score|, passed"] == 0.25
    assert eyes["slope, failed"] == pytest.approx(0.2) and eyes["slope, passed"] == 0.4


def test_results_and_leakage_are_shown_with_both_meters():
    table = rows("a", "test", [0.91] * 5 + [0.95] * 5, cnn_pose_corr=0.9)
    assert comparison.correlation_table(table).loc["a"].to_dict() == {
        "latents": 10,
        "property CNN": "0.97 / 0.97 / 0.90",
        "parser": "0.93 / 0.97 / 0.97",
    }
    shown = comparison.pass_rate_table(table, CUTOFFS_V7).loc["a"].tolist()
    assert shown == ["0% (0%–28%)", "50% (24%–76%)"]
    v8 = comparison.pass_rate_table(table, CUTOFFS_V8).loc["a"]
    assert v8["property CNN"] == "100% (72%–100%)"
    leakage = comparison.leakage_table(table).loc["a"]
    assert leakage["leakage, eyes / mouth / pose"] == "0.20 / 0.40 / 0.60"
    assert leakage["gender, quality, age, glass"] == "0.08 / 0.10 / 0.12 / 0.14"
    assert leakage["identity, all three moved"] == pytest.approx(0.06)
    assert leakage["gain parser / CNN"] == "0.50 / 0.50 / 0.50"
    assert "identity change by recentering" not in leakage
    moved = comparison.leakage_table(table.assign(recentering_change=0.4)).loc["a"]
    assert moved["identity change by recentering"] == pytest.approx(0.4)


def test_the_annotator_has_a_column_where_it_read_the_images():
    table = rows("a", "test", [0.97] * 4)
    for name in EXPRESSION:
        table[f"annotator_{name}_corr"] = [0.97, 0.97, 0.97, 0.9]
    shown = comparison.pass_rate_table(table, CUTOFFS_V7)
    assert shown.loc["a", "annotator"] == "75% (30%–95%)"


def test_published_counts_stand_beside_ours_at_the_same_cutoffs():
    shown = comparison.published_table()
    assert shown.loc["*published: v8, 20 %*", "property CNN: strict pass"] == "16 (0.80%)"
    assert shown.loc["*published: v7, 15 %*", "property CNN: pass"] == "164 (6.83%)"
    assert pd.isna(shown.loc["*published: v9 mixed*", "property CNN: strict pass"])
    assert comparison.CUTOFFS == {"pass": CUTOFFS_V8, "strict pass": CUTOFFS_V7}


def test_the_published_row_stands_beside_ours_with_dropout_on_and_off():
    table = pd.concat([rows("svm", "test", [0.97] * 4), rows("b", "test", [0.1] * 4)])
    for name in EXPRESSION:
        table[f"dropout_{name}_corr"] = 0.89
    shown = comparison.beside_published(table, "svm", "v8")
    assert shown.index.tolist() == [
        "*published: v8, 20 %*, dropout on", "here: svm, dropout on", "here: svm, dropout off"
    ]  # fmt: skip
    passed = shown["property CNN: pass"].tolist()
    assert passed[0] == "49 (2.45%)" and passed[1].startswith("0 (0.00%; 0.00% to")
    assert passed[2].startswith("4 (100.00%; ") and shown["latents"].tolist() == [2000, 4, 4]
    assert set(comparison.PUBLISHED_ROWS.values()) == set(comparison.PUBLISHED.index)


def test_the_headline_names_method_and_meter():
    table = pd.concat([rows("svm", "test", [0.5] * 5 + [0.97] * 5),
                       rows("best", "test", [0.97] * 10, cnn_pose_corr=0.9)])  # fmt: skip
    numbers = comparison.headline(table.reset_index(), ["svm", "best"], ("parser", "cnn"))
    assert numbers == {
        "svm, property CNN": "100% (72%–100%)",
        "svm, parser": "50% (24%–76%)",
        "best, property CNN": "0% (0%–28%)",
        "best, parser": "100% (72%–100%)",
        "svm, property CNN, v8": "100% (72%–100%)",
        "svm, parser, v8": "50% (24%–76%)",
        "best, property CNN, v8": "100% (72%–100%)",
        "best, parser, v8": "100% (72%–100%)",
        "latents": "10",
        "fitted, calibrated or selected by": "property CNN, parser",
        "confirmed by": "none",
    }
    passed = comparison.passed_by_meter(table.reset_index(), "svm")
    assert passed == "10 of 10 by the property CNN, 5 of 10 by the parser"


def test_only_all_is_100_percent():
    row = {"low": 0.98, "high": 0.999}
    assert comparison.rate(pd.Series({"rate": 299 / 300} | row)) == "99.7% (98%–99.9%)"
    assert comparison.rate(pd.Series({"rate": 1.0, "low": 0.98, "high": 1.0})) == "100% (98%–100%)"


def steps(part, *passing, count=20):
    """The first methods of the ablation: how many of `count` latents pass, on both meters."""
    tables = [
        rows(name, part, [0.97] * passed + [0.5] * (count - passed))
        for name, passed in zip(comparison.ABLATION.values(), passing, strict=False)
    ]
    return pd.concat(tables, ignore_index=True)


def test_each_step_is_tested_on_the_latents_of_both_methods():
    table = steps("confirmation", 8, 20, 20)
    table.loc[table["method"] == "svm, calibrated", "parser_eyes_leakage"] = 0.7
    first, last = comparison.ablation_summary(table).split("\n")[2:]
    assert first == (
        "* **calibrated**: 8 → 20 pass (12 gained, 0 lost, p < 0.001: more pass); "
        "leakage 0.40 → 0.80."
    )
    assert last == (
        "* **recentered**: 20 → 20 pass (0 gained, 0 lost, p = 1.000: not shown); "
        "leakage 0.80 → 0.40."
    )
    mixed = pd.concat([table, steps("test", 0, 0, 0, 0, count=5)], ignore_index=True)
    assert comparison.ablation_summary(mixed) == comparison.ablation_summary(table)
    only = steps("test", 20, 8)
    assert "20 → 8 pass (0 gained, 12 lost, p < 0.001: fewer" in comparison.ablation_summary(only)
    assert comparison.ablation_summary(steps("test", 20)) == ""


def test_gains_are_points_from_one_method_to_the_next():
    table = steps("test", 8, 13, 12)
    methods = list(comparison.ABLATION.values())[:3]
    said = comparison.gains_by_step(table, methods, "parser")
    assert said == "'calibrated' +25 (p = 0.062), 'recentered' -5 (p = 1.000)"
    assert comparison.step_name("svm, calibrated", "ridge, recentered") == (
        "ridge instead of svm + recentered + without calibrated"
    )


def test_responses_are_per_unit_of_the_own_movement_unless_that_is_small():
    table = rows("a", "test", [0.97], judge_eyes_slope=0.5, judge_mouth_slope=0.05,
                 judge_pose_slope=1.0, judge_eyes_to_mouth=0.1, judge_eyes_to_pose=0.0,
                 judge_mouth_to_eyes=0.3, judge_mouth_to_pose=0.4, judge_pose_to_eyes=-0.2,
                 judge_pose_to_mouth=0.0)  # fmt: skip
    found = comparison.relative_responses(table, "a", "judge")
    assert found.loc["eyes"].tolist() == pytest.approx([1, 0.2, 0])
    assert found.loc["pose"].tolist() == pytest.approx([-0.2, 0, 1])
    assert found.loc["mouth"].isna().all()


def test_how_a_method_steers_is_means_over_its_latents():
    table = rows("a", "test", [0.9, 1.0], parser_eyes_slope=[0.4, 0.8])
    for meter in ("cnn", "parser"):
        for name in EXPRESSION:
            ends = {"monotonic": 0.875, "lowest": -1.0, "highest": [1.0, 2.0]}
            table = table.assign(**{f"{meter}_{name}_{k}": v for k, v in ends.items()})
    assert comparison.steering_table(table, "parser").loc["a"].to_dict() == {
        "slope": "0.60 / 0.50 / 0.50",
        "its deviation": "0.20 / 0.00 / 0.00",
        "correlation": "0.95 / 0.97 / 0.97",
        "rising steps": "88% / 88% / 88%",
        "at the lowest level": "-1.00 / -1.00 / -1.00",
        "at the highest level": "+1.50 / +1.50 / +1.50",
    }


def test_the_ablation_has_the_tested_steps_in_order_whatever_the_order_of_the_test():
    names = ["ridge, calibrated, recentered", "other", "svm, calibrated", "svm"]
    tables = [rows(name, "test", [0.97] * 4) for name in names]
    tables[-1]["parser_eyes_corr"] = [0.5, 0.5, 0.97, 0.97]
    table = comparison.ablation_table(pd.concat(tables, ignore_index=True))
    assert table.index.tolist() == [
        "unit steps along SVM normals", "+ calibrated steps", "ridge instead of SVMs",
    ]  # fmt: skip
    assert [rate.split()[0] for rate in table["parser"]] == ["50%", "100%", "100%"]
    assert table["leakage, eyes / mouth / pose"].tolist() == ["0.20 / 0.40 / 0.60"] * 3
