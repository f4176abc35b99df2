"""NVAE: its distributions, its condition, and what makes a face the same face."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.nvae import (
    CELEBA_64,
    NVAE,
    QUICK,
    SMOKE,
    DecoderCell,
    FlowCell,
    Guidance,
    LogisticMixture,
    Normal,
    NVAEConfig,
    kl_divergence,
    recalibrated,
)

TINY = NVAEConfig(
    resolution=16,
    channels=4,
    max_channels=8,
    groups=(1, 2),
    latents=3,
    cells=1,
    pre_cells=2,
    post_cells=2,
    expansion=2,
    mixtures=2,
    flows=0,
    conditions=("mouth", "head"),
    embedding=6,
)
PLAIN = replace(TINY, conditions=())
HALF = np.full((1, 2), 0.5, np.float32)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def warmed(config, seed=0, condition=0.0):
    """A network in eval mode whose statistics have seen images, and whose condition has weight."""
    network = NVAE(config, seed)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "film" in name or "condition_" in name:
                parameter.normal_(0, condition, generator=rng)
            elif "enc_sampler" in name or "dec_sampler" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng))
        for _ in range(8):
            x = random(8, 3, 16, 16, seed=seed).clamp(-1, 1)
            network(x, noise=network.random_noise(8, rng))
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return warmed(TINY, condition=0.3)


@pytest.fixture(scope="module")
def images():
    return random(4, 3, 16, 16, seed=3).clamp(-1, 1)


# Sizes


def parameters(config):
    with torch.device("meta"):
        return sum(p.numel() for p in NVAE(config).parameters())


def test_published_celeba_model_has_its_153_million_parameters():
    assert round(parameters(CELEBA_64) / 1e6, 1) == 153.3


def test_small_models_have_the_latents_and_weights_that_were_planned():
    assert sum(math.prod(shape) for shape in QUICK.latent_shapes) == 16_640
    assert parameters(QUICK) * 2 < 7e6, "in bfloat16 it must be light enough to embed"
    assert parameters(SMOKE) < 0.3e6


def test_groups_are_numbered_from_the_coarsest():
    config = replace(TINY, groups=(1, 2))
    assert config.latent_shapes == [(3, 4, 4), (3, 4, 4), (3, 8, 8)]
    noise = NVAE(config).random_noise(2, torch.Generator())
    assert [tuple(one.shape) for one in noise] == [(2, *shape) for shape in config.latent_shapes]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"resolution": 20}, "resolution 20: must be a multiple of 8"),
        ({"groups": (1, 0)}, r"groups \(1, 0\): every scale"),
        ({"channels": 2}, "channels 2 to 8"),
    ],
)
def test_impossible_sizes_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(TINY, **change)


# Distributions


def mixture_parameters(count, n=1, seed=0):
    """Raw parameters with means within and outside the colors, sharp, flat and extreme scales."""
    raw = random(n, 10 * count, 1, 1, seed=seed) * 1.5
    raw[:, count:].unflatten(1, (3, 3, count))[:, :, 1] *= 3
    return raw


def test_every_component_sums_to_1_over_all_256_levels():
    raw = mixture_parameters(40)
    levels = torch.arange(256) / 127.5 - 1
    for color in range(3):
        colors = torch.tensor([0.3, -0.8, 1.0]).view(1, 3, 1, 1).repeat(256, 1, 1, 1)
        colors[:, color, 0, 0] = levels
        logs = LogisticMixture(raw.expand(256, -1, -1, -1)).component_log_likelihood(colors)
        total = logs[:, color].double().exp().sum(0)
        assert logs.isfinite().all() and (total - 1).abs().max() < 1e-4


def test_pixel_sums_to_1_over_all_colors():
    levels = torch.arange(8) / 3.5 - 1
    colors = torch.cartesian_prod(levels, levels, levels)[:, :, None, None]
    raw = mixture_parameters(3).expand(512, -1, -1, -1)
    likelihood = LogisticMixture(raw, bits=3).log_likelihood(colors)
    assert likelihood.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_logistic_of_known_scale_has_the_textbook_probability():
    raw = torch.zeros(1, 10, 1, 1)
    raw[:, [1, 4, 7]] = 0.2  # means
    raw[:, [2, 5, 8]] = math.log(0.1)
    x = torch.full((1, 3, 1, 1), 2 * 140 / 255 - 1)
    edges = [(x[0, 0, 0, 0].item() + side / 255 - 0.2) / 0.1 for side in (-1, 1)]
    expected = 1 / (1 + math.exp(-edges[1])) - 1 / (1 + math.exp(-edges[0]))
    assert LogisticMixture(raw).log_likelihood(x).item() == pytest.approx(
        3 * math.log(expected), rel=1e-4
    )


def test_samples_have_the_frequencies_of_the_likelihood():
    raw = mixture_parameters(2, seed=4)
    drawn = LogisticMixture(raw.expand(-1, -1, 150, 200), 2).sample(torch.Generator())
    levels = torch.arange(4) / 1.5 - 1
    colors = torch.cartesian_prod(levels, levels, levels)
    found = (drawn[0].flatten(1).T[:, None] - colors).abs().amax(2) < 1e-4
    assert (found.sum(1) == 1).all()
    likelihood = LogisticMixture(raw.expand(64, -1, -1, -1), 2).log_likelihood(
        colors[:, :, None, None]
    )
    frequencies = found.float().mean(0)
    assert (frequencies - likelihood.exp().flatten()).abs().max() < 0.012
    assert frequencies.max() > 0.05


def test_mean_of_the_distribution_is_the_mean_of_its_samples():
    raw = 0.3 * random(1, 20, 1, 1, seed=5)
    raw[:, 2:].unflatten(1, (3, 3, 2))[:, :, 1] -= 3
    mixture = LogisticMixture(raw.expand(-1, -1, 100, 100))
    difference = mixture.sample(torch.Generator()).mean((2, 3)) - mixture.mean()[:, :, 0, 0]
    assert difference.abs().max() < 0.01


def test_extreme_parameters_have_finite_gradients():
    for size in (1e2, 1e4):
        raw = (size * random(64, 20, 1, 1)).requires_grad_(True)
        colors = torch.linspace(-1, 1, 64).view(-1, 1, 1, 1).expand(-1, 3, -1, -1)
        LogisticMixture(raw).log_likelihood(colors).sum().backward()
        assert raw.grad.isfinite().all()


def test_analytic_kl_is_the_mean_log_ratio_of_samples():
    q, p = (Normal.of(random(1, 12, 1, 1, seed=seed)) for seed in (1, 2))
    z = q.mean + q.std * random(200_000, 6, 1, 1)
    densities = [torch.distributions.Normal(*one).log_prob(z) for one in (q, p)]
    sampled = (densities[0] - densities[1]).mean(0, keepdim=True)
    assert torch.allclose(kl_divergence(q, p), sampled, rtol=0.03, atol=0.01)
    assert kl_divergence(q, q).abs().max() < 1e-6


@pytest.mark.parametrize("flows", [0, 1])
def test_network_states_the_kl_of_the_z_that_it_draws(images, flows):
    network = warmed(replace(PLAIN, groups=(1,), flows=flows), seed=2)
    many = images[:1].expand(500, -1, -1, -1)
    with torch.no_grad():
        output = network(many, noise=network.random_noise(500, torch.Generator()))
    sampled = output.log_ratio[0].mean().item()
    assert sampled == pytest.approx(output.kl[0].sum(1).mean().item(), rel=0.05)
    assert sampled > 1


# Flows


@pytest.mark.parametrize("mirrored", [False, True])
def test_flow_depends_on_earlier_values_alone(mirrored):
    latents, side = 2, 3
    torch.manual_seed(0)
    cell = FlowCell(latents, mirrored)
    z = random(1, latents, side, side)
    jacobian = torch.autograd.functional.jacobian(cell, z)[0, :, :, :, 0]
    jacobian = jacobian.permute(1, 2, 0, 4, 5, 3).reshape(side**2, latents, side**2, latents)
    if mirrored:
        jacobian = jacobian.flip(0, 2)
    shift = jacobian.reshape(18, 18) - torch.eye(18)
    assert shift.triu().abs().max() < 1e-6, "a value depends on itself or a later one"
    near = shift[1::2, ::2].diagonal()  # a pixel's second channel on its first
    assert (near.abs() > 1e-6).all() and (shift.tril(-1).abs() > 1e-6).float().mean() > 0.3


def test_flow_preserves_volume():
    torch.manual_seed(0)
    network = NVAE(replace(PLAIN, flows=1))
    jacobian = torch.autograd.functional.jacobian(network.nf_cells[0], random(1, 3, 2, 2))
    assert torch.linalg.det(jacobian.view(12, 12)).item() == pytest.approx(1, abs=1e-4)


# Cells


def test_doubling_after_the_expansion_is_doubling_before_it():
    torch.manual_seed(0)
    branch = DecoderCell(4, 4, 3, double=True, embedding=5)._ops[0]
    nn.init.normal_(branch.film.weight)
    x, embedded = random(2, 4, 4, 4), random(2, 5)
    later = branch(x, embedded)
    branch.double = False
    assert torch.allclose(branch(F.interpolate(x, scale_factor=2), embedded), later, atol=1e-5)


# Condition


def test_new_condition_changes_nothing(images):
    plain, conditional = NVAE(PLAIN, seed=1), NVAE(TINY, seed=2)
    missing, unexpected = conditional.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all("film" in key or "condition" in key for key in missing)
    noise = plain.random_noise(4, torch.Generator())
    condition = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    without = plain(images, noise=noise)
    for given in (condition, None):
        output = conditional(images, given, noise)
        assert torch.allclose(output.mixture.means, without.mixture.means, atol=1e-6)
        for one, other in zip(output.kl, without.kl, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
    images_of = [
        net.decode(noise, c).mean() for net, c in ((plain, None), (conditional, condition))
    ]
    assert torch.allclose(*images_of, atol=1e-6)


@pytest.mark.parametrize("path", ["film", "condition_start", "condition_posterior"])
def test_condition_reaches_every_place_and_can_be_learned(images, path):
    network = NVAE(TINY).eval()
    noise = network.random_noise(4, torch.Generator())
    condition = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    output = network(images, condition, noise)
    loss = -output.log_likelihood(images).mean() + sum(kl.sum() for kl in output.kl)
    loss.backward()
    weights = [p for name, p in network.named_parameters() if path in name]
    assert weights and all(p.grad.abs().max() > 0 for p in weights)
    with torch.no_grad():
        for p in weights:
            p.copy_(0.3 * torch.sign(p.grad))
        changed = [network(images, c, noise) for c in (condition, 1 - condition)]
        assert not torch.allclose(*(one.kl[-1] for one in changed))
        assert not torch.allclose(*(one.mixture.means for one in changed))
        decoded = [network.decode(noise, c).means for c in (condition, 1 - condition)]
    assert torch.equal(*decoded) == (path == "condition_posterior")


def test_dropped_condition_is_unknown_to_the_decoder_alone(network, images):
    noise = network.random_noise(4, torch.Generator())
    condition = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    drop = torch.tensor([True, False, True, False])
    with torch.no_grad():
        dropped, known, unknown = (
            network(images, c, noise, d)
            for c, d in ((condition, drop), (condition, None), (None, None))
        )
    means = [one.mixture.means for one in (dropped, known, unknown)]
    assert torch.allclose(means[0][~drop], means[1][~drop], atol=1e-5)
    assert not torch.allclose(means[0][drop], means[1][drop], atol=1e-3)
    assert not torch.allclose(means[0][drop], means[2][drop], atol=1e-3), "q knows the condition"


def test_guidance_strengthens_the_condition(network):
    noise = network.random_noise(1, torch.Generator())
    with torch.no_grad():
        null = network.decode(noise, None, 0).mean()
        images = {
            strength: network.decode(noise, HALF, 0, Guidance(strength, 0)).mean()
            for strength in (0.0, 1.0)
        }
        plain = network.decode(noise, HALF, 0).mean()
    assert torch.allclose(images[0.0], plain, atol=1e-5)
    assert (images[1.0] - null).norm() > (plain - null).norm()
    prior, unknown = Normal(torch.ones(1), torch.ones(1)), Normal(torch.zeros(1), 2 * torch.ones(1))
    assert Guidance(2, 4)(prior, unknown) == Normal(torch.tensor([3.0]), torch.tensor([1 / 16]))


# Images


@pytest.mark.parametrize("flows", [0, 2])
def test_decoding_the_noise_of_an_image_gives_its_reconstruction(images, flows):
    network = warmed(replace(TINY, flows=flows), seed=3, condition=0.3)
    condition = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = network(images, condition, network.random_noise(4, torch.Generator()))
        again = network.decode(output.noise, condition)
    assert torch.allclose(again.means, output.mixture.means, atol=1e-3)
    assert torch.allclose(again.log_scales, output.mixture.log_scales, atol=1e-3)


def test_seed_is_the_same_face_in_any_batch(network):
    rows = np.random.default_rng(0).random((5, 2))
    network.train()  # `generate` must not let batch norm mix the images
    whole = network.generate(range(5), rows)
    assert network.training and whole.shape == (5, 16, 16, 3) and whole.dtype == np.uint8
    network.eval()
    parts = network.generate(range(5), rows, batch=2)
    assert np.abs(whole.astype(int) - parts).max() <= 1
    assert np.abs(whole[0].astype(int) - whole[1]).max() > 8
    assert len(network.generate([])) == 0


def test_temperature_0_leaves_one_image_per_condition(network):
    rows = np.array([[0, 0], [0, 0], [1, 1]], np.float32)
    one, same, other = network.generate([1, 2, 3], rows, temperature=0)
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_recalibrated_statistics_are_those_of_the_samples_and_go_away(network):
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    last, seen = norms[-1], []
    hook = last.register_forward_hook(
        lambda module, x, y: module.training and seen.append(x[0].mean((0, 2, 3)))
    )
    with recalibrated(network, HALF, temperature=0.5, batches=3, batch=4):
        hook.remove()
        assert not network.training and len(seen) == 3
        assert torch.allclose(last.running_mean, torch.stack(seen).mean(0), atol=1e-6)
        assert torch.equal(norms[0].running_mean, before[0]), "the encoder takes no part"
    assert all(torch.equal(n.running_mean, b) for n, b in zip(norms, before, strict=True))
    assert last.momentum == norms[0].momentum == 0.05


def test_recalibration_that_is_not_finite_is_refused_and_undone():
    network = warmed(PLAIN)
    before = network.state_dict()["post_process.0._ops.0.conv.1.bn.running_mean"].clone()
    with torch.no_grad():
        network.prior_ftr0.fill_(float("nan"))
    with (
        pytest.raises(FloatingPointError, match=r"statistics at temperature 0\.7"),
        recalibrated(network, temperature=0.7, batches=1, batch=2),
    ):
        pass
    after = network.state_dict()["post_process.0._ops.0.conv.1.bn.running_mean"]
    assert torch.equal(before, after)


def test_reconstruction_uses_the_image():
    network = warmed(TINY, seed=3)
    faces = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    found = network.reconstruct(faces, np.tile(HALF, (3, 1)))
    assert found.shape == faces.shape and not np.array_equal(found[0], found[1])


def test_five_bits_are_32_levels():
    levels = NVAE(replace(PLAIN, bits=5)).as_input(
        np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    )
    assert torch.allclose(levels.unique(), torch.arange(32) / 15.5 - 1)
    assert (NVAE(PLAIN).as_input(np.full((1, 1, 1, 3), 255, np.uint8)) == 1).all()


# What is refused, in one line


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda n: n.generate([1], [[0.2, 1.2]]), "^head of image 0 is 1.2: must be within 0 … 1$"),
        (lambda n: n.generate([1, 2], [[0, 0], [np.nan, 0]]), "^mouth of image 1 is nan: must be"),
        (lambda n: n.generate([1], [[0.2]]), r"^condition is \(1, 1\): 1 images need \(1, 2\)"),
        (lambda n: n.generate([1, 2], HALF), "^1 conditions for 2 images"),
        (lambda n: n.generate([1], HALF, temperature=-1), "^temperature -1: must be 0 or more"),
        (lambda n: n.generate([1], HALF, temperature=np.nan), "^temperature nan"),
        (
            lambda n: n.reconstruct(np.zeros((2, 8, 8, 3), np.uint8), np.tile(HALF, (2, 1))),
            r"^images are \(2, 3, 8, 8\): this network takes \(N, 3, 16, 16\)$",
        ),
        (lambda n: n.reconstruct(np.zeros((2, 16, 16, 3))), "must be .* uint8 RGB"),
    ],
)
def test_invalid_input_is_told_in_one_line(network, call, says):
    with pytest.raises(ValueError, match=says) as error:
        call(network)
    assert "\n" not in str(error.value)


def test_network_without_condition_takes_none():
    network = NVAE(PLAIN)
    with pytest.raises(ValueError, match="condition: this network takes none"):
        network.generate([1], HALF)
    with pytest.raises(ValueError, match="guidance: this network takes no condition"):
        network.generate([1], guidance=Guidance())
