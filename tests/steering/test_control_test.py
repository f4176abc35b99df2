"""The image generation test tells methods that steer from those that seem to."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from ohlora_lib.compute import jobs
from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering import comparison
from ohlora_lib.steering.calibrate import CalibrationRule, calibrate
from ohlora_lib.steering.control_test import BATCH, LatentSet, control_test, meter_columns
from ohlora_lib.steering.directions import LinearDirections, ScaledDirections
from ohlora_lib.steering.groups import median_grouping
from ohlora_lib.steering.meters import gray_level_difference
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.responses import MIDDLE, REQUESTS, responses
from ohlora_lib.steering.ridge import fit_ridge
from ohlora_lib.steering.sampling import latents
from ohlora_lib.steering.select import CUTOFFS_V8, passes
from ohlora_lib.steering.svm import fit_svm
from tests.steering.conftest import SIZE, Rows


@pytest.fixture(scope="module")
def by_ridge(sampled):
    return Method("ridge", fit_ridge(*sampled).directions)


def test_the_50_requests_are_the_published_ones():
    assert REQUESTS.shape == (50, 3) and len(np.unique(REQUESTS, axis=0)) == 50
    assert np.allclose(REQUESTS.mean(axis=0), MIDDLE, atol=1e-6)
    assert REQUESTS.min(axis=0) == pytest.approx([-1.2, -1.8, -1.8])
    assert REQUESTS.max(axis=0) == pytest.approx([1.2, 1.8, 0.6])


def test_responses_agree_with_scipy_latent_by_latent():
    rng = np.random.default_rng(0)
    properties = ("hairstyle", "pose", "mouth", "eyes")
    scores = rng.standard_normal((4, 50, 4))
    scores[..., 3] += 0.7 * REQUESTS[:, 0]
    scores[..., 1] -= 0.4 * REQUESTS[:, 2]
    found = responses(scores, properties)
    for row in range(4):
        for place, name in enumerate(EXPRESSION):
            own = scores[row, :, properties.index(name)]
            assert found[f"{name}_corr"][row] == pytest.approx(pearsonr(own, REQUESTS[:, place])[0])
            assert found[f"{name}_spearman"][row] == pytest.approx(
                spearmanr(own, REQUESTS[:, place])[0]
            )
            slope = np.polyfit(REQUESTS[:, place], own, 1)[0]
            assert found[f"{name}_slope"][row] == pytest.approx(slope)


def test_responses_of_a_perfect_and_of_a_dead_latent():
    scores = np.zeros((2, 50, 4))
    scores[0, :, :3] = REQUESTS
    scores[0, :, 3] = 0.5 * REQUESTS[:, 1]  # what moves along with the mouth
    found = responses(scores, (*EXPRESSION, "hair_length"))
    for name in EXPRESSION:
        assert found[f"{name}_corr"][0] == pytest.approx(1)
        assert found[f"{name}_slope"][0] == pytest.approx(1)
        assert found[f"{name}_monotonic"].tolist() == [1, 0]
        assert np.isnan(found[f"{name}_corr"][1]), "a score that never moves has no correlation"
    assert found["mouth_leakage"][0] == pytest.approx(0.5 / 3)
    assert found["eyes_leakage"][0] == pytest.approx(0, abs=1e-9)


def test_rows_of_a_latent_do_not_depend_on_what_is_tested_with_it(sampler, meters, by_ridge):
    both = control_test([by_ridge], sampler, meters, LatentSet.from_seed(3, [2, 70], SIZE))
    alone = control_test([by_ridge], sampler, meters, LatentSet.from_seed(3, [70], SIZE))
    measured = [name for name in alone if name.startswith("cnn_")]
    assert np.allclose(both.loc[1, measured].astype(float), alone.loc[0, measured].astype(float))
    assert both["idx"].tolist() == [2, 70]


def test_executor_gives_the_same_rows_and_holds_few_pieces(sampler, meters, by_ridge, monkeypatch):
    futures, held = [], []

    class Counted(ThreadPoolExecutor):
        def submit(self, work, /, *given):
            futures.append(super().submit(work, *given))
            held.append(sum(not future.done() for future in futures))
            return futures[-1]

    monkeypatch.setattr(jobs.os, "cpu_count", lambda: 1)
    asked = LatentSet.from_seed(3, range(5 * BATCH), SIZE)
    alone = control_test([by_ridge], sampler, meters, asked)
    with Counted(1) as pool:
        spread = control_test([by_ridge], sampler, meters, asked, executor=pool)
    pd.testing.assert_frame_equal(alone, spread)
    assert len(held) == 5 and max(held) == 2


def test_published_svm_steers_with_groups_and_with_the_right_sign(sampler, meters, sampled):
    vectors, scores = sampled
    grouping = median_grouping(scores, V7)
    found = fit_svm(vectors, scores, grouping)
    method = Method("svm", found.directions, grouping=grouping)
    asked = LatentSet.from_seed(3, range(12), SIZE)
    tested = control_test([method], sampler, meters, asked)
    names = list(grouping.names)
    known = replace(asked, groups=np.array([names.index(g) for g in tested["group_name"]]))
    again = control_test([method], sampler, meters, known)
    pd.testing.assert_frame_equal(tested, again)  # a saved selection brings its groups along
    assert (comparison.mean_correlations(tested, "cnn") > 0.5).all().all()
    assert set(tested["group_name"]) <= set(grouping.names) and tested["group_name"].nunique() > 2


def test_ridge_moves_other_properties_less_than_svm(sampler, meters, sampled, by_ridge):
    vectors, scores = sampled
    arrows = fit_svm(vectors, scores).directions
    tested = control_test(
        [Method("svm", arrows), by_ridge], sampler, meters, LatentSet.from_seed(3, range(16), SIZE)
    )
    spill = comparison.side_effects(tested, "cnn")[list(EXPRESSION)]
    assert (spill.loc["ridge"] < 0.6 * spill.loc["svm"]).all()


def test_recentering_passes_latents_that_have_no_room_left(sampler, meters, by_ridge):
    recenterd = Method("recenterd", by_ridge.directions, recentering=2)
    far = LatentSet(4 * latents(3, range(12), SIZE), np.arange(12))  # where scores level off
    rows = [control_test([m], sampler, meters, far) for m in (by_ridge, recenterd)]
    share = [passes(meter_columns(row, "cnn"), CUTOFFS_V8).mean() for row in rows]
    assert share[1] >= share[0] + 0.25
    assert (rows[1]["recentering_change"] > 0).all() and not rows[0]["recentering_change"].any()


def test_steps_follow_the_stated_rule_whatever_their_own_length(sampler, meters, by_ridge):
    vectors = latents(5, range(24), SIZE)
    for factor in (0.1, 7.0):
        method = Method(
            "scaled", ScaledDirections(by_ridge.directions, (factor,) * 3), recentering=1
        )
        method = calibrate(method, sampler, meters, vectors, CalibrationRule(background=9))
        tested = control_test([method], sampler, meters, LatentSet.from_seed(6, range(16), SIZE))
        slopes = tested[[f"parser_{name}_slope" for name in EXPRESSION]].mean()
        assert np.allclose(slopes, 1, atol=0.2), slopes


def test_steps_are_capped_by_the_background_that_they_change(sampler, meters, by_ridge):
    arrows = by_ridge.directions.vectors + 2.0 * sampler.readouts[:, -1]  # drags the background
    vectors = latents(5, range(24), SIZE)
    method = Method("dragging", LinearDirections(arrows.astype(np.float32)))
    capped, free = (
        calibrate(method, sampler, meters, vectors, CalibrationRule(background=most))
        for most in (0.2, 9)
    )
    assert max(capped.directions.factors) < 0.5 * min(free.directions.factors)


def test_a_meter_that_only_one_method_fools_is_told_by_its_gain(sampler, meters, by_ridge):
    class Fooled(Rows):
        def __call__(self, images):
            seen = super().__call__(images)
            return seen._replace(scores=seen.scores + 0.5 * (images[:, 8:9, 0, 0] - 128.0) / 40)

    fooled = type(meters)(
        type(meters.cnn)(Fooled(), np.zeros(8), np.ones(8)),
        meters.parser, meters.identity, meters.background,
    )  # fmt: skip
    arrows = by_ridge.directions.vectors * 0.3 + sampler.readouts[:, -1] * 1.5
    cheat = Method("cheat", LinearDirections(arrows.astype(np.float32)))
    tested = control_test(
        [by_ridge, cheat], sampler, fooled, LatentSet.from_seed(3, range(8), SIZE)
    )
    ratios = comparison.gains(tested)
    assert (ratios.loc["ridge"] > 0.7).all() and (ratios.loc["cheat"] < 0.6).all()


def test_side_effects_see_what_moves_and_only_that(sampler, meters, by_ridge):
    still = Method("still", LinearDirections(np.zeros((1, 3, SIZE), np.float32)))
    along = np.tile(sampler.readouts[:, -1], (1, 3, 1)).astype(np.float32)
    tested = (
        control_test(
            [still, Method("background", LinearDirections(along))],
            sampler,
            meters,
            LatentSet.from_seed(3, range(4), SIZE),
        )
        .groupby("method")[["background", "identity", "outline", "gender_change"]]
        .mean()
    )
    assert (tested.loc["still"] == 0).all()
    assert tested.loc["background", "background"] > 0.1
    assert tested.loc["background", "identity"] > 0.1
    assert tested.loc["background", "gender_change"] == 0


def test_difference_counts_only_where_and_is_not_defined_nowhere():
    images = np.zeros((2, 2, 2, 3), np.uint8)
    others = images.copy()
    others[0, 0, 0] = 30
    others[0, 1, 1] = 90
    where = np.zeros((2, 2, 2), bool)
    where[0, 0] = True
    found = gray_level_difference(images, others, where)
    assert found[0] == 15 and np.isnan(found[1])


def test_pass_rates_come_with_their_interval_and_baselines_can_be_tightened():
    table = pd.DataFrame({"method": ["a"] * 40})
    for name in EXPRESSION:
        table[f"cnn_{name}_corr"] = np.linspace(0.85, 0.999, 40)
    rates = comparison.pass_rates(table, "cnn", CUTOFFS_V8).loc["a"]
    assert rates.low < rates.rate < rates.high and 0.4 < rates.rate < 0.6
    cutoffs, added = comparison.tightened(table, "a", "cnn")
    assert passes(meter_columns(table, "cnn"), cutoffs).mean() <= 0.1 and added > 0
