"""Figures of notebook 08 show the numbers and images they are given, each at its place."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.plots import control_test as plots
from ohlora_lib.steering.responses import REQUESTS
from ohlora_lib.steering.select import CorrelationCutoffs


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def pixels(figure) -> np.ndarray:
    """The gray level of each image of a sheet, by row and column."""
    return figure.grid[:, :, 0, 0, 0]


def gray(levels) -> np.ndarray:
    """Images of 4 x 4 pixels of these gray levels."""
    return np.tile(np.uint8(levels)[:, None, None, None], (4, 4, 3))


def test_mouth_and_pose_are_labeled_by_row_and_column():
    figure = plots.mouth_and_pose(gray(np.arange(25)))
    assert pixels(figure).tolist() == np.arange(25).reshape(5, 5).tolist()
    assert figure.heads[0] == "pose -1.8" and figure.rows[-1] == "mouth 1.8"


def test_strips_have_a_row_per_method_and_property():
    figure = plots.strips(
        {"svm": gray(np.arange(15)), "ridge, calibrated": gray(np.arange(15, 30))}
    )
    assert pixels(figure).tolist() == np.arange(30).reshape(6, 5).tolist()
    assert figure.rows == tuple(
        f"{method}: {name}" for method in ("svm", "ridge, calibrated") for name in EXPRESSION
    )


def test_pass_rates_stand_beside_their_method_with_their_interval():
    columns = {"rate": [0.25, 1.0], "low": [0.1, 0.8], "high": [0.5, 1.0]}
    rates = pd.DataFrame(columns, index=["svm", "ridge"])
    figure = plots.pass_rates({"cnn": rates, "parser": rates.assign(rate=[0.2, 0.9])})
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["svm", "ridge"]
    assert axes.get_ylim() == (1.5, -0.5)
    cnn, parser = axes.containers
    assert cnn.get_label() == "property CNN" and parser.get_label() == "parser"
    assert cnn[0].get_xdata().tolist() == [0.25, 1.0]
    assert parser[0].get_xdata().tolist() == [0.2, 0.9]
    assert np.array(cnn[2][0].get_segments())[0, :, 0].tolist() == pytest.approx([0.1, 0.5])


def test_response_scatter_shows_each_property_with_its_correlations():
    measured = {"cnn": np.arange(150.0).reshape(50, 3), "parser": np.zeros((50, 3))}
    correlations = {"cnn": np.array([0.1, 0.2, 0.3]), "parser": np.array([0.4, 0.5, 0.6])}
    figure = plots.response_scatter(REQUESTS, measured, correlations)
    pose = figure.axes[2]
    assert pose.get_xlabel() == "requested pose\ncorr.: property CNN 0.30, parser 0.60"
    at = pose.collections[0].get_offsets()
    assert at[:, 1].tolist() == measured["cnn"][:, 2].tolist()
    assert np.abs(at[:, 0] - REQUESTS[:, 2]).max() < 0.1


def test_correlation_by_start_has_a_row_per_method_and_the_cutoffs():
    columns = {f"unedited_{n}": [k, k + 0.5] for k, n in enumerate(EXPRESSION)}
    columns |= {f"judge_{n}_corr": [np.nan, 0.8 - k / 10] for k, n in enumerate(EXPRESSION)}
    table = pd.DataFrame({"method": ["a", "b, c"]} | columns)
    cutoffs = CorrelationCutoffs(0.5, 0.6, 0.7)
    figure = plots.correlation_by_start(table, ["b, c", "a"], cutoffs, "judge")
    found = [axes.collections[0].get_offsets().tolist() for axes in figure.axes]
    assert found[1] == [[1.5, pytest.approx(0.3)]]
    assert found[4] == [[1, 1]], "no correlation"
    lines = [axes.lines[0].get_ydata()[0] for axes in figure.axes[:3]]
    assert lines == pytest.approx([0.5, 0.4, 0.3])
    assert all(axes.yaxis_inverted() and axes.get_yscale() == "log" for axes in figure.axes)
    assert [axes.get_title(loc="left") for axes in figure.axes[::3]] == ["b, c", "a"]


@pytest.mark.parametrize("lowest", [0.5, 0.8])
def test_cutoffs_have_round_ticks(lowest):
    cutoffs = np.linspace(lowest, 1, 30)
    curve = pd.DataFrame({"svm": np.linspace(1, 0, 30)}, index=cutoffs)
    figure = plots.pass_curves({"parser": curve, "CNN": curve}, lowest)
    for axes in figure.axes:
        ticks = axes.get_xticks()
        shown = ticks[(ticks >= lowest - 1e-9) & (ticks <= 1)]
        assert len(shown) >= 4 and np.allclose(shown * 20, np.round(shown * 20))
