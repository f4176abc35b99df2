"""Per-latent directions correct the response of the latent at which they are measured."""

import numpy as np
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering import comparison
from ohlora_lib.steering.control_test import LatentSet, control_test
from ohlora_lib.steering.directions import LinearDirections, PerPropertyDirections, ScaledDirections
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.per_latent import per_latent_directions
from ohlora_lib.steering.ridge import fit_ridge
from tests.steering.conftest import SIZE

NAMES = (*EXPRESSION, "hair_length", "hairstyle")
RNG = np.random.default_rng(8)
READOUTS = np.linalg.qr(RNG.standard_normal((SIZE, len(NAMES))))[0].T  # (P, D): directions, too
KNOWN = LinearDirections(READOUTS[None, :3], None, READOUTS[None, 3:], NAMES)
LATENTS = RNG.standard_normal((20, SIZE)).astype(np.float32)


def measuring(mixing):
    """Scores (N, P, names) whose responses to the known steps are those of `mixing` (N, P, P)."""
    return lambda vectors, names: np.einsum("npd,kd,nkj->npj", vectors, READOUTS, mixing)


def changes(directions, mixing):
    """(N, 3, D) -> change of every score per requested unit, (N, 3, P)."""
    return np.einsum("nkd,pd,npj->nkj", directions, READOUTS, mixing)


def test_where_the_regression_predicts_the_response_directions_do_not_change():
    mixing = np.tile(np.eye(len(NAMES)), (len(LATENTS), 1, 1))
    for directions, scale in (
        (KNOWN, 1),
        (ScaledDirections(KNOWN, (2.0, 0.5, 3.0)), [[2.0], [0.5], [3.0]]),
    ):
        own = per_latent_directions(directions, measuring(mixing), LATENTS)
        assert own == pytest.approx(np.tile(KNOWN.vectors * scale, (20, 1, 1)), abs=1e-4)


def test_measured_and_predicted_response_count_the_same():
    """A latent that moves twice as far as predicted gets steps divided by 1.5."""
    mixing = np.tile(2 * np.eye(len(NAMES)), (len(LATENTS), 1, 1))
    own = per_latent_directions(KNOWN, measuring(mixing), LATENTS)
    assert own == pytest.approx(np.tile(KNOWN.vectors / 1.5, (20, 1, 1)), abs=1e-4)


def test_half_of_the_leakage_at_a_latent_is_removed():
    mixing = np.eye(len(NAMES)) + 0.2 * RNG.standard_normal((20, len(NAMES), len(NAMES)))
    wanted = np.eye(3, len(NAMES))
    plain = changes(np.tile(KNOWN.vectors, (20, 1, 1)), mixing) - wanted
    own = changes(per_latent_directions(KNOWN, measuring(mixing), LATENTS), mixing) - wanted
    assert np.abs(own).mean() < 0.65 * np.abs(plain).mean()


def test_a_companion_stays_with_its_property():
    """Where a step has its wanted effects, its correction leaves it; a leak beyond is halved."""
    effects = np.eye(3, len(NAMES))
    effects[2, 3] = 0.5
    directions = (effects @ READOUTS)[None]
    known = LinearDirections(directions, None, READOUTS[None, 3:], NAMES, effects)
    plain = np.tile(np.eye(len(NAMES)), (len(LATENTS), 1, 1))
    own = per_latent_directions(known, measuring(plain), LATENTS)
    assert own == pytest.approx(np.tile(directions, (20, 1, 1)), abs=1e-4)
    leaking = plain.copy()
    leaking[:, 2, 4] = 0.2  # pose moves the hairstyle, too
    moved = changes(per_latent_directions(known, measuring(leaking), LATENTS), leaking)
    assert moved[:, 2, 3] == pytest.approx(0.5, abs=0.02)
    assert moved[:, 2, 4] == pytest.approx(0.1, abs=0.02)


def test_a_latent_without_a_response_gets_no_huge_step():
    mixing = np.zeros((20, len(NAMES), len(NAMES)))
    mixing[:, 0, 0] = -1  # cancels the predicted response
    own = per_latent_directions(KNOWN, measuring(mixing), LATENTS)
    assert np.isfinite(own).all() and np.linalg.norm(own, axis=2).max() < 2.1


@pytest.mark.parametrize(
    "directions", [LinearDirections(KNOWN.vectors),
                   ScaledDirections(LinearDirections(KNOWN.vectors), (1.0, 1.0, 1.0)),
                   PerPropertyDirections(KNOWN, KNOWN, KNOWN)]
)  # fmt: skip
def test_directions_without_a_step_per_controlled_score_are_refused(directions):
    with pytest.raises(VectorError, match="need a ridge"):
        per_latent_directions(directions, measuring(np.eye(len(NAMES))[None]), LATENTS)


def test_in_the_control_test_slopes_vary_less(sampler, meters, sampled):
    found = fit_ridge(*sampled).directions
    specs = MethodSpec("ridge"), MethodSpec("ridge", per_latent=True)
    methods = [Method(spec, found) for spec in specs]
    latent_set = LatentSet.from_seed(3, range(24), SIZE)  # some of them where scores level off
    tested = control_test(methods, sampler, meters, latent_set).table
    variation = comparison.slope_variation(tested, "cnn")
    assert (variation.loc["ridge, per latent"] < 0.9 * variation.loc["ridge"]).all()
