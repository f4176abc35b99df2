"""Figures of notebook 02: which side of a cutoff is colored, and where borderline images stand."""

import numpy as np
import pandas as pd

from ohlora_lib.faces.concept import Cutoffs
from ohlora_lib.plots import labels as plots
from ohlora_lib.plots.sheets import tile

CUTOFFS = Cutoffs(gender=0.9, quality=0.8, age=0.2, glass=0.1)


def test_histograms_count_the_side_that_passes():
    scores = pd.DataFrame({"gender": [0.9, 0.95, 0.1, 0.2], "age": [0.2, 0.1, 0.15, 0.9]})
    figure = plots.score_histograms(scores.assign(quality=1.0, glass=1.0), CUTOFFS)
    legends = {
        axes.get_title() or axes.get_title("left"): [
            text.get_text() for text in axes.get_legend().get_texts()
        ]
        for axes in figure.axes
    }
    assert legends == {
        "gender ≥ 0.9": ["passes: 50%", "fails: 50%"],
        "quality ≥ 0.8": ["passes: 100%", "fails: 0%"],
        "age ≤ 0.2": ["passes: 75%", "fails: 25%"],
        "glass ≤ 0.1": ["passes: 0%", "fails: 100%"],
    }


def test_borderline_images_stand_in_the_row_of_their_side_and_missing_ones_are_white(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "labeled_sheet", lambda *given: shown.append(given))
    table = pd.DataFrame(
        [("gender", "passes", 0, 7), ("gender", "fails", 1, 5), ("glass", "fails", 0, 3)],
        columns=["property", "side", "rank", "idx"],
    )
    images = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (70, 50, 30)])
    plots.borderline_sheet(images, table, columns=2)
    sheet, columns, rows = shown[0]
    expected = np.full(16, 255)
    expected[[0, 3, 14]] = 70, 50, 30
    assert sheet[:, 0, 0, 0].tolist() == expected.tolist() and columns == 2
    assert rows[0] == "gender just passes" and rows[-1] == "glass just fails"
    assert tile(sheet, columns).shape[1] == 2 * 4 + 4


def test_learning_curves_mark_the_best_epoch_of_the_kept_try():
    folds = pd.DataFrame(
        {
            "property": ["gender", "quality", "age", "glass"],
            "tries": [[{"losses": [9.0]}, {"losses": [0.6, 0.4, 0.5]}]] * 4,
            "kept": 1,
            "best_epoch": 1,
            "loss": 0.4,
        }
    )
    figure = plots.learning_curves(folds, dict.fromkeys(folds["property"], 0.3))
    curve, dot, threshold = figure.axes[2].lines
    assert curve.get_xydata().tolist() == [[1, 0.6], [2, 0.4], [3, 0.5]]
    assert dot.get_xydata().tolist() == [[2, 0.4]]
    assert set(threshold.get_ydata()) == {0.3}
