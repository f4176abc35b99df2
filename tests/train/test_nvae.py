"""Training an NVAE: what the loss is made of, that it resumes exactly, and that it learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ohlora_lib.models.nvae import CELEBA_64, NVAE, NVAEConfig
from ohlora_lib.train import nvae
from ohlora_lib.train.nvae import (
    ConditionedFaces,
    NVAEPlan,
    NVAETraining,
    SpectralPenalty,
    balance_scale,
    beta_at,
    learning_rate,
    likelihood,
    regularization,
)
from ohlora_lib.train.toy.loop import Budget, fit

TINY = NVAEConfig(
    resolution=8,
    channels=4,
    max_channels=8,
    groups=(1, 1),
    latents=2,
    cells=1,
    pre_cells=1,
    post_cells=1,
    expansion=2,
    mixtures=1,
    flows=1,
    conditions=("mouth", "head"),
    embedding=8,
)
PLAIN = replace(TINY, conditions=())
PLAN = NVAEPlan(batch=6, learning_rate=1e-2, swap=1.0)
QUIET = {"say": lambda line: None}


def flat_faces(count=24, seed=0):
    """Images whose lightness is `mouth`, with a little noise; `head` shows in nothing."""
    rng = np.random.default_rng(seed)
    conditions = rng.random((count, 2), dtype=np.float32)
    light = 40 + 170 * conditions[:, 0, None, None, None]
    images = np.clip(light + rng.normal(0, 4, (count, 8, 8, 3)), 0, 255).astype(np.uint8)
    return ConditionedFaces(images, conditions, f"flat-{seed}")


def measured(images):
    """The conditions of `flat_faces` from their images; of `head` it knows nothing."""
    mouth = ((images.mean((1, 2, 3)) + 1) * 127.5 - 40) / 170
    return torch.stack([mouth, torch.full_like(mouth, 0.5)], dim=1)


def training(plan=PLAN, seed=0, measure=measured):
    return NVAETraining(NVAE(TINY, seed), flat_faces(), plan, seed, measure=measure)


def state(trained):
    """A copy of everything that a checkpoint holds of the network and the penalty."""
    parts = (trained.network, trained.penalty)
    return [value.clone() for part in parts for value in part.state_dict().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# Schedules


def test_schedules_are_the_published_ones():
    plan = NVAEPlan()
    assert [beta_at(plan, p) for p in (0, 0.15, 0.3, 1)] == [1e-4, 0.5, 1, 1]
    rates = [learning_rate(plan, p) for p in (0, 2.5 / 90, 5 / 90, 47.5 / 90, 1)]
    assert rates == pytest.approx([1e-4, 5e-3, 1e-2, 5.05e-3, 1e-4])
    annealed = replace(plan, first_regularization=1.0, regularization=0.01)
    assert [regularization(annealed, b) for b in (0, 0.5, 1)] == pytest.approx([1, 0.1, 0.01])
    assert regularization(plan, 0) == 0.1
    assert beta_at(replace(plan, beta_warm_up=0), 0) == 1


def test_groups_share_the_pixels_of_their_scale():
    assert balance_scale(CELEBA_64) == [1] * 5 + [2] * 10 + [4] * 20


def test_balancing_prefers_groups_that_are_used_and_ends_with_the_warm_up():
    each = training()
    kl = torch.tensor([3.0, 1.0])
    weights = each._group_weights(kl, 0.5)
    scale = torch.tensor(balance_scale(TINY))
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[0] / weights[1]).item() == pytest.approx(
        (3.01 / 1.01 * scale[1] / scale[0]).item()
    )
    assert torch.equal(each._group_weights(kl, 1.0), torch.ones(2))


# Regularization


def test_power_iteration_finds_the_largest_singular_values():
    network = NVAE(replace(TINY, groups=(2, 1)), seed=1)
    with torch.no_grad():
        for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.weight.uniform_(-3, 1)
    penalty = SpectralPenalty(network)
    found = penalty.spectral_norms(300)
    expected, scales = [], 0.0
    for same_shape in penalty.convs:
        applied = [c.kernel() if hasattr(c, "kernel") else c.weight for c in same_shape]
        expected.append([torch.linalg.matrix_norm(k.flatten(1), 2).item() for k in applied])
    for one, other in zip(found, expected, strict=True):
        assert one.tolist() == pytest.approx(other, rel=1e-3)
    convs = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(map(len, found)) == len(convs)
    scales = sum(
        m.weight.abs().max().item() for m in network.modules() if hasattr(m, "running_var")
    )
    assert penalty(1).item() == pytest.approx(sum(map(sum, expected)) + scales, rel=1e-3)


def test_singular_vectors_are_kept_so_that_few_iterations_are_enough():
    penalty = SpectralPenalty(NVAE(PLAIN))
    exact = torch.cat(SpectralPenalty(NVAE(PLAIN)).spectral_norms(300)).sum().item()
    first = torch.cat(penalty.spectral_norms(1)).sum().item()
    for _ in range(40):
        last = torch.cat(penalty.spectral_norms(4)).sum().item()
    assert first < 0.97 * exact and last == pytest.approx(exact, rel=1e-3)


def test_penalty_pulls_the_gains_down():
    network = NVAE(PLAIN)
    SpectralPenalty(network)(10).backward()
    gains = [p.grad for name, p in network.named_parameters() if name.endswith("log_weight_norm")]
    assert all(gain.max() > 0 for gain in gains)


# The training


def test_killed_training_goes_on_to_identical_weights(tmp_path):
    straight = training()
    fit(straight, tmp_path / "straight.pt", Budget(steps=4), **QUIET)
    killed = training()
    inner, killed.step = killed.step, None

    def step(at, progress):
        if at == 2:
            raise KeyboardInterrupt
        return inner(at, progress)

    killed.step = step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ohlora_lib.train.toy.loop.CHECKPOINT_EVERY", -1)
        with pytest.raises(KeyboardInterrupt):
            fit(killed, tmp_path / "killed.pt", Budget(steps=4), **QUIET)
    again, start = training(), state(training())
    says = []
    fit(again, tmp_path / "killed.pt", Budget(steps=4), say=says.append)
    assert says[0].startswith("resumes from step 2")
    assert same(state(again), state(straight)) and not same(state(again), start)
    other = training(replace(PLAN, swap=2.0))
    fit(other, tmp_path / "killed.pt", Budget(steps=0), **QUIET)
    assert same(state(other), start), "a checkpoint of another plan is not resumed"


def test_step_that_is_not_finite_changes_nothing():
    bad = {"now": True}

    def measure(images):
        return measured(images) * (float("nan") if bad["now"] else 1)

    each = training(measure=measure)
    before = [value.clone() for value in each.network.state_dict().values()]
    losses = each.step(0, 0.1)
    assert losses["skipped"] == 1 and not math.isfinite(losses["swap"])
    assert same(before, each.network.state_dict().values())
    bad["now"] = False
    assert each.step(1, 0.1)["skipped"] == 0
    assert not same(before, each.network.state_dict().values())
    assert all(value.isfinite().all() for value in each.network.state_dict().values())


def test_statistics_that_are_not_finite_are_restored():
    each = training()
    start = each.network.prior_ftr0.detach().clone()
    with torch.no_grad():
        each.network.prior_ftr0.fill_(float("nan"))
    assert each.step(0, 0.1)["skipped"] == 1
    with torch.no_grad():
        each.network.prior_ftr0.copy_(start)
    assert all(value.isfinite().all() for value in each.network.state_dict().values())
    assert each.step(1, 0.1)["skipped"] == 0


def test_training_that_only_skips_ends_with_a_remedy(monkeypatch):
    monkeypatch.setattr(nvae, "MOST_SKIPPED", 2)
    each = training(replace(PLAN, max_gradient=0.0))
    assert each.step(0, 0.5)["skipped"] == 1
    with pytest.raises(FloatingPointError, match=r"2 steps in a row .* lower learning_rate"):
        each.step(1, 0.5)


def test_swap_loss_is_of_the_same_and_of_new_faces_with_one_value_of_others(monkeypatch):
    each, seen = training(), {}
    decode = each.network.decode

    def spy(noise, condition):
        seen.update(noise=noise, condition=condition)
        return decode(noise, condition)

    monkeypatch.setattr(each.network, "decode", spy)
    x, condition = each._batch(np.random.default_rng(1))
    noise = each.network(x, condition).noise
    loss = each._swap_loss(noise, condition, np.random.default_rng(2))
    swapped = seen["condition"]
    (column,) = (swapped != condition).any(0).nonzero()[:, 0].tolist()
    assert torch.equal(swapped[:, column].sort()[0], condition[:, column].sort()[0])
    for a, b in zip(seen["noise"], noise, strict=True):
        assert torch.equal(a[::2], b[::2]) and not a.requires_grad
        assert (a[1::2] != b[1::2]).all() and b.requires_grad
    images = decode(seen["noise"], swapped).mean()
    assert loss.item() == pytest.approx(
        (measured(images) - swapped).square().sum(1).mean().item(), rel=1e-4
    )
    loss.backward()
    films = [p for name, p in each.network.named_parameters() if "film.weight" in name]
    assert films and all(p.grad.abs().max() > 0 for p in films)


def test_mirrored_face_looks_the_other_way():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    images[:, :, :2] = 255
    faces = ConditionedFaces(images, np.array([[0.3, 0.9]], np.float32))
    each = NVAETraining(NVAE(TINY), faces, replace(PLAN, swap=0.0, batch=40))
    batch, condition = each._batch(np.random.default_rng(0))
    left = batch[:, 0, 0, 0] > 0
    assert 0 < left.sum() < 40
    assert torch.equal(batch[left].flip(3), batch[~left][:1].expand_as(batch[left]))
    assert torch.allclose(condition[left], torch.tensor([0.3, 0.9]))
    assert torch.allclose(condition[~left], torch.tensor([0.3, 0.1]))
    each.plan = replace(each.plan, mirror=False)
    assert (each._batch(np.random.default_rng(0))[0][:, 0, 0, 0] > 0).all()


def test_network_learns_images_and_condition():
    plan = replace(PLAN, batch=16, learning_rate=3e-2, swap=300.0, beta_warm_up=0.3)
    each = training(plan)
    first = each.step(0, 0.0)
    swaps = []
    for step in range(1, 50):
        last = each.step(step, step / 50)
        swaps.append(last["swap"])
    assert last["bits"] < first["bits"] - 2
    assert np.mean(swaps[-10:]) < np.mean(swaps[:10]) - 0.02
    rows = np.array([[0.1, 0.5], [0.9, 0.5]], np.float32).repeat(6, axis=0)
    seeds = [*range(6), *range(6)]
    light = each.network.generate(seeds, rows).mean((1, 2, 3))
    assert (light[6:] > light[:6] + 20).all(), "the same faces with another mouth"


# Likelihood


def test_more_importance_samples_tighten_the_bound():
    network = NVAE(TINY, seed=1).train()
    faces = flat_faces(6)
    bound, tighter = (
        likelihood(network, faces.images, faces.conditions, samples) for samples in (1, 20)
    )
    assert bound.bits.shape == (6,) and bound.kl.shape == (2, 2) and network.training
    assert tighter.bits.mean() < bound.bits.mean()
    alone = likelihood(network, faces.images, faces.conditions, samples=1, batch=4)
    assert np.allclose(alone.bits, bound.bits, atol=1e-4)


def test_evidence_bound_is_the_loss_of_the_training():
    faces, each = flat_faces(6), training(replace(PLAN, mirror=False, swap=0.0, condition_drop=0))
    each.network.eval()
    x = each.network.as_input(faces.images)
    noise = each.network.random_noise(6, torch.Generator())
    output = each.network(x, faces.conditions, noise)
    nats = -output.log_likelihood(x).mean() + sum(kl.sum(1).mean() for kl in output.kl)
    found = likelihood(each.network, faces.images, faces.conditions, samples=40)
    assert found.kl.sum() > 0
    estimate = nvae.bits(nats, x)
    assert found.bits.mean() < estimate + 0.05 and found.bits.mean() == pytest.approx(
        estimate, rel=0.1
    )


# What is refused, in one line

GOOD = flat_faces(6)


def with_value(value):
    conditions = GOOD.conditions.copy()
    conditions[4, 1] = value
    return conditions


@pytest.mark.parametrize(
    ("config", "images", "conditions", "says"),
    [
        (TINY, GOOD.images, with_value(np.nan), "^head of image 4 is nan: must be within 0 … 1$"),
        (TINY, GOOD.images, with_value(-0.5), "^head of image 4 is -0.5: must be within"),
        (TINY, GOOD.images, GOOD.conditions[:5], r"^conditions are \(5, 2\): must be \(6, 2\)"),
        (TINY, GOOD.images, None, "^conditions: this network needs mouth, head of each face"),
        (PLAIN, GOOD.images, GOOD.conditions, "^conditions: this network takes none"),
        (PLAIN, GOOD.images[:, :4], None, r"^faces are \(6, 4, 8, 3\): this network needs \(8, 8"),
        (PLAIN, GOOD.images[:0], None, "at least one"),
    ],
)
def test_invalid_faces_are_told_in_one_line(config, images, conditions, says):
    faces = ConditionedFaces(images, conditions)
    for call in (
        lambda: NVAETraining(NVAE(config), faces, replace(PLAN, swap=0.0)),
        lambda: likelihood(NVAE(config), images, conditions),
    ):
        with pytest.raises(ValueError, match=says) as error:
            call()
        assert "\n" not in str(error.value)


def test_impossible_plans_are_refused():
    with pytest.raises(ValueError, match=r"^swap: needs a conditional network, and `measure`$"):
        training(measure=None)
    with pytest.raises(ValueError, match=r"^power_iterations 0: must be 1 or more$"):
        NVAEPlan(power_iterations=0)
