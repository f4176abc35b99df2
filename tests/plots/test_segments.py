"""Figures of notebook 03: colors of the classes, order of rows, windows, bars."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

from ohlora_lib.faces.classes import CLASS_NAMES, LEFT_EYE, SKIN
from ohlora_lib.plots import segments as plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def test_an_overlay_colors_every_class_and_keeps_the_background():
    faces = np.full((1, 4, 4, 3), 100, np.uint8)
    maps = np.full((1, 4, 4), SKIN, np.uint8)
    maps[0, :2] = 0
    drawn = plots.overlay(faces, maps)
    assert (drawn[0, :2] == 100).all()
    np.testing.assert_allclose(drawn[0, 3, 3], 0.4 * 100 + 0.6 * plots.COLORS[SKIN], atol=0.5)
    assert len({tuple(color) for color in plots.COLORS}) == len(CLASS_NAMES)


def test_overlays_put_each_row_of_faces_above_its_own_maps():
    faces = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    maps = np.full((5, 8, 8), SKIN, np.uint8)
    figure = plots.overlays(faces, maps, columns=2)
    seen = figure.grid[:, :, 4, 4, 0]
    colored = plots.overlay(faces, maps)[:4, 4, 4, 0].tolist()
    assert seen.tolist() == [[0, 1], colored[:2], [2, 3], colored[2:]]


def test_frequencies_show_a_map_per_class_and_the_eyes_windows():
    frequency = np.random.default_rng(0).random((11, 224, 224))
    figure = plots.class_frequencies(frequency)
    titles = [axes.get_title(loc="center") for axes in figure.axes]
    assert titles == list(CLASS_NAMES[1:])
    eye = figure.axes[LEFT_EYE - 1]
    assert np.array_equal(eye.images[0].get_array(), frequency[LEFT_EYE])
    (window,) = eye.patches
    assert window.get_bbox().bounds == (0, 56, 168, 112)


def test_bars_stand_beside_their_class_with_the_first_on_top():
    iou = pd.Series(np.linspace(0, 1, 11), index=list(CLASS_NAMES))
    axes = plots.iou_bars(iou).axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert dict(zip(names, widths, strict=True)) == pytest.approx(iou.to_dict())
    assert names[-1] == "background"
    hair = axes.patches[names.index("hair")].get_facecolor()[:3]
    np.testing.assert_allclose(hair, plots.COLORS[10] / 255)
    assert axes.get_legend().get_texts()[0].get_text() == "mean 0.500"


def test_a_detection_is_drawn_where_it_is():
    points = np.arange(10.0).reshape(1, 5, 2)
    image = np.zeros((40, 60, 3), np.uint8)
    axes = plots.detections(image, np.array([[10.0, 5.0, 30.0, 25.0]]), points).axes[0]
    box, five = (line.get_xydata() for line in axes.lines)
    assert box[:, 0].tolist() == [10, 30, 30, 10, 10] and box[:, 1].tolist() == [5, 5, 25, 25, 5]
    assert np.array_equal(five, points[0]) and axes.get_ylim() == (40, 0)
