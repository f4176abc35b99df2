"""Raw scores to what the models are fed."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.measure.normalize import min_max, z_scores

HAIR = [100, 250, 120, 180, 210]


def test_z_has_the_sample_deviation_and_four_places_as_published():
    raw = pd.DataFrame({"eyes": [1.0, 2.0, 4.0]})
    expected = (raw["eyes"] - 7 / 3) / np.sqrt(((raw["eyes"] - 7 / 3) ** 2).sum() / 2)
    assert z_scores(raw)(raw)["eyes"].tolist() == [round(value, 4) for value in expected]


def test_values_that_are_not_finite_change_no_other_and_stay_missing():
    clean = pd.DataFrame({"pose": [0.1, 0.2, 0.4]})
    raw = pd.DataFrame({"pose": [0.1, np.inf, 0.2, np.nan, 0.4, -np.inf]})
    normalized = z_scores(raw)(raw)["pose"]
    assert normalized.isna().tolist() == [False, True, False, True, False, True]
    assert normalized.dropna().tolist() == z_scores(clean)(clean)["pose"].tolist()


def test_min_max_gives_the_first_versions_worked_example():
    raw = pd.DataFrame({"hair_color": HAIR})
    expected = [0.0, 1.0, 0.133, 0.533, 0.733]
    assert min_max(raw)(raw, decimals=3)["hair_color"].tolist() == expected


def test_min_max_of_a_pose_goes_from_left_to_right():
    raw = pd.DataFrame({"pose": [-0.5, 0.0, 1.5], "v1_pose": [3.0, 4.0, 5.0]})
    normalized = min_max(raw)(raw)
    assert normalized["pose"].tolist() == [-1.0, -0.5, 1.0]
    assert normalized["v1_pose"].tolist() == [-1.0, 0.0, 1.0]


def test_what_was_fitted_on_one_set_applies_to_another():
    raw, other = pd.DataFrame({"eyes": [0.0, 2.0]}), pd.DataFrame({"eyes": [4.0], "mouth": [1.0]})
    assert min_max(raw)(other).to_dict("list") == {"eyes": [2.0]}


@pytest.mark.parametrize("fit", [z_scores, min_max])
def test_a_score_that_never_varies_is_zero_everywhere(fit):
    """Synthetic sets do that; a division by 0 would put NaN into every label."""
    raw = pd.DataFrame({"mouth": [0.0, 0.0, 0.0]})
    assert fit(raw)(raw)["mouth"].tolist() == [0.0, 0.0, 0.0]
