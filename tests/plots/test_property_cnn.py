"""What the figures of notebook 06 show is what they were given."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.plots import property_cnn as plots


def test_a_panel_for_each_branch_with_its_kept_epoch():
    curves = pd.DataFrame(
        {
            "branch": ["eyes"] * 3 + ["pose"] * 3,
            "epoch": [0, 1, 2] * 2,
            "training": [3.0, 2, 1] * 2,
            "validation": [0.5, 0.3, 0.4, 0.2, 0.3, 0.4],
            "kept": [False, True, False, True, False, False],
        }
    )
    axes = plots.loss_curves(curves).axes
    kept = {panel.get_title(loc="left") or panel.get_title(): panel.lines[2] for panel in axes[:2]}
    assert kept["eyes"].get_xdata().tolist() == [2] and kept["eyes"].get_ydata().tolist() == [0.3]
    assert kept["pose"].get_xdata().tolist() == [1] and kept["pose"].get_ydata().tolist() == [0.2]


def test_computed_goes_across_and_predicted_up():
    rng = np.random.default_rng(0)
    computed = pd.DataFrame(rng.standard_normal((30, 8)), columns=list(PROPERTIES))
    predicted = 2 * computed
    axes = plots.fit_scatter(predicted, computed).axes[3]
    assert axes.lines[0].get_xdata() == pytest.approx(computed["mouth"])
    assert axes.lines[0].get_ydata() == pytest.approx(predicted["mouth"])
    assert axes.texts[0].get_text() == "r = 1.00"


def test_bars_are_grouped_by_property_with_the_first_column_left():
    errors = pd.DataFrame({"parser": [3.0, 1.0], "CNN": [2.0, 0.5]}, ["eyes", "hair_length"])
    axes = plots.error_bars(errors, "error").axes[0]
    assert [bar.get_height() for bar in axes.patches] == [3, 1, 2, 0.5]
    assert axes.patches[0].get_x() < axes.patches[2].get_x() < axes.patches[1].get_x()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["parser", "CNN"]
