"""Evaluation on generators whose answer is known."""

import numpy as np
import pytest
import torch

from ohlora_lib.gai_p3 import evaluation
from ohlora_lib.models.nvae import CONDITIONS
from ohlora_lib.toyworld import render, sample_attributes, texture_seed
from ohlora_lib.train.nvae import ConditionedFaces
from tests.gai_p3.networks import conditions, noisy_faces, trained_nvae

MIXED = np.eye(5) + np.random.default_rng(0).normal(0, 0.1, (5, 5))


def draw(given):
    """Images that are the conditions themselves, (N, 1, 1, 5)."""
    return given[:, None, None].astype(float)


def test_interventions_recover_the_matrix_of_a_planted_generator():
    slopes = evaluation.interventions(draw, lambda x: x[:, 0, 0] @ MIXED, conditions(6))
    np.testing.assert_allclose(slopes, np.tile(MIXED, (6, 1, 1)), atol=1e-6)
    matrix = evaluation.intervention_matrix(slopes)
    np.testing.assert_allclose(matrix, MIXED, atol=1e-6)
    assert list(matrix.index) == list(matrix.columns) == list(CONDITIONS)
    assert evaluation.diagonal(slopes).value == pytest.approx(np.diag(MIXED).mean())
    others = np.abs(MIXED[~np.eye(5, dtype=bool)]).mean()
    assert evaluation.off_diagonal(slopes).value == pytest.approx(others)


def test_a_generator_that_ignores_its_conditions_has_slopes_of_zero():
    slopes = evaluation.interventions(lambda c: np.ones((len(c), 5)), lambda x: x, conditions(3))
    assert not slopes.any()


def test_opposite_effects_on_two_faces_do_not_count_as_leakage_but_as_a_wide_interval():
    slopes = np.zeros((20, 5, 5))
    slopes[:10, 0, 1], slopes[10:, 0, 1] = 1, -1
    off = evaluation.off_diagonal(slopes)
    assert off.value == 0 and off.high > 0.005


def test_requested_and_measured_of_a_meter_with_a_known_error():
    asked = conditions(300)
    measured = 0.2 + 0.5 * asked
    noisy = asked + np.random.default_rng(1).normal(0, 0.3, asked.shape)
    table = evaluation.requested_and_measured(asked, measured, asked, noisy)
    assert (table["r"] == "1.00 (1.00 to 1.00)").all()
    np.testing.assert_allclose(table["slope"].astype(float), 0.5, rtol=1e-5)
    ceilings = [np.corrcoef(a, b)[0, 1] for a, b in zip(asked.T, noisy.T, strict=True)]
    np.testing.assert_allclose(table["ceiling"].astype(float), ceilings, rtol=1e-5)
    shares = evaluation.shares_of_ceiling(asked, measured, asked, noisy)
    quotients = [share.value for share in shares.values()]
    np.testing.assert_allclose(quotients, 1 / np.array(ceilings), rtol=1e-5)
    assert all(share.low < share.value < share.high for share in shares.values())
    found = evaluation.mean_correlation(asked, noisy)
    assert found.value == pytest.approx(np.mean(ceilings)) and found.low < found.value
    errors = np.abs(measured - asked).mean(0)
    np.testing.assert_allclose(table["mean absolute error"].astype(float), errors, rtol=1e-5)


def test_faces_that_a_meter_does_not_read_are_left_out():
    x = np.arange(10.0)
    y = np.where(x < 7, x, np.nan)
    assert evaluation.correlation(x, y).value == pytest.approx(1)
    assert np.isnan(evaluation.correlation(x, np.where(x < 2, x, np.nan)).value)


def test_rendered_faces_with_their_own_conditions_are_unchanged():
    draw_again, true = evaluation.rendered_draw(2, seed=77)
    images, people, index = draw_again(true), [], 0
    while len(people) < 2:
        if sample_attributes(77, index).is_female:
            people.append(index)
        index += 1
    for image, number in zip(images, people, strict=True):
        original = render(sample_attributes(77, number), texture_seed(77, number), 64).image
        assert np.abs(image.astype(int) - original).max() <= 2
    changed = true.copy()
    changed[:, CONDITIONS.index("background")] = 0.9 - 0.8 * (true[:, 3] > 0.5)
    difference = np.abs(draw_again(changed).astype(int) - images).max(-1)
    assert difference[:, :8, :8].mean() > 20 > difference[:, 34:44, 26:38].mean()


# Likelihood and noise


@pytest.fixture(scope="module")
def faces():
    return ConditionedFaces(noisy_faces(6), conditions(6))


def test_shuffling_costs_nothing_where_the_condition_is_ignored(faces):
    bits = evaluation.paired_bits(trained_nvae(condition=0.0), faces, samples=2)
    np.testing.assert_array_equal(bits.true, bits.shuffled)
    used = evaluation.paired_bits(trained_nvae(), faces, samples=2)
    assert used.true.shape == (6,) and (used.true != used.shuffled).all()
    assert used.kl.shape == (3, 3) and (used.kl > 0).all()


def test_encoded_faces_are_drawn_again(faces):
    network = trained_nvae()
    noise = evaluation.posterior_noise(network, faces)
    assert [each.shape for each in noise] == [(6, 3, 4, 4), (6, 3, 8, 8), (6, 3, 16, 16)]
    again = evaluation.draw_noise(network, noise, faces.conditions)
    rngs = (np.random.default_rng([0, i]) for i in range(6))
    inner = network.noise_of([rng.integers(2**62) for rng in rngs])
    with torch.no_grad():
        wanted = network(network.as_input(faces.images), faces.conditions, inner).mixture.mean()
    wanted = (wanted.permute(0, 2, 3, 1).numpy() + 1) * 127.5
    assert np.abs(again - wanted).max() <= 1.01
    other = evaluation.draw_noise(network, noise, 1 - faces.conditions)
    assert (other != again).any()


def test_probe_finds_a_planted_leak_and_no_other():
    given = conditions(200)
    values = np.random.default_rng(1).normal(size=(200, 20))
    values[:, 3] += 20 * given[:, 2]
    r2 = evaluation.probe_r2(values, given)
    assert r2[2] > 0.9 and np.abs(np.delete(r2, 2)).max() < 0.15


# Similarity and published figures


def test_frechet_ratio_is_1_for_real_faces_and_grows_with_a_shift():
    rng = np.random.default_rng(0)
    real, others, made = rng.normal(size=(3, 200, 6))
    assert evaluation.frechet_ratio(others, real, others) == pytest.approx(1)
    row = evaluation.similarity_row(made + 1, real, others, draws=50)
    ratio = row["Fréchet ratio"]
    assert ratio.low < ratio.value < ratio.high and ratio.low > 3


def test_figures_from_memory_are_marked():
    table = evaluation.published_table()
    memory = table[table["checked"] != "yes"]
    assert len(memory) == sum(not each.checked for each in evaluation.PUBLISHED) > 0
    assert "2.03 bits per dimension" in memory["figure"].tolist()
    assert table["source"].str.len().min() > 0
