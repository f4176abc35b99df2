"""What page 08 says of a test's rows."""

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.lab import steering_figures as figures

BEST = "ridge, steps, recenterd"


def rows(method: str, part: str, eyes_on_parser: list[float]) -> pd.DataFrame:
    """Latents that follow on the CNN, and on the parser but for what is given."""
    count = len(eyes_on_parser)
    table = pd.DataFrame({"method": method, "part": part, "idx": range(count)})
    for meter in figures.LABELS:
        for name in EXPRESSION:
            table[f"{meter}_{name}_corr"] = 0.97
            table[f"{meter}_{name}_slope"] = 1.0
    for name in EXPRESSION:
        table[f"unedited_{name}"] = 0.5
    missed = np.array(eyes_on_parser) < 0.92
    return table.assign(
        parser_eyes_corr=eyes_on_parser, parser_eyes_slope=np.where(missed, 0.2, 0.4)
    )


def measured() -> pd.DataFrame:
    half = [0.5] * 6 + [0.95] * 6
    parts = [
        rows("svm", "test", [0.95] * 3),
        rows("svm, steps", "test", [0.95] * 3),
        rows(BEST, "test", [0.95] * 3),
        rows("svm", "confirmation", half),
        rows("svm, steps", "confirmation", [0.95] * 12),
        rows(BEST, "confirmation", [0.95] * 12),
    ]
    return pd.concat(parts, ignore_index=True)


def test_the_finding_tells_both_meters_and_what_set_steps_alone_gain():
    sentence, headline = figures.found(measured(), "svm", BEST)
    assert "of 12 latents" in sentence
    assert f"'svm' 100% and 50%; 'svm, steps' 100% and 100%; '{BEST}' 100% and 100%" in sentence
    assert headline["svm, independent meter"].startswith("50%")
    assert headline["svm, steps, independent meter"].startswith("100%")


def test_without_further_latents_the_first_ones_are_told():
    first = measured().query("part == 'test' and method != 'svm, steps'")
    sentence, headline = figures.found(first, "svm", BEST)
    assert "of 3 latents" in sentence and "svm, steps" not in sentence
    assert headline["latents"] == "3"


def test_failures_are_told_for_the_meter_on_which_they_happen():
    told = figures.failing_told(figures.most_told(measured(), ["svm"]), "svm")
    assert "Of 12 latents with 'svm'" in told
    assert "on the CNN none; on the parser 6 (for eyes 6, mouth 0, pose 0)" in told
    assert "moves those by 0.20 deviations and the others by 0.40" in told


def test_of_few_failures_no_mean_is_told():
    few = rows("svm", "test", [0.5] * 2 + [0.95] * 10)
    assert figures.failing_told(few, "svm").endswith("(for eyes 2, mouth 0, pose 0).")


def test_a_method_is_told_by_what_is_behind_its_name():
    told = figures.methods_table(["svm", "ridge, steps, recenterd, layers 0-5"])
    assert told.loc["svm", ["steps", "recenterd", "enters"]].tolist() == [
        "their own", "no", "all layers",
    ]  # fmt: skip
    assert told.iloc[1][["steps", "recenterd", "enters"]].tolist() == [
        "by the rule", "yes", "layers 0-5",
    ]  # fmt: skip


def test_published_counts_stand_beside_ours_at_the_same_cutoffs():
    shown = figures.table(measured())
    assert shown.loc["*published: v8, 20 %*", "CNN: strict pass"] == "16 (0.80%)"
    assert shown.loc["*published: v7, 15 %*", "CNN: pass"] == "164 (6.83%)"
    assert pd.isna(shown.loc["*published: v9 mixed*", "CNN: strict pass"])
