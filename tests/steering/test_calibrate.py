"""Calibration follows its rule, whatever the length of the directions."""

from dataclasses import replace

import numpy as np
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.calibrate import (
    EXTREMES,
    RANGE,
    CalibrationRule,
    calibrate,
    calibrate_methods,
)
from ohlora_lib.steering.control_test import LatentSet, control_test
from ohlora_lib.steering.directions import LinearDirections, ScaledDirections
from ohlora_lib.steering.meters import MeterSet, StandardizedMeter
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.ridge import fit_ridge
from ohlora_lib.steering.sampling import latents
from tests.steering.conftest import SIZE, Bystander, PlantedSampler, Rows

CALIBRATED = MethodSpec("ridge", calibrated=True, recentered=True)


@pytest.fixture(scope="module")
def by_ridge(sampled):
    return Method(MethodSpec("ridge"), fit_ridge(*sampled).directions)


def test_the_extremes_are_the_ends_of_the_levels_with_the_others_in_the_middle():
    assert pytest.approx(
        np.array([[-1.2, 0, -0.6], [1.2, 0, -0.6], [0, -1.8, -0.6], [0, 1.8, -0.6],
                  [0, 0, -1.8], [0, 0, 0.6]])
    ) == EXTREMES  # fmt: skip
    assert pytest.approx([2.4, 3.6, 2.4]) == RANGE


@pytest.mark.parametrize(("factor", "gain"), [(0.1, 1.0), (7.0, 1.0), (1.0, 0.6)])
def test_a_unit_moves_the_parsers_score_by_the_gain(sampler, meters, by_ridge, factor, gain):
    scaled = ScaledDirections(by_ridge.directions, (factor,) * 3)
    method = replace(by_ridge, spec=CALIBRATED, directions=scaled)
    vectors = latents(5, range(24), SIZE)
    method = calibrate(method, sampler, meters, vectors, CalibrationRule(gain, background=9))
    tested = control_test([method], sampler, meters, LatentSet.from_seed(6, range(16), SIZE)).table
    slopes = tested[[f"parser_{name}_slope" for name in EXPRESSION]].mean()
    assert np.allclose(slopes, gain, atol=0.2 * gain), slopes


def test_the_slope_is_the_parsers_and_not_the_cnns():
    sampler = PlantedSampler(entangled=0.0, level=50.0)
    cnn, parser = (StandardizedMeter(Rows(), np.zeros(8), np.full(8, s)) for s in (1.0, 0.5))
    meters = MeterSet(cnn, parser, Bystander(), background=60.0)
    readouts = LinearDirections(sampler.readouts[:, :3].T[None].astype(np.float32))
    method = Method(MethodSpec("svm all", calibrated=True), readouts)
    rule = CalibrationRule(background=9, rounds=6)
    vectors = 0.3 * latents(5, range(16), SIZE)  # far from where images are black or white
    factors = calibrate(method, sampler, meters, vectors, rule).factors
    assert factors == pytest.approx((0.5, 0.5, 0.5), rel=0.02)


def test_the_background_limits_the_step(sampler, meters, by_ridge):
    dragging = by_ridge.directions.vectors + 2.0 * sampler.readouts[:, -1]
    method = Method(MethodSpec("svm all"), LinearDirections(dragging.astype(np.float32)))
    vectors = latents(5, range(24), SIZE)
    capped, free = (
        calibrate(method, sampler, meters, vectors, CalibrationRule(background=most))
        for most in (0.2, 9)
    )
    assert max(capped.factors) < 0.5 * min(free.factors)


def test_only_methods_that_ask_for_it_are_calibrated(sampler, meters, by_ridge):
    spec = MethodSpec("ridge", calibrated=True)
    z, rule = latents(5, range(8), SIZE), CalibrationRule(0.7, background=9)
    methods = [by_ridge, replace(by_ridge, spec=spec)]
    plain, calibrated = calibrate_methods(methods, sampler, meters, z, rule)
    assert plain.factors == (1.0, 1.0, 1.0)
    assert calibrated.factors == calibrate(methods[1], sampler, meters, z, rule).factors
    assert calibrated.factors != (1.0, 1.0, 1.0)
