"""Figures of notebook gai_p3/07."""

import numpy as np
import pandas as pd

from ohlora_lib.plots import conditions as plots

NAMES = ("eyes", "mouth")


def test_requested_and_measured_has_a_row_per_set_and_a_panel_per_condition():
    given, measured = np.random.default_rng(0).random((2, 6, 2))
    figure = plots.requested_and_measured(NAMES, {"a": (given, measured), "b": (measured, given)})
    assert len(figure.axes) == 4
    points = figure.axes[1].collections[0].get_offsets()
    np.testing.assert_allclose(points, np.column_stack([given[:, 1], measured[:, 1]]))
    np.testing.assert_allclose(figure.axes[3].collections[0].get_offsets()[:, 0], measured[:, 1])


def test_matrices_show_every_slope():
    matrix = pd.DataFrame([[0.9, 0.1], [-0.2, 0.8]], index=NAMES, columns=NAMES)
    figure = plots.intervention_matrices({"generated": matrix, "rendered": matrix.T})
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [["0.90", "0.10", "-0.20", "0.80"], ["0.90", "-0.20", "0.10", "0.80"]]


def test_rate_is_per_group_and_per_value():
    kl = np.array([[16.0, 16.0], [64.0, 0.0]])
    left, right = plots.rate_of_groups(kl, [4, 8]).axes
    assert [bar.get_height() for bar in left.patches] == [32, 64]
    assert [bar.get_height() for bar in right.patches] == [1, 0.5]
