"""A latent whose scores answer otherwise than on average gets steps that suit it."""

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
READOUTS = np.linalg.qr(RNG.standard_normal((SIZE, len(NAMES))))[0].T  # (P, D): arrows, too
KNOWN = LinearDirections(READOUTS[None, :3], None, READOUTS[None, 3:], NAMES)
LATENTS = RNG.standard_normal((20, SIZE)).astype(np.float32)


def answering(mixing):
    """Scores (N, P, names) whose responses to the known steps are those of `mixing` (N, P, P)."""
    return lambda vectors, names: np.einsum("npd,kd,nkj->npj", vectors, READOUTS, mixing)


def moved(arrows, mixing):
    """(N, 3, D) -> what one unit asked for does to every score, (N, 3, P)."""
    return np.einsum("nkd,pd,npj->nkj", arrows, READOUTS, mixing)


def test_a_latent_of_which_the_regression_is_right_keeps_its_arrows():
    mixing = np.tile(np.eye(len(NAMES)), (len(LATENTS), 1, 1))
    for directions, scale in (
        (KNOWN, 1),
        (ScaledDirections(KNOWN, (2.0, 0.5, 3.0)), [[2.0], [0.5], [3.0]]),
    ):
        own = per_latent_directions(directions, answering(mixing), LATENTS)
        assert own == pytest.approx(np.tile(KNOWN.vectors * scale, (20, 1, 1)), abs=1e-4)


def test_half_of_what_moves_along_at_a_latent_is_gone():
    mixing = np.eye(len(NAMES)) + 0.2 * RNG.standard_normal((20, len(NAMES), len(NAMES)))
    wanted = np.eye(3, len(NAMES))
    plain = moved(np.tile(KNOWN.vectors, (20, 1, 1)), mixing) - wanted
    own = moved(per_latent_directions(KNOWN, answering(mixing), LATENTS), mixing) - wanted
    assert np.abs(own).mean() < 0.65 * np.abs(plain).mean()


def test_a_latent_that_answers_to_nothing_is_not_sent_far():
    mixing = np.zeros((20, len(NAMES), len(NAMES)))
    mixing[:, 0, 0] = -1  # and this turns the regression's answer into none at all
    own = per_latent_directions(KNOWN, answering(mixing), LATENTS)
    assert np.isfinite(own).all() and np.linalg.norm(own, axis=2).max() < 2.1


@pytest.mark.parametrize(
    "directions", [LinearDirections(KNOWN.vectors),
                   ScaledDirections(LinearDirections(KNOWN.vectors), (1.0, 1.0, 1.0)),
                   PerPropertyDirections(KNOWN, KNOWN, KNOWN)]
)  # fmt: skip
def test_directions_that_know_no_step_for_the_held_scores_are_refused(directions):
    with pytest.raises(VectorError, match="need a ridge"):
        per_latent_directions(directions, answering(np.eye(len(NAMES))[None]), LATENTS)


def test_in_the_control_test_latents_follow_more_evenly(sampler, meters, sampled):
    found = fit_ridge(*sampled).directions
    specs = MethodSpec("ridge"), MethodSpec("ridge", per_latent=True)
    methods = [Method(spec, found) for spec in specs]
    asked = LatentSet.from_seed(3, range(24), SIZE)  # some of them where scores level off
    tested = control_test(methods, sampler, meters, asked).table
    uneven = comparison.slope_variation(tested, "cnn")
    assert (uneven.loc["ridge, per latent"] < 0.9 * uneven.loc["ridge"]).all()
