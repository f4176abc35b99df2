"""Who passes the control test."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.steering.select import (
    CORRELATIONS,
    CUTOFFS_V7,
    CUTOFFS_V7_RECHECK,
    CUTOFFS_V8,
    CorrelationCutoffs,
    main,
    mean_correlations,
    passes,
    read_test_table,
    wilson_interval,
)
from ohlora_lib.store import StoreError

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/golden/published"
needs_published = pytest.mark.skipif(
    not PUBLISHED.exists(), reason=f"no published tables in {PUBLISHED}"
)


@needs_published
@pytest.mark.parametrize(
    ("version", "cutoffs", "count"),
    [("v7", CUTOFFS_V7, 58), ("v7", CUTOFFS_V7_RECHECK, 99), ("v7", CUTOFFS_V8, 164),
     ("v8", CUTOFFS_V8, 49), ("v8", CUTOFFS_V7_RECHECK, 22), ("v8", CUTOFFS_V7, 16)],
)  # fmt: skip
def test_the_published_tables_have_the_published_passes(version, cutoffs, count):
    table = read_test_table(PUBLISHED / f"{version}_vectorfind_test_result.csv")
    assert passes(table, cutoffs).sum() == count


@needs_published
@pytest.mark.parametrize(("version", "cutoffs"), [("v7", CUTOFFS_V7), ("v8", CUTOFFS_V8)])
def test_the_published_columns_and_statistics_come_out(version, cutoffs):
    table = read_test_table(PUBLISHED / f"{version}_vectorfind_test_result.csv")
    statistics = pd.read_csv(PUBLISHED / f"{version}_vectorfind_test_statistics.csv").iloc[0]
    assert (passes(table, cutoffs) == (table["passed"] == "O")).all()
    assert mean_correlations(table).tolist() == pytest.approx(statistics.iloc[:4], abs=6e-5)


@needs_published
def test_the_command_prints_the_published_figures(capsys):
    path = PUBLISHED / "v7_vectorfind_test_result.csv"
    assert main([str(path), "--eyes", ".92", "--mouth", ".88", "--pose", ".92"]) == 0
    said = capsys.readouterr().out
    assert "tested 2400\npassed 58 (" in said
    assert "eyes -0.9023, mouth -0.8673, pose -0.7951" in said


ROWS = "eyes_corr,mouth_corr,pose_corr\n"


def written(tmp_path, text, name="test_result (final, svm_ms2).csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_a_table_of_another_version_is_read_too(tmp_path):
    """No groups (v9's gradient), row numbers without a name, a byte-order mark, upwards."""
    text = "\ufeff,case,passed, eyes_corr,mouth_corr ,pose_corr\n"
    text += "0,5,O,0.93,-0.9,0.88\n1,6,X,.9,.9,.9\n"
    table = read_test_table(written(tmp_path, text))
    assert table.columns.tolist() == ["case", "passed", "eyes_corr", "mouth_corr", "pose_corr"]
    assert passes(table).tolist() == [True, False]


def test_the_published_cutoffs():
    """v7: .92/.88/.92, second check .90/.90/.88; v8 and v9: .92/.88/.88 (original project)."""
    assert CorrelationCutoffs(eyes=0.92, mouth=0.88, pose=0.92) == CUTOFFS_V7
    assert CorrelationCutoffs(eyes=0.90, mouth=0.90, pose=0.88) == CUTOFFS_V7_RECHECK
    assert CorrelationCutoffs(eyes=0.92, mouth=0.88, pose=0.88) == CUTOFFS_V8


def test_each_cutoff_applies_to_its_own_property():
    """Each row is below the cutoff of exactly one property, and above those of the others."""
    table = pd.DataFrame(
        [[0.91, 0.91, 0.91], [0.93, 0.87, 0.93], [0.93, 0.93, 0.87], [0.93, 0.89, 0.89]],
        columns=["eyes_corr", "mouth_corr", "pose_corr"],
    )
    assert passes(table).tolist() == [False, False, False, True]
    assert passes(table, CUTOFFS_V7).tolist() == [False, False, False, False]


def test_signed_requires_the_requested_direction():
    table = pd.DataFrame([[0.95, 0.95, 0.95], [0.95, -0.95, 0.95]], columns=list(CORRELATIONS))
    assert passes(table).tolist() == [True, True]
    assert passes(table, signed=True).tolist() == [True, False]


def test_the_command_prints_counts_interval_and_means(tmp_path, capsys):
    """Wilson interval of 1 of 2: (0.0945, 0.9055) (statsmodels proportion_confint)."""
    text = "passed,eyes_corr,mouth_corr,pose_corr\nO,-0.95,-0.9,-0.89\nX,-0.95,-0.9,0.5\n"
    assert main([str(written(tmp_path, text))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tested 2",
        "passed 1 (50.00%, 95% interval 9.45% to 90.55%) "
        "with |correlation| >= eyes 0.92, mouth 0.88, pose 0.88",
        "mean correlation eyes -0.9500, mouth -0.9000, pose -0.1950",
        "mean sum of absolute correlations 2.5450",
        "column 'passed' of the table: 1 passed",
    ]


def test_a_correlation_on_its_cutoff_passes_whatever_its_sign():
    table = pd.DataFrame([[0.92, -0.88, 0.88], [0.9199, 1, 1]], columns=ROWS.strip().split(","))
    assert passes(table).tolist() == [True, False]


def test_a_score_that_never_changed_has_no_correlation_and_does_not_pass(tmp_path, capsys):
    path = written(tmp_path, ROWS + "0.95,0.95,0.95\n,0.95,0.95\n")
    table = read_test_table(path)
    assert passes(table).tolist() == [True, False]
    assert mean_correlations(table).tolist() == pytest.approx([0.95, 0.95, 0.95, 2.85])
    main([str(path)])
    assert "rows without a correlation: 1 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("eyes_corr,pose_corr\n1,1\n", "no column 'mouth_corr'"),
        (ROWS, "no rows"),
        (ROWS + "0.9,high,0.9\n", "mouth_corr in row 0 is 'high'"),
        (ROWS + "0.9,0.9,9.2\n", "pose_corr in row 0 is"),
        ("", "cannot be read"),
    ],
)
def test_a_table_that_is_no_test_result_is_named(tmp_path, capsys, text, says):
    path = written(tmp_path, text)
    with pytest.raises(StoreError, match=says):
        read_test_table(path)
    assert main([str(path)]) == 1 and str(path) in capsys.readouterr().err


def test_mistaken_arguments_get_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none.csv")]) == 1
    assert "is missing" in capsys.readouterr().err
    assert main([str(written(tmp_path, ROWS + "1,1,1\n")), "--eyes", "92"]) == 1
    assert "cutoff of eyes is 92" in capsys.readouterr().err
    with pytest.raises(ValueError, match="cutoff of pose is nan"):
        CorrelationCutoffs(pose=np.nan)


def test_wilson_intervals():
    """Published values (Wilson 1927; Newcombe 1998, method 3: 15 of 148 is .0624 to .1605)."""
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
