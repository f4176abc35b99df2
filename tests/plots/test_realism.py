"""Figures of notebooks gai_p3/05, 06 and 08."""

import numpy as np
import pandas as pd

from ohlora_lib.measure.intervals import Interval
from ohlora_lib.plots import realism

FACES = np.full((2, 32, 32, 3), 100, np.uint8)


def test_histograms_have_a_panel_per_judge_and_a_line_per_set():
    rng = np.random.default_rng(0)
    sets = {"real": rng.normal(2, 1, 50), "generated": rng.normal(-2, 1, 40)}
    figure = realism.log_odds_histograms({"D1": sets, "D2": sets})
    assert [axes.get_title() for axes in figure.axes] == ["D1", "D2"]
    heights = [sum(patch.get_path().vertices[:, 1].max() for patch in axes.patches)
               for axes in figure.axes]  # fmt: skip
    assert all(height > 0 for height in heights)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(sets)


def test_maps_are_laid_over_and_cells_outside_are_darkened():
    maps = np.zeros((2, 16, 16), np.float32)
    maps[:, 4, 4] = 3
    heated = realism.heated(FACES, maps)
    assert heated.shape == FACES.shape and heated[0, 8, 8].sum() > heated[0, 0, 0].sum()
    outlined = realism.outlined(FACES, maps.clip(0, 1))
    assert (outlined[0, 8:10, 8:10] == 100).all() and (outlined[0, :8] == 35).all()
    assert realism.enlarged(FACES).shape == (2, 64, 64, 3)


def test_dots_show_each_interval_in_its_row():
    rows = {"before": {"D1": Interval(0.9, 0.8, 0.95), "D2": Interval(0.7, 0.6, 0.8)},
            "after": {"D1": Interval(0.5, 0.4, 0.6)}}  # fmt: skip
    figure = realism.dots(rows, "AUROC")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(rows)
    values = [container.lines[0].get_xdata().tolist() for container in axes.containers]
    assert values == [[0.9, 0.5], [0.7]]


def test_attempts_are_compared_seed_by_seed():
    table = pd.DataFrame(
        {"attempt": ["baseline", "new"] * 2, "seed": [0, 0, 1, 1], "recall": [0.1, 0.2, 0.3, 0.4]}
    )
    axes = realism.by_seed(table, ["recall"]).axes[0]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.1, 0.2], [0.3, 0.4]]


def test_regions_have_a_bar_per_judge():
    quotients = pd.DataFrame({"D1": [1.0, 2.0], "D2": [0.5, 1.5]}, index=["skin", "hair"])
    axes = realism.attention_of_regions(quotients).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1.0, 2.0, 0.5, 1.5]
