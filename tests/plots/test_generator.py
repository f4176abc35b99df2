"""Figures of notebook 01 show the numbers that they are given, in their places."""

import numpy as np
import pandas as pd
from matplotlib import pyplot

from ohlora_lib.plots import generator as plots


def test_the_average_face_and_the_standard_deviation_stand_side_by_side():
    mean = np.zeros((4, 6, 3))
    mean[1, 2] = [10.4, 20.6, 255]
    std = np.arange(24.0).reshape(4, 6)
    figure = plots.average_face(mean, std)
    left, right = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert left[1, 2].tolist() == [10, 21, 255] and np.array_equal(right, std)
    pyplot.close(figure)


def test_histograms_name_both_sets_and_show_percentages():
    rng = np.random.default_rng(0)
    low, high = (
        {name: rng.normal(shift, 0.1, 50) for name in plots.ATTRIBUTES} for shift in (0, 5)
    )
    figure = plots.attribute_histograms(generated=high, rendered=low, cutoffs={"age": 0.65})
    handles, names = figure.axes[0].get_legend_handles_labels()
    drawn = dict(zip(names, handles, strict=True))
    x, y = drawn["generated (50)"].get_data()
    assert np.average(x, weights=y) > 4  # a line: generated; an area: rendered
    assert drawn["rendered (50)"].get_paths()[0].vertices[:, 1].max() > 0
    assert [axes.get_xlabel() for axes in figure.axes] == list(plots.ATTRIBUTES.values())
    dashed = {
        axes.get_xlabel(): line.get_xdata()[0]
        for axes in figure.axes
        for line in axes.lines
        if line.get_linestyle() == "--"
    }
    assert dashed == {"age": 0.65}
    pyplot.close(figure)


def test_the_heat_map_has_a_row_for_each_edited_property():
    effects = pd.DataFrame([[1.0, -0.25, 0.5], [0.1, 1.0, 0.0]], ["a", "b"], ["a", "b", "c"])
    axes = plots.side_effect_heatmap(effects).axes[0]
    numbers = [text.get_text() for text in axes.texts]
    assert numbers == ["+1.00", "-0.25", "+0.50", "+0.10", "+1.00", "+0.00"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]
    pyplot.close("all")


def test_each_generator_has_a_bar_per_attribute():
    table = pd.DataFrame({"a": [0.9, 0.4], "b": [0.7, 0.2]}, ["eyes", "mouth"])
    figure = plots.attribute_bars({"R²": table, "spread": 2 * table}, ["mouth", "eyes"])
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [0.4, 0.9, 0.2, 0.7]
    assert [bar.get_width() for bar in right.patches] == [0.8, 1.8, 0.4, 1.4]
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["mouth", "eyes"]
    pyplot.close(figure)
