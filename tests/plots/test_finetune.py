"""Figures of notebook 05: each side at its own place."""

import numpy as np
import pandas as pd

from ohlora_lib.faces.concept import concept_shares
from ohlora_lib.plots import finetune as plots


def test_shares_are_drawn_at_their_values_with_before_above_after():
    def women(count):
        gender = np.where(np.arange(20) < count, 0.9, 0.1)
        return {"gender": gender, "quality": gender * 0 + 1, "age": gender * 0, "glass": gender * 0}

    table = concept_shares({"before": women(5), "after": women(15), "filtered set": women(20)})
    axes = plots.shares(table, published=(0.556, 0.937)).axes[0]
    female = {line.get_label(): line for line in axes.containers}
    before, after = (female[side].lines[0].get_xydata()[0] for side in ("before", "after"))
    assert (before[0], after[0]) == (0.25, 0.75) and before[1] < after[1]
    assert axes.yaxis_inverted()
    assert axes.collections[-1].get_offsets()[:, 0].tolist() == [0.556, 0.937]


def test_same_z_sheet_shows_the_first_and_the_last_evaluation():
    steps = np.repeat(np.arange(0, 100, 10), 2)
    assert plots.same_z_rows(steps, rows=3).tolist() == [0, 40, 90]
    assert plots.same_z_rows(np.array([0, 0, 7, 7])).tolist() == [0, 7]
    images = np.zeros((6, 8, 8, 3), np.uint8)
    figure = plots.same_z_sheet(images, np.array([0, 0, 40, 40, 90, 90]))
    assert figure.rows == ("before", "step 40", "after")


def test_losses_leave_out_the_row_before_the_first_step():
    log = pd.DataFrame(
        {"step": [0, 5], "discriminator": [np.nan, 1.2], "generator": [np.nan, 0.8]}
    ).assign(auroc=[np.nan, 0.7])
    left, right = plots.losses(log).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in left.lines}
    assert drawn == {"generator": [[5, 0.8]], "discriminator": [[5, 1.2]]}
    assert right.lines[0].get_xydata().tolist() == [[5, 0.7]]


def test_ticks_stand_at_evaluations():
    log = pd.DataFrame({"step": np.arange(0, 7 * 26, 7), "discriminator": 1.0, "generator": 0.7})
    for axes in plots.losses(log.assign(auroc=0.5)).axes:
        ticks = axes.get_xticks()
        assert len(ticks) == 9 and ticks.tolist() == list(range(0, 26 * 7, 21))
