"""Figures of notebook 04 show each property's own scores."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

from ohlora_lib.faces.classes import HAIR, LEFT_EYE, RIGHT_EYE, SKIN
from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.measure.rendered import TRUE_ATTRIBUTES
from ohlora_lib.measure.scores import DIFFERENT, FIRST
from ohlora_lib.plots import scores as plots
from ohlora_lib.plots.segments import COLORS as CLASS_COLORS


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture
def scores():
    columns = [*PROPERTIES, *FIRST.values()]
    values = np.random.default_rng(0).standard_normal((300, len(columns)))
    return pd.DataFrame(values + np.arange(len(columns)), columns=columns)


def test_every_histogram_has_the_mean_of_its_property_and_all_faces(scores):
    figure = plots.histograms(scores)
    for axes, name in zip(figure.axes, PROPERTIES, strict=True):
        assert axes.get_title(loc="left") == name or axes.get_title() == name
        assert axes.lines[0].get_xdata()[0] == pytest.approx(scores[name].mean())
        assert sum(bar.get_height() for bar in axes.patches) == 300


def test_the_heat_map_shows_the_correlations_with_their_sign(scores):
    matrix = scores[list(PROPERTIES)].corr()
    matrix.loc["eyes", "mouth"] = -0.5
    axes = plots.correlation_heatmap(matrix).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()][1] == "hair color"
    assert axes.texts[PROPERTIES.index("mouth")].get_text() == "-0.50"


def test_extremes_have_a_row_per_property_with_the_lowest_left():
    faces = np.arange(8 * 4, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    figure = plots.extremes(faces, columns=2)
    assert np.array_equal(figure.grid[:, :, 0, 0, 0], np.arange(32).reshape(8, 4))
    assert figure.heads == ("lowest scores", "", "highest scores", "")
    assert figure.rows[7] == "hairstyle: straight → curly"


def test_the_first_algorithm_is_on_the_x_axis(scores):
    figure = plots.first_against_second(scores)
    for axes, name in zip(figure.axes, DIFFERENT, strict=True):
        x, y = axes.lines[0].get_data()
        assert np.array_equal(x, scores[f"v1_{name}"]) and np.array_equal(y, scores[name])


def test_scatter_plots_are_over_the_true_attribute(scores):
    rng = np.random.default_rng(1)
    truth = pd.DataFrame({name: rng.random(300) for name in TRUE_ATTRIBUTES.values()})
    figure = plots.truth_scatter(scores, truth, np.arange(8) / 10)
    x, y = figure.axes[7].lines[0].get_data()
    assert np.array_equal(x, truth["curl"]) and np.array_equal(y, scores["hairstyle"])
    assert figure.axes[7].texts[0].get_text() == "r = 0.70"


def test_definitions_draw_eyes_lines_and_blocks_on_the_class_map():
    classes = np.zeros((224, 224), np.uint8)
    classes[20:224, 60:164] = HAIR
    classes[60:110, 80:144] = SKIN
    classes[80:86, 84:100], classes[84:88, 124:140] = LEFT_EYE, RIGHT_EYE
    figure = plots.definitions(classes, dict.fromkeys(PROPERTIES, 0.5))
    at = dict(zip(PROPERTIES, figure.axes, strict=True))
    tallest, chord = (line.get_xydata() for line in at["eyes"].lines[:2])
    assert np.ptp(tallest[:, 1]) == 6 and np.ptp(tallest[:, 0]) == 0
    assert chord[:, 0].tolist() == [84, 99]
    centers = at["pose"].lines[0].get_xydata()
    assert centers.tolist() == [[91.5, 82.5], [131.5, 85.5]]
    center, below, left, right = (patch.get_xy() for patch in at["hairstyle"].patches)
    assert below == (center[0], center[1] + 8) and right[0] - left[0] == 16
    seen = at["hair_color"].images[0].get_array()
    assert (seen[150, 100] == CLASS_COLORS[HAIR]).all() and (seen[100, 100] > 230).all()
