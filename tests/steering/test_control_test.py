"""The image generation test distinguishes methods that steer from methods that seem to."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.compute import jobs
from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering import comparison
from ohlora_lib.steering import control_test as control_test_module
from ohlora_lib.steering.control_test import (
    BATCH,
    LatentSet,
    control_test,
    meter_columns,
    side_effects,
)
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.groups import median_grouping
from ohlora_lib.steering.meters import MeterSet, Reading, StandardizedMeter, gray_level_difference
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.responses import MIDDLE, REQUESTS
from ohlora_lib.steering.ridge import fit_ridge
from ohlora_lib.steering.sampling import latents
from ohlora_lib.steering.select import CUTOFFS_V8, passes
from ohlora_lib.steering.svm import fit_svm
from tests.steering.conftest import SIZE, Bystander, PlantedSampler, Rows


@pytest.fixture(scope="module")
def by_ridge(sampled):
    return Method(MethodSpec("ridge"), fit_ridge(*sampled).directions)


def linear(directions: np.ndarray, name: str = "svm all") -> Method:
    return Method(MethodSpec(name), LinearDirections(np.float32(directions)))


def test_rows_of_a_latent_do_not_depend_on_what_is_tested_with_it(sampler, meters, by_ridge):
    both = control_test([by_ridge], sampler, meters, LatentSet.from_seed(3, [2, 70], SIZE)).table
    alone = control_test([by_ridge], sampler, meters, LatentSet.from_seed(3, [70], SIZE)).table
    measured = [name for name in alone if name.startswith("cnn_")]
    assert np.allclose(both.loc[1, measured].astype(float), alone.loc[0, measured].astype(float))
    assert both["idx"].tolist() == [2, 70]


def test_executor_gives_the_same_result_and_holds_few_batches(
    sampler, meters, by_ridge, monkeypatch
):
    futures, waiting = [], []

    class Counted(ThreadPoolExecutor):
        def submit(self, work, /, *given):
            futures.append(super().submit(work, *given))
            waiting.append(sum(not future.done() for future in futures))
            return futures[-1]

    monkeypatch.setattr(jobs, "processes_for", lambda: 1)
    tested = LatentSet.from_seed(3, range(5 * BATCH), SIZE)
    alone = control_test([by_ridge], sampler, meters, tested)
    with Counted(1) as pool:
        spread = control_test([by_ridge], sampler, meters, tested, executor=pool)
    pd.testing.assert_frame_equal(alone.table, spread.table)
    assert np.array_equal(alone.starts["ridge"].vectors, spread.starts["ridge"].vectors)
    assert len(waiting) == 5 and max(waiting) == 2


def test_tested_latents_are_kept_for_the_same_method_generator_and_latents(
    sampler, meters, by_ridge, tmp_path, monkeypatch
):
    calls, test = [], control_test_module._test_batch
    monkeypatch.setattr(
        control_test_module, "_test_batch", lambda *given: calls.append(1) or test(*given)
    )
    tested = LatentSet.from_seed(3, range(2 * BATCH), SIZE)
    first = control_test([by_ridge], sampler, meters, tested, folder=tmp_path)
    (tmp_path / "ridge/00001.npz").unlink()  # as if it had been interrupted
    again = control_test([by_ridge], sampler, meters, tested, folder=tmp_path)
    assert len(calls) == 2 + 1
    pd.testing.assert_frame_equal(first.table, again.table)
    assert np.array_equal(first.starts["ridge"].vectors, again.starts["ridge"].vectors)
    changed = replace(by_ridge, factors=(2.0, 1.0, 1.0))
    control_test([changed], sampler, meters, tested, folder=tmp_path)
    assert len(calls) == 3 + 2


def test_the_result_has_the_start_of_each_method_and_latent(sampler, meters, by_ridge):
    """One latent by hand: start, requests @ directions, images, scores, correlation."""
    methods = [by_ridge, replace(by_ridge, spec=MethodSpec("ridge", recentered=True))]
    tested = LatentSet.from_seed(3, range(BATCH + 2), SIZE)
    table, starts = control_test(methods, sampler, meters, tested)
    assert list(starts) == ["ridge", "ridge, recentered"]
    assert np.array_equal(starts["ridge"].vectors, tested.z)
    row = BATCH + 1
    for method in methods:
        start = starts[method.name].take([row])
        w = start.vectors + REQUESTS @ method.unit_edits(start)[0]
        scores = meters.cnn(sampler.images(w)).scores
        found = table[table["method"] == method.name].iloc[row]
        assert found["idx"] == row
        for place, name in enumerate(EXPRESSION):
            own = scores[:, meters.cnn.properties.index(name)]
            by_hand = np.corrcoef(REQUESTS[:, place], own)[0, 1]
            assert found[f"cnn_{name}_corr"] == pytest.approx(by_hand, abs=1e-3)


def test_published_svm_steers_with_groups_and_with_the_right_sign(sampler, meters, sampled):
    vectors, scores = sampled
    grouping = median_grouping(scores, V7)
    found = fit_svm(vectors, scores, grouping)
    method = Method(MethodSpec("svm"), found.directions, grouping=grouping)
    latent_set = LatentSet.from_seed(3, range(12), SIZE)
    tested = control_test([method], sampler, meters, latent_set).table
    names = list(grouping.names)
    known = replace(latent_set, groups=np.array([names.index(g) for g in tested["group_name"]]))
    again = control_test([method], sampler, meters, known).table
    pd.testing.assert_frame_equal(tested, again)  # a saved selection brings its groups along
    assert (comparison.mean_correlations(tested, "cnn") > 0.5).all().all()
    assert set(tested["group_name"]) <= set(grouping.names) and tested["group_name"].nunique() > 2


def test_ridge_moves_other_properties_less_than_svm(sampler, meters, sampled, by_ridge):
    by_svm = Method(MethodSpec("svm all"), fit_svm(*sampled).directions)
    tested = LatentSet.from_seed(3, range(16), SIZE)
    table = control_test([by_svm, by_ridge], sampler, meters, tested).table
    leakage = comparison.side_effects(table, "cnn")[list(EXPRESSION)]
    assert (leakage.loc["ridge"] < 0.6 * leakage.loc["svm all"]).all()


def test_recentering_passes_latents_that_have_no_room_left(sampler, meters, by_ridge):
    recentered = replace(by_ridge, spec=MethodSpec("ridge", recentered=True))
    far = LatentSet(4 * latents(3, range(12), SIZE), np.arange(12))  # where scores level off
    tables = [control_test([m], sampler, meters, far).table for m in (by_ridge, recentered)]
    rates = [passes(meter_columns(table, "cnn"), CUTOFFS_V8).mean() for table in tables]
    assert rates[1] >= rates[0] + 0.25
    changes = [table["recentering_change"] for table in tables]
    assert (changes[1] > 0).all() and not changes[0].any()


def test_a_meter_that_only_one_method_fools_shows_in_its_gain(sampler, meters, by_ridge):
    class Fooled(Rows):
        def __call__(self, images):
            reading = super().__call__(images)
            along = 0.5 * (images[:, 8:9, 0, 0] - 128.0) / 40
            return reading._replace(scores=reading.scores + along)

    fooled = replace(meters, cnn=StandardizedMeter(Fooled(), np.zeros(8), np.ones(8)))
    cheat = linear(by_ridge.directions.vectors * 0.3 + sampler.readouts[:, -1] * 1.5)
    tested = LatentSet.from_seed(3, range(8), SIZE)
    gains = comparison.gains(control_test([by_ridge, cheat], sampler, fooled, tested).table)
    assert (gains.loc["ridge"] > 0.7).all() and (gains.loc["svm all"] < 0.6).all()


def test_extra_meters_read_the_same_images(sampler, meters, by_ridge):
    tested = LatentSet.from_seed(3, range(3), SIZE)
    table = control_test([by_ridge], sampler, meters, tested, {"again": meters.cnn}).table
    assert (table["again_mouth_corr"] == table["cnn_mouth_corr"]).all()


def test_side_effects_see_what_moves_and_only_that():
    """Filters are read off rows of the image: what moves such a row moves this filter alone."""
    sampler = PlantedSampler(entangled=0.0)
    meter = StandardizedMeter(Rows(), np.zeros(8), np.ones(8))
    meters = MeterSet(meter, meter, Bystander(), background=60.0)
    still = linear(np.zeros((1, 3, SIZE)), "svm")
    background = linear(np.tile(0.5 * sampler.readouts[:, -1], (1, 3, 1)), "svm all")
    first_row = linear(np.tile(0.5 * sampler.readouts[:, 0], (1, 3, 1)), "ridge")
    tested = LatentSet.from_seed(3, range(4), SIZE)
    table = control_test([still, background, first_row], sampler, meters, tested).table
    columns = ["background", "identity", "outline", "gender_change", "quality_change"]
    means = table.groupby("method")[columns].mean()
    assert (means.loc["svm"] == 0).all()
    assert (means.loc["svm all", ["background", "identity"]] > 0.1).all()
    assert (means.loc["svm all", ["gender_change", "quality_change"]] == 0).all()
    assert means.loc["ridge", "gender_change"] > 0.05
    assert (means.loc["ridge", ["background", "identity", "quality_change"]] == 0).all()


def test_side_effects_are_changes_against_the_image_at_the_middle_request():
    sampler = PlantedSampler(entangled=0.0)
    meter = StandardizedMeter(Rows(), np.zeros(8), np.ones(8))
    meters = MeterSet(meter, meter, Bystander(), background=60.0)
    directions = np.zeros((1, 3, SIZE))
    directions[0, 2] = 0.5 * sampler.readouts[:, -1]  # a larger pose makes the background lighter
    z = latents(3, range(1), SIZE)
    table = control_test([linear(directions)], sampler, meters, LatentSet(z, np.arange(1))).table
    images = sampler.images(z + REQUESTS @ directions[0])
    middle = sampler.images(z + np.array([MIDDLE]) @ directions[0])
    apart = np.linalg.norm(meters.identity(images)[1] - meters.identity(middle)[1], axis=1)
    assert table["identity"][0] == pytest.approx(apart.mean(), rel=1e-3)


def test_side_effects_have_exact_values():
    """Filters, identity and mask are read off pixels that are set here."""
    images = np.zeros((1, 50, 4, 4, 3), np.uint8)
    middle = np.zeros((1, 4, 4, 3), np.uint8)
    images[0, :, 0, :] = 30  # background differs by 30 in the first row ...
    images[0, 10, 1, 0, 0] = 200  # ... and gender and glass are lower or higher in one image
    images[0, 20, 1, 1, 0] = 100
    middle[0, 1, 0, 0] = 255
    images[0, np.arange(50) != 10, 1, 0, 0] = 255

    class Pixels:
        filters = ("gender", "quality", "age", "glass")

        def __call__(self, shown):
            gender, glass = shown[:, 1, 0, 0] / 255, shown[:, 1, 1, 0] / 255
            probabilities = np.stack([gender, np.ones(len(shown)), glass / 2, glass], 1)
            return probabilities, shown[:, :1, :2, 0].reshape(-1, 2) / 30

    mask = np.zeros((1, 50, 4, 4), bool)
    mask[:, :, :2] = True  # two rows of background; of the middle image, one
    middle_mask = np.zeros((1, 4, 4), bool)
    middle_mask[:, :1] = True
    meters = SimpleNamespace(
        parser=lambda shown: Reading(np.zeros((1, 8)), middle_mask),
        identity=Pixels(),
        background_change=lambda *given: gray_level_difference(*given) / 60,
    )
    found = {name: value[0] for name, value in side_effects(meters, images, mask, middle).items()}
    assert found["background"] == pytest.approx(0.5)
    assert found["outline"] == pytest.approx(1 - 8 / 12)  # 8 pixels of face in both, 12 in either
    assert found["identity"] == pytest.approx(np.sqrt(2))
    assert found["gender_worst"] == pytest.approx(200 / 255)
    assert found["glass_worst"] == pytest.approx(100 / 255)
    assert found["age_worst"] == pytest.approx(50 / 255)
    assert found["quality_worst"] == 1
    assert found["glass_mean"] == pytest.approx(100 / 255 / 50)
    assert found["gender_change"] == pytest.approx(55 / 255 / 50)


def test_difference_is_counted_inside_the_mask_and_undefined_without_one():
    images = np.zeros((2, 2, 2, 3), np.uint8)
    others = images.copy()
    others[0, 0, 0] = 30
    others[0, 1, 1] = 90
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0] = True
    found = gray_level_difference(images, others, mask)
    assert found[0] == 15 and np.isnan(found[1])
