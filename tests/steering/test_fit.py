"""All kinds of directions: what was fitted steers after it was on disk."""

import numpy as np
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering.fit import DIRECTIONS, DirectionSet, fit_directions
from ohlora_lib.steering.gradient import GradientConfig
from ohlora_lib.steering.groups import VectorError, median_grouping
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.ridge import fit_ridge
from ohlora_lib.steering.svm import SvmConfig, fit_svm
from ohlora_lib.store import StoreError

SMALL = GradientConfig(hidden=32, epochs=6)


@pytest.fixture(scope="module")
def scene(sampled):
    return np.random.default_rng(0).integers(0, 256, (len(sampled[0]), 360), np.uint8)


@pytest.fixture(scope="module")
def fitted(sampled, scene):
    grouping = median_grouping(sampled[1], V7)
    return fit_directions(tuple(DIRECTIONS), *sampled, grouping, scene, gradient=SMALL)


@pytest.fixture(scope="module")
def loaded(sampled, fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("directions")
    found = {name: fit.directions for name, fit in fitted.items()}
    DirectionSet("mapping_split2", median_grouping(sampled[1], V7), found).save(folder)
    return DirectionSet.load(folder)


def test_every_kind_is_fitted_once_and_mixed_from_its_parts(fitted):
    assert set(fitted) == set(DIRECTIONS) - {"mixed"}


def test_a_name_says_which_fit_it_is(fitted, sampled, scene):
    vectors, scores = sampled
    grouping = median_grouping(scores, V7)
    everything = SvmConfig(controlled=tuple(scores))
    for name, own in {
        "svm": fit_svm(vectors, scores, grouping),
        "svm all": fit_svm(vectors, scores),
        "svm controlled": fit_svm(vectors, scores, grouping, everything),
        "ridge": fit_ridge(vectors, scores),
        "ridge scene": fit_ridge(vectors, scores, scene=scene),
        "ridge groups": fit_ridge(vectors, scores, grouping),
    }.items():
        assert np.array_equal(own.directions.vectors, fitted[name].directions.vectors), name
        assert own.report.equals(fitted[name].report)
    assert fitted["gradient"].directions.unwhiten is None
    assert fitted["gradient controlled"].directions.unwhiten is not None


def test_the_tail_fraction_reaches_the_svms(sampled):
    vectors, scores = sampled
    grouping = median_grouping(scores, V7)
    svm = SvmConfig(tail_fraction=0.1)
    report = fit_directions(["svm all"], vectors, scores, grouping, svm=svm)["svm all"].report
    assert (report[["trained", "validated"]].sum(axis=1) == 2 * 400).all()


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_direction_raises_its_own_score_after_it_was_on_disk(loaded, sampled, sampler, name):
    vectors, grouping = sampled[0][:32], loaded.grouping
    groups = grouping.indices(sampled[1][:32])
    before = sampler.scores(vectors)
    for place in range(len(EXPRESSION)):
        request = np.tile(np.eye(3, dtype=np.float32)[place], (32, 1))
        rise = sampler.scores(vectors + loaded[name].step(vectors, request, groups)) - before
        assert (rise[:, place] > 0.1).mean() > 0.9, (name, EXPRESSION[place])


def test_a_folder_keeps_layer_groups_and_exact_directions(loaded, fitted, sampled):
    assert loaded.layer == "mapping_split2"
    assert loaded.grouping == median_grouping(sampled[1], V7)
    vectors, groups = sampled[0][:9], loaded.grouping.indices(sampled[1][:9])
    request = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    for name, fit in fitted.items():
        own = fit.directions.step(vectors, request, groups)
        assert np.array_equal(own, loaded[name].step(vectors, request, groups)), name


def test_mixed_is_gradient_for_the_eyes_and_svm_for_mouth_and_pose(loaded, sampled):
    vectors, groups = sampled[0][:3], loaded.grouping.indices(sampled[1][:3])
    step = loaded["mixed"].step(vectors, np.eye(3, dtype=np.float32), groups)
    eyes, other = (
        loaded[name].step(vectors, np.eye(3, dtype=np.float32), groups)
        for name in ("gradient", "svm")
    )
    assert step == pytest.approx(np.stack([eyes[0], other[1], other[2]]), abs=1e-6)


def test_what_was_not_fitted_is_named(sampled, tmp_path):
    vectors, scores = sampled
    grouping = median_grouping(scores, V7)
    ridge = fit_directions(["ridge"], vectors, scores, grouping)["ridge"].directions
    with pytest.raises(StoreError, match="'svm' were fitted, only ridge"):
        Method.build(MethodSpec("svm"), DirectionSet("w", grouping, {"ridge": ridge}))
    with pytest.raises(StoreError, match="run notebook 07 first"):
        DirectionSet.load(tmp_path)
    with pytest.raises(VectorError, match="'smv'"):
        fit_directions(["smv"], vectors, scores, grouping)
    with pytest.raises(VectorError, match="colors around each face"):
        fit_directions(["ridge scene"], vectors, scores, grouping)
