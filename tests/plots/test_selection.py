"""Figures of notebook 09: every image and label in its place."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

from ohlora_lib.plots import selection
from ohlora_lib.steering.responses import EYES, MOUTH, POSE, REQUESTS


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


def numbered(*shape):
    """2x2 images whose gray level is their number."""
    count = int(np.prod(shape))
    images = np.arange(count, dtype=np.uint8).reshape(*shape, 1, 1, 1)
    return np.broadcast_to(images, (*shape, 2, 2, 3)).copy()


def cells(figure):
    """Gray level of each image of the sheet: rows of columns."""
    return figure.grid[:, :, 0, 0, 0].tolist()


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_expressions_have_a_row_per_eyes_and_mouth_and_a_column_per_pose():
    figure = selection.expression_grid(numbered(50), EYES, MOUTH, POSE)
    shown = np.array(cells(figure))
    assert shown.shape == (10, 5)
    for row, label in enumerate(figure.rows):
        eyes, mouth = (float(part.split()[1]) for part in label.split(", "))
        for column, head in enumerate(figure.heads):
            request = [eyes, mouth, float(head.split()[1])]
            assert REQUESTS[shown[row, column]] == pytest.approx(request)


def test_each_face_is_above_its_second_image():
    figure = selection.paired_rows(numbered(3), 10 + numbered(3), ("before", "after"), columns=2)
    assert cells(figure) == [[0, 1], [10, 11], [2, 255], [12, 255]]
    assert figure.rows == ("before", "after", "before", "after")


def test_a_strip_is_a_row_and_its_level_increases_to_the_right():
    figure = selection.strips(numbered(2, 3), ["eyes", "pose"])
    assert cells(figure) == [[0, 1, 2], [3, 4, 5]]
    assert figure.rows == ("eyes", "pose") and figure.heads == ("lowest", "", "highest")


def test_long_strip_shows_evenly_spaced_levels_up_to_the_last():
    images = np.arange(7, dtype=np.uint8)[None, :, None, None, None] * np.ones((128, 128, 3), "u1")
    assert cells(selection.strips(images, ["eyes"])) == [[0, 2, 4, 6]]


def test_the_funnel_has_a_bar_per_stage_from_top_to_bottom():
    figure = selection.funnel(pd.Series({"tested": 1200, "selected": 30}))
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1200, 30]
    assert labels(axes.get_yticklabels()) == ["tested", "selected"]
    assert axes.yaxis_inverted() and [text.get_text() for text in axes.texts] == [" 1,200", " 30"]
