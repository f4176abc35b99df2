"""What more samples change, and leakage by hand."""

import numpy as np
import pytest

from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.sample_count import agreement, leakage, sample_count_curve

NAMES = ["eyes", "mouth", "pose", "hair_length"]


def linear(*rows):
    return LinearDirections(np.float32([rows]))


def test_leakage_is_the_mean_absolute_change_of_the_others_per_own_unit():
    slopes = np.eye(4)  # score p is coordinate p
    directions = linear([2, -1, 0, 3], [0, -4, 0, 0], [1, 1, 2, -2])
    # (1 + 3) / 3 / 2, 0, and (1 + 1 + 2) / 3 / 2
    assert leakage(directions, slopes, NAMES) == pytest.approx([2 / 3, 0, 2 / 3])
    order = ["hair_length", "pose", "eyes", "mouth"]
    rows = [NAMES.index(name) for name in order]
    assert leakage(directions, slopes[:, rows], order) == pytest.approx([2 / 3, 0, 2 / 3])


def test_agreement_is_the_cosine_by_property():
    one, other = linear([1, 0], [1, 0], [3, 4]), linear([5, 0], [0, 2], [-3, -4])
    assert agreement(one, other) == pytest.approx([1, 0, -1])


def test_the_two_sets_of_a_count_share_no_latent_and_rows_say_which(sampled, monkeypatch):
    from ohlora_lib.steering import sample_count

    seen = []
    real = sample_count.fit_ridge

    def noted(vectors, scores):
        seen.append(set(scores.index))
        return real(vectors, scores)

    monkeypatch.setattr(sample_count, "fit_ridge", noted)
    curve = sample_count_curve(*sampled, [300])
    assert len(seen) == 2 and all(len(rows) == 300 for rows in seen) and not seen[0] & seen[1]
    assert curve["method"].tolist() == ["svm"] * 3 + ["ridge"] * 3
    assert curve["property"].tolist() == ["eyes", "mouth", "pose"] * 2
    assert curve["accuracy"].notna().tolist() == [True] * 3 + [False] * 3
    assert (curve["n"] == 300).all()


def test_more_samples_settle_directions_but_svms_go_on_leaking(sampled):
    curve = sample_count_curve(*sampled, [250, 2000]).groupby(["method", "n"])
    agree, leak = (curve[name].mean().unstack() for name in ("agreement", "leakage"))
    assert (agree[2000] > agree[250]).all() and (agree[2000] > 0.9).all()
    assert leak.loc["svm", 2000] > 0.8 * leak.loc["svm", 250]
    assert leak.loc["ridge", 2000] < 0.5 * leak.loc["svm", 2000]
