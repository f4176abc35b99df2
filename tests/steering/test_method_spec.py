"""What the search leaves on disk steers as what it found; a method's name says how."""

import numpy as np
import pytest

from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering.control_test import LatentSet, control_test
from ohlora_lib.steering.groups import VectorError, median_grouping
from ohlora_lib.steering.jacobian import GradientConfig
from ohlora_lib.steering.meters import MeterSet
from ohlora_lib.steering.method_spec import DIRECTIONS, Recipe, Search, find
from ohlora_lib.steering.sample_count import sample_count_curve
from ohlora_lib.steering.scene import COLORS
from ohlora_lib.store import StoreError
from tests.steering.conftest import SIZE, Bystander, Rows


@pytest.fixture(scope="module")
def folder(sampled, tmp_path_factory):
    vectors, scores = sampled
    folder = tmp_path_factory.mktemp("found")
    grouping = median_grouping(scores, V7)
    search = Search(tuple(DIRECTIONS), gradient=GradientConfig(hidden=32, epochs=6))
    scene = np.random.default_rng(0).integers(0, 256, (len(vectors), COLORS), np.uint8)
    reports = find(search, vectors, scores, grouping, folder, scene)
    assert reports.keys() == DIRECTIONS.keys() - {"mixed"}
    return folder


@pytest.mark.parametrize("name", [*DIRECTIONS, "ridge, measured", "ridge groups, measured"])
def test_every_direction_steers_after_it_was_on_disk(folder, sampler, meters, name):
    method = Recipe.read(f"{name}, recenterd").method(folder)
    tested = control_test([method], sampler, meters, LatentSet.from_seed(3, range(4), SIZE))
    assert (tested[["cnn_eyes_slope", "cnn_mouth_slope", "cnn_pose_slope"]] > 0.1).all().all()


def test_a_recipe_says_what_is_done_with_the_directions(folder):
    plain, full = Recipe.read("svm"), Recipe.read("ridge, steps, recenterd, layers 0-5")
    assert (plain.steps, plain.recentering, plain.styles) == (False, 0, None)
    assert (full.steps, full.recentering, full.styles) == (True, 2, (0, 6))
    own = Recipe.read("ridge groups, measured, recenterd")
    assert own.measured and own.method(folder).measured and not full.measured
    assert plain.method(folder).grouping.properties == V7
    assert full.method(folder).grouping is None


@pytest.mark.parametrize(
    "name",
    ["smv", "svm, longer", "svm, layers 3", "svm, layers 5-3", "svm,", "svm, measured"],
)
def test_a_recipe_that_cannot_be_is_refused(name):
    with pytest.raises(VectorError, match=r"method|directions"):
        Recipe.read(name)


def test_directions_that_were_not_looked_for_are_named(tmp_path, sampled):
    vectors, scores = sampled
    find(Search(("ridge",)), vectors, scores, median_grouping(scores, V7), tmp_path)
    with pytest.raises(StoreError, match="'svm', only ridge"):
        Recipe.read("svm").method(tmp_path)
    with pytest.raises(VectorError, match="'smv'"):
        Search(("smv",))
    with pytest.raises(VectorError, match="colors around each face"):
        find(
            Search(("ridge scene",)),
            vectors,
            scores,
            median_grouping(scores, V7),
            tmp_path,
        )


def test_instruments_come_back_in_the_same_units(sampler, tmp_path):
    images = sampler.images(np.random.default_rng(0).standard_normal((64, SIZE)).astype(np.float32))
    made = MeterSet(
        type_of(images, 0.0), type_of(images, 0.3), Witnessed(mean_distance=2.0), background=33.0
    )
    made.write(tmp_path / "units.json")
    again = MeterSet.read(tmp_path / "units.json", Rows(), Rows(0.3), None)
    assert np.array_equal(made.cnn(images).scores, again.cnn(images).scores)
    assert (again.identity.mean_distance, again.background) == (2.0, 33.0)
    with pytest.raises(StoreError, match="its cnn meter reads"):
        MeterSet.read(tmp_path / "units.json", Rows(0, ("eyes",)), Rows(), None)


def type_of(images, noise):
    from ohlora_lib.steering.meters import StandardizedMeter

    return StandardizedMeter.fit(Rows(noise), Rows(noise)(images).scores)


class Witnessed(Bystander):
    def __new__(cls, mean_distance):
        made = super().__new__(cls)
        made.mean_distance = mean_distance
        return made


def test_more_samples_settle_directions_but_leave_svms_leakage(sampled):
    curve = sample_count_curve(*sampled, [250, 2000]).groupby(["method", "n"])
    agreement, spill = (curve[name].mean().unstack() for name in ("agreement", "spill"))
    assert (agreement[2000] > agreement[250]).all() and (agreement[2000] > 0.9).all()
    assert spill.loc["svm", 2000] > 0.8 * spill.loc["svm", 250]
    assert spill.loc["ridge", 2000] < 0.5 * spill.loc["svm", 2000]
