"""A method turns requests into edits, recenters, and is saved with its fields."""

from dataclasses import replace

import numpy as np
import pytest

from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.fit import DirectionSet
from ohlora_lib.steering.groups import Grouping
from ohlora_lib.steering.meters import MeterSet, StandardizedMeter, expression_scores
from ohlora_lib.steering.method import Method, Start, read_methods, write_methods
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.responses import MIDDLE, REQUESTS
from ohlora_lib.steering.sampling import latents
from ohlora_lib.store import StoreError
from tests.steering.conftest import SIZE, Bystander, PlantedSampler, Rows

RNG = np.random.default_rng(0)
DIRECTIONS = RNG.standard_normal((1, 3, SIZE)).astype(np.float32)
GROUPING = Grouping(V7, (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def linear():
    """A sampler whose scores do not level off, its meter, and a method that moves each by 1."""
    sampler = PlantedSampler(entangled=0.0, level=50.0)
    meter = StandardizedMeter(Rows(), np.zeros(8), np.ones(8))
    meters = MeterSet(meter, meter, Bystander(), background=60.0)
    directions = LinearDirections(sampler.readouts[:, :3].T[None].astype(np.float32))
    return sampler, meters, Method(MethodSpec("svm all"), directions)


def test_an_edit_adds_the_scaled_request_times_the_directions():
    method = Method(MethodSpec("svm all"), LinearDirections(DIRECTIONS), factors=(2.0, 0.5, 3.0))
    vectors = latents(1, range(4), SIZE)
    requests = RNG.standard_normal((4, 3)).astype(np.float32)
    start = Start(vectors, vectors + 1, None)
    expected = vectors + 1 + requests * [2.0, 0.5, 3.0] @ DIRECTIONS[0]
    assert method.edit(start, requests) == pytest.approx(expected, abs=1e-5)
    units = np.array([[2.0], [0.5], [3.0]]) * DIRECTIONS[0]
    assert method.unit_edits(start) == pytest.approx(np.tile(units, (4, 1, 1)), abs=1e-5)
    own = start._replace(directions=RNG.standard_normal((4, 3, SIZE)).astype(np.float32))
    expected = vectors + 1 + np.einsum("np,npd->nd", requests, own.directions)
    assert method.edit(own, requests) == pytest.approx(expected, abs=1e-5)


def test_recentering_brings_the_expression_to_the_mean_at_the_middle_request(linear):
    sampler, meters, method = linear
    method = replace(method, spec=MethodSpec("svm all", recentered=True))
    vectors = latents(3, range(16), SIZE)
    start = method.start(sampler, meters, vectors)

    def measured(request):
        images = method.images(sampler, start, np.tile(np.float32(request), (16, 1)))
        return expression_scores(meters.cnn, meters.cnn(images))

    assert np.abs(measured(MIDDLE)).max() < 0.05
    assert measured((0, 0, 0)) == pytest.approx(np.tile([0, 0, 0.6], (16, 1)), abs=0.05)
    assert start.unedited is vectors and start.groups is None


def test_without_recentering_steering_starts_at_the_latent_itself(linear):
    sampler, meters, method = linear
    vectors = latents(3, range(4), SIZE)
    start = method.start(sampler, meters, vectors)
    assert start.vectors is vectors and start.directions is None


def test_the_image_grid_has_a_row_per_latent_and_a_column_per_request(linear):
    sampler, meters, method = linear
    start = method.start(sampler, meters, latents(3, range(3), SIZE))
    grid = method.image_grid(sampler, start, REQUESTS[:7])
    assert grid.shape == (3, 7, 16, 16, 3)
    one = method.images(sampler, start.take(np.array([2])), REQUESTS[4:5])
    assert np.array_equal(grid[2, 4], one[0])


def test_starts_are_taken_and_concatenated_row_by_row():
    vectors = latents(1, range(5), SIZE)
    whole = Start(vectors, 2 * vectors, np.arange(5), RNG.standard_normal((5, 3, SIZE)))
    again = Start.concatenate([whole.take(slice(0, 2)), whole.take(np.array([2, 3, 4]))])
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    assert Start.concatenate([Start(vectors, vectors, None)] * 2).groups is None


@pytest.fixture
def fitted():
    vectors = RNG.standard_normal((8, 3, SIZE)).astype(np.float32)
    found = {"svm": LinearDirections(vectors, GROUPING), "ridge": LinearDirections(vectors[:1])}
    found["gradient"] = found["ridge"]
    return DirectionSet("mapping_split1", GROUPING, found)


def test_a_method_is_built_of_its_specification_and_fitted_directions(fitted):
    svm, ridge = (Method.build(MethodSpec(name), fitted) for name in ("svm", "ridge"))
    assert svm.directions is fitted["svm"] and ridge.directions is fitted["ridge"]
    assert (svm.layer, svm.grouping, ridge.grouping) == ("mapping_split1", GROUPING, None)
    assert Method.build(MethodSpec("mixed"), fitted).grouping == GROUPING
    assert svm.styles is None
    assert Method.build(MethodSpec("svm", layers=(2, 5)), fitted).styles == (2, 6)


def test_methods_are_saved_with_their_fields_and_factors(fitted, meters, tmp_path):
    spec = MethodSpec("ridge", True, True, True, (0, 5))
    methods = [
        Method.build(MethodSpec("svm"), fitted),
        replace(Method.build(spec, fitted), factors=(1.5, 2.5, 0.25)),
    ]
    write_methods(tmp_path / "methods.json", methods, meters)
    again = read_methods(tmp_path / "methods.json", fitted)
    assert list(again) == ["svm", "ridge, per latent, calibrated, recentered, layers 0-5"]
    for method, read in zip(methods, again.values(), strict=True):
        assert (read.spec, read.factors, read.layer) == (method.spec, method.factors, method.layer)
        assert read.directions is method.directions
    with pytest.raises(StoreError, match="run notebook 08"):
        read_methods(tmp_path / "none.json", fitted)
