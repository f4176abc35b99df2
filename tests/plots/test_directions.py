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


def test_changes_fill_the_scale_and_leave_out_a_score_s_own():
    table = pd.DataFrame([[1.0, -0.004], [0.24, 1.0]], ["a", "b"], ["a", "b"])
    figure = plots.score_changes({"svm": table, "ridge": table / 2})
    first, second = figure.axes[:2]
    assert [axes.get_title(loc="left") or axes.get_title() for axes in (first, second)] == [
        "svm",
        "ridge",
    ]
    assert texts(first) == ["0.00", "0.24"] and texts(second) == ["0.00", "0.12"]
    assert all(axes.collections[0].get_clim() == (-0.24, 0.24) for axes in (first, second))


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


def test_projections_have_a_panel_per_property_and_a_strip_per_class():
    rng = np.random.default_rng(0)
    parts = {"lowest": rng.normal(-2, 1, 30), "between": rng.normal(0, 1, 900)}
    parts["highest"] = rng.normal(2, 1, 30)
    figure = plots.projections(dict.fromkeys(EXPRESSION, parts))
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == list(EXPRESSION)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(parts)
    for at, (points, drawn, median) in enumerate(
        zip(parts.values(), axes.collections[::2], axes.collections[1::2], strict=True)
    ):
        x, y = drawn.get_offsets().T
        assert x.tolist() == points[: plots.MOST_DOTS].tolist()
        assert (np.abs(y - at) < 0.5).all()
        assert median.get_segments()[0][0, 0] == np.median(points[: plots.MOST_DOTS])
