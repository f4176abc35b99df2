"""What the figures of notebook 07 show is what they were given."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.plots import directions as plots


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_accuracies_stand_in_their_cells_and_a_star_marks_the_svm_of_all():
    report = pd.DataFrame(
        [
            {"group": group, "property": one, "learned_from": source, "accuracy": accuracy}
            for one, group, source, accuracy in [
                ("hair_color", "h", "h", 0.5), ("hair_color", "l", "l", 0.5),
                ("pose", "h", "h", 0.91), ("pose", "l", "all", 0.92), ("eyes", "h", "all", 1.0),
                ("eyes", "l", "l", 0.94), ("mouth", "h", "h", 0.95), ("mouth", "l", "l", 0.75),
            ]
        ]
    )  # fmt: skip
    axes = plots.svm_accuracy(report).axes[0]
    assert texts(axes) == ["1.00*", ".94", ".95", ".75", ".91", ".92*"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(EXPRESSION)
    assert axes.collections[0].get_clim() == (0.75, 1)


def test_cosines_and_changes_are_labeled_by_row_and_column():
    table = pd.DataFrame([[1.0, -0.004], [0.5, 1.0]], ["a", "b"], ["a", "b"])
    assert texts(plots.cosines(table).axes[0]) == ["1.00", "0.00", "0.50", "1.00"]
    figure = plots.score_changes({"svm": table, "ridge": table})
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes[:2]] == [
        "svm",
        "ridge",
    ]


def test_the_sample_count_figure_has_a_line_per_method_and_property():
    curve = pd.DataFrame(
        [
            {"n": n, "method": method, "property": one, "agreement": place + n / 1000,
             "leakage": 0.1, "accuracy": 0.9 if method == "svm" else np.nan}
            for n in (100, 200)
            for method in ("svm", "ridge")
            for place, one in enumerate(EXPRESSION)
        ]
    )  # fmt: skip
    figure = plots.sample_count(curve)
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert list(lines)[:3] == ["svm: eyes", "svm: mouth", "svm: pose"] and len(lines) == 6
    assert lines["ridge: pose"].get_ydata() == pytest.approx([2.1, 2.2])
    assert lines["ridge: pose"].get_linestyle() == "--"


def test_group_bars_and_their_mean():
    axes = plots.group_sizes(pd.Series({"h": 30, "l": 10}), ["hair_color"]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [30, 10]
    assert axes.lines[0].get_ydata()[0] == 20
    assert "hair_color" in axes.get_xlabel()


def test_tails_keep_their_colors():
    low, high = np.zeros((3, 2)), np.ones((2, 2))
    axes = plots.tails({"eyes": (low, high), "pose": (low, high)}).axes
    assert [len(points.get_offsets()) for points in axes[1].collections] == [3, 2]
    assert axes[1].collections[0].get_label() == "lowest"


def test_projections_have_a_panel_per_property_and_a_histogram_per_class():
    rng = np.random.default_rng(0)
    parts = {"lowest": rng.normal(-2, 1, 30), "between": rng.normal(0, 1, 90)}
    parts["highest"] = rng.normal(2, 1, 30)
    figure = plots.projections(dict.fromkeys(EXPRESSION, parts))
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == list(EXPRESSION)
    for drawn in figure.axes[0].containers:
        assert sum(bar.get_height() for bar in drawn) == pytest.approx(1)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["between (90)", "lowest (30)", "highest (30)"]
