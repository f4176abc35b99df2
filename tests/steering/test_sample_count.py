"""Leakage by hand, and what more samples change."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering import sample_count
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.sample_count import (
    agreement,
    leakage,
    sample_count_curve,
    score_changes,
    score_slopes,
)
from ohlora_lib.steering.svm import SvmConfig

NAMES = ["eyes", "mouth", "pose", "hair_length"]


def linear(*rows):
    return LinearDirections(np.float32([rows]))


@pytest.mark.parametrize("order", [NAMES, ["hair_length", "pose", "eyes", "mouth"]])
def test_leakage_is_the_mean_absolute_change_of_the_others_per_own_unit(order):
    slopes = pd.DataFrame(np.eye(4), columns=NAMES)[order]  # a score is a coordinate
    changes = score_changes(linear([2, -1, 0, 3], [0, -4, 0, 0], [1, 1, 2, -2]), slopes)
    assert changes[NAMES].to_numpy() == pytest.approx(
        np.array([[1, -0.5, 0, 1.5], [0, 1, 0, 0], [0.5, 0.5, 1, -1]])
    )
    assert leakage(changes).to_dict() == pytest.approx({"eyes": 2 / 3, "mouth": 0, "pose": 2 / 3})


def test_directions_of_groups_count_with_their_mean(planted):
    slopes = pd.DataFrame(np.eye(24)[:, 5:9], columns=NAMES)
    vectors = np.tile(np.float32(np.eye(24)[5:8]), (8, 1, 1))
    vectors[:4, 0, 8], vectors[4:, 0, 8] = 1.0, -0.5  # 0.25 on average
    changes = score_changes(LinearDirections(vectors, planted.grouping), slopes)
    assert changes.loc["eyes"].tolist() == pytest.approx([1, 0, 0, 0.25])


def test_slopes_are_those_of_a_linear_score():
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((500, 6)) * [1, 2, 3, 4, 5, 6] + 3).astype(np.float32)
    truth = rng.standard_normal((6, 4))
    slopes = score_slopes(vectors, pd.DataFrame(vectors @ truth, columns=NAMES).assign(idx=0))
    assert list(slopes) == NAMES and slopes.to_numpy() == pytest.approx(truth, abs=1e-4)


def test_agreement_is_the_cosine_by_property():
    one, other = linear([1, 0], [1, 0], [3, 4]), linear([5, 0], [0, 2], [-3, -4])
    assert agreement(one, other) == pytest.approx([1, 0, -1])


def test_the_two_samples_of_a_count_share_no_latent_and_each_has_its_fit(sampled, monkeypatch):
    seen, configs = [], []
    ridge, svm = sample_count.fit_ridge, sample_count.fit_svm

    def noted_ridge(vectors, scores):
        seen.append(set(scores.index))
        return ridge(vectors, scores)

    def noted_svm(vectors, scores, grouping, config):
        configs.append((grouping, config))
        return svm(vectors, scores, grouping, config)

    monkeypatch.setattr(sample_count, "fit_ridge", noted_ridge)
    monkeypatch.setattr(sample_count, "fit_svm", noted_svm)
    config = SvmConfig(tail_fraction=0.3)
    curve = sample_count_curve(*sampled, [300], config)
    assert configs == [(None, config)] * 2
    assert len(seen) == 2 and all(len(rows) == 300 for rows in seen) and not seen[0] & seen[1]
    assert curve["method"].tolist() == ["svm"] * 3 + ["ridge"] * 3
    assert curve["property"].tolist() == list(EXPRESSION) * 2
    assert curve["accuracy"].notna().tolist() == [True] * 3 + [False] * 3
    assert (curve["n"] == 300).all()
    first = sorted(seen[0])
    own = svm(sampled[0][first], sampled[1].iloc[first], None, config)
    expected = leakage(score_changes(own.directions, score_slopes(*sampled)))
    assert curve["leakage"][:3].tolist() == pytest.approx(expected.tolist())
    accuracy = own.report.set_index("property")["accuracy"]
    assert curve["accuracy"][:3].tolist() == pytest.approx(accuracy[list(EXPRESSION)].tolist())


def test_two_samples_must_fit_into_the_latents(sampled):
    with pytest.raises(VectorError, match="two samples of 2001 need more than 4000"):
        sample_count_curve(*sampled, [100, 2001])


def test_more_samples_settle_directions_but_svms_go_on_leaking(sampled):
    curve = sample_count_curve(*sampled, [250, 2000]).groupby(["method", "n"])
    agree, leak = (curve[name].mean().unstack() for name in ("agreement", "leakage"))
    assert (agree[2000] > agree[250]).all() and (agree[2000] > 0.9).all()
    assert leak.loc["svm", 2000] > 0.8 * leak.loc["svm", 250]
    assert leak.loc["ridge", 2000] < 0.5 * leak.loc["svm", 2000]
