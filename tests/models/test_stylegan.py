"""The generator: its three forms, entry points, noise, lod, gradients, and one image per seed."""

import copy

import numpy as np
import pytest
import torch

from benchmarks.plain_stylegan import plain_images
from ohlora_lib.models import precision, stylegan
from ohlora_lib.models.cpu.styled_activation import styled_activation
from ohlora_lib.models.stylegan import (
    Generator,
    GeneratorConfig,
    mix_styles,
    to_uint8,
    with_resolution,
)

SMALL = {"resolution": 32, "z_size": 24, "w_size": 24, "mapping_width": 24}
SMALL |= {"fmaps_base": 256, "fmaps_max": 16}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(seed: int = 0, **changes) -> Generator:
    """A generator whose every number matters: nothing starts at zero or one."""
    network = Generator(GeneratorConfig(**SMALL | changes), seed=seed)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if tensor.dim() == 1 or name.endswith("const"):
                tensor.normal_(std=0.3, generator=rng(len(name)))
        network.truncation.w_avg.normal_(generator=rng(9))
    return network


def latents(n: int, network: Generator, seed: int = 5) -> torch.Tensor:
    return torch.randn(n, network.config.z_size, generator=rng(seed))


@pytest.fixture
def few_at_once(monkeypatch):
    """So small a limit that even these maps are drawn a few images at a time."""
    monkeypatch.setattr(stylegan, "CHUNK_BYTES", 40_000)


@pytest.mark.parametrize("resolution", [32, 128])  # from 128 on, kernels are stored flipped
@pytest.mark.parametrize("form", [{}, {"label_size": 7}, {"label_size": 7, "split_size": 40}])
def test_every_form_draws_what_the_written_out_network_draws(resolution, form, few_at_once):
    network = small(resolution=resolution, **form).double()
    z = latents(3, network).double()
    label = torch.randn(3, 7, generator=rng(1), dtype=torch.float64) if form else None
    with torch.no_grad():
        torch.testing.assert_close(
            network(z, label), plain_images(network, z, label), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("resolution", [8 << k for k in range(8)])
def test_every_resolution_draws_images_of_its_size(resolution):
    network = small(resolution=resolution, fmaps_base=1024, fmaps_max=4)
    with torch.inference_mode():
        images = network(latents(1, network))
    assert images.shape == (1, 3, resolution, resolution)
    assert images.isfinite().all()


def test_state_dict_order_is_the_published_one():
    keys = list(small(label_size=7, split_size=40).state_dict())
    assert keys[:3] == ["mapping.label_weight", "mapping.dense0.weight", "mapping.dense0.bias"]
    assert keys[17:24] == [
        "mapping.dense_new0.weight",
        "mapping.dense_new0.bias",
        "mapping.dense_new1.weight",
        "mapping.dense_new1.bias",
        "truncation.w_avg",
        "synthesis.lod",
        "synthesis.layer0.bias",
    ]
    layer2 = [key for key in keys if key.startswith("synthesis.layer2.")]
    ends = "bias weight apply_noise.weight apply_noise.noise style.weight style.bias blur.kernel"
    assert layer2 == [f"synthesis.layer2.{end}" for end in ends.split()]
    assert keys[-2:] == ["synthesis.output3.bias", "synthesis.output3.weight"]


def test_config_survives_a_dictionary_and_rebuilds_the_network():
    network = small(label_size=7, split_size=40)
    again = Generator(GeneratorConfig.from_dict(network.config.to_dict()), seed=1)
    again.load_state_dict(network.state_dict())
    z, label = latents(2, network), torch.ones(2, 7)
    assert torch.equal(again(z, label), network(z, label))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 48}, "resolution 48"),
        ({"resolution": 4}, "resolution 4"),
        ({"resolution": 512}, "fmaps_base 256"),
        ({"split_size": 8, "mapping_layers": 2}, "3 layers"),
    ],
)
def test_impossible_sizes_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        GeneratorConfig(**SMALL | changes)


def test_a_seed_names_one_network_and_another_seed_another():
    first, same, other = (Generator(GeneratorConfig(**SMALL), seed=s) for s in (3, 3, 4))
    assert all(map(torch.equal, first.state_dict().values(), same.state_dict().values()))
    assert not torch.equal(
        first.synthesis.layer2.apply_noise.noise, other.synthesis.layer2.apply_noise.noise
    )


def test_all_entry_points_of_the_split_mapping_lead_to_the_same_image():
    network = small(label_size=7, split_size=40)
    z, label = latents(2, network), torch.ones(2, 7)
    with torch.no_grad():
        split1 = network.mapping.split1(z, label)
        split2 = network.mapping.split1_to_split2(split1)
        w = network.mapping.split2_to_w(split2)
        images = network(z, label)
        assert split1.shape == (2, 24 + 40) and split2.shape == (2, 48)
        assert torch.equal(w, split2[:, :24] + split2[:, 24:])
        for again in (network.from_split1(split1), network.from_split2(split2), network.from_w(w)):
            assert torch.equal(again, images)
        assert torch.equal(network.from_wp(network.truncation(w)), images)


def test_a_generator_without_a_split_says_so():
    with pytest.raises(ValueError, match="no split"):
        small().from_split2(torch.zeros(1, 48))


def test_label_is_asked_for_where_it_is_needed_and_refused_where_not():
    conditional, plain = small(label_size=7), small()
    with pytest.raises(ValueError, match="needs a label of 7"):
        conditional(latents(1, conditional))
    with pytest.raises(ValueError, match="takes none"):
        plain(latents(1, plain), torch.zeros(1, 7))


def test_label_changes_the_scale_of_z_because_both_are_normalized_together():
    network = small(label_size=7)
    z = latents(1, network)
    x = network.mapping.normalized_input(z, torch.full((1, 7), 3.0))
    assert x.square().mean().item() == pytest.approx(1, abs=1e-4)
    assert x[:, :24].square().mean().item() < 0.5


def test_truncation_pulls_only_the_first_layers_and_only_below_one():
    network = small()
    w, w_avg = latents(2, network), network.truncation.w_avg
    wp = network.truncation(w, psi=0.25, layers=3)
    assert wp.shape == (2, network.config.layers, 24)
    torch.testing.assert_close(wp[:, 2], w_avg + 0.25 * (w - w_avg))
    assert torch.equal(wp[:, 3], w)
    for ignored in ({"psi": 1.5, "layers": 3}, {"psi": 0.25, "layers": 0}):
        assert torch.equal(network.truncation(w, **ignored)[:, 0], w)


def test_average_w_moves_toward_a_batch_by_the_decay():
    network = small()
    before, w = network.truncation.w_avg.clone(), latents(4, network)
    network.truncation.update(w, decay=0.9)
    torch.testing.assert_close(network.truncation.w_avg, 0.9 * before + 0.1 * w.mean(dim=0))
    before = network.truncation.w_avg.clone()
    network.truncation.update(w)  # the reference's decay
    torch.testing.assert_close(
        network.truncation.w_avg, 0.995 * before + 0.005 * w.mean(dim=0), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("n", [7, 64])
def test_the_same_latent_gives_the_same_image_alone_and_in_a_batch(n, few_at_once):
    network = small()
    z = latents(n, network)
    with torch.inference_mode():
        together = network(z)
        alone = torch.cat([network(one) for one in z.split(1)])
    assert (together - alone).abs().max() <= 1e-4


def test_random_noise_of_an_image_does_not_depend_on_its_batch():
    synthesis = small().synthesis
    together, alone = synthesis.random_noise(3, rng()), rng()
    one_by_one = [synthesis.random_noise(1, alone) for _ in range(3)]
    for layer, maps in enumerate(together):
        assert torch.equal(maps, torch.cat([noise[layer] for noise in one_by_one]))


def test_noise_given_changes_the_image_and_noise_not_given_is_the_checkpoints(few_at_once):
    network = small()
    z, fixed = latents(5, network), [layer.noise for layer in noise_layers(network)]
    with torch.no_grad():
        images = network(z)
        assert torch.equal(network(z, noise=fixed), images)
        drawn = network.synthesis.random_noise(5, rng())
        noisy = network(z, noise=drawn)
        assert (noisy - images).abs().mean() > 0.01
        last = network(z[4:], noise=[maps[4:] for maps in drawn])
        assert (last - noisy[4:]).abs().max() <= 1e-4


def noise_layers(network: Generator) -> list:
    return [
        network.get_submodule(f"synthesis.layer{i}.apply_noise")
        for i in range(network.config.layers)
    ]


def test_mixed_styles_take_each_layer_from_the_right_side():
    wp, other = torch.zeros(2, 6, 4), torch.ones(2, 6, 4)
    mixed = mix_styles(wp, other, torch.tensor([2, 6]))
    assert mixed[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1]
    assert mixed[1].sum() == 0
    assert torch.equal(mix_styles(wp, other, 2)[1], mixed[0])


def test_lod_draws_small_and_enlarges_and_fades_between(few_at_once):
    network = small()
    z = latents(3, network)
    with torch.no_grad():
        whole, half, between = (network(z, lod=lod) for lod in (0, 1, 0.25))
    assert half.shape == whole.shape
    assert torch.equal(half, half[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(between, 0.75 * whole + 0.25 * half)
    with pytest.raises(ValueError, match=r"lod 3\.5"):
        network(z, lod=3.5)


def test_blocks_that_were_taken_off_a_generator_are_put_back_on_another():
    whole, other = small(1, label_size=7), small(2)
    half = whole.config.resolution // 2
    other = with_resolution(other, half)
    back = with_resolution(other, whole.config.resolution, top=whole)
    assert back.synthesis.lod == 1 and with_resolution(back, half).synthesis.lod == 0
    own, top = back.state_dict(), whole.state_dict()
    for name, value in other.state_dict().items():
        assert torch.equal(own[name], value) or name == "synthesis.lod"
    added = own.keys() - other.state_dict().keys()
    assert added and all(torch.equal(own[name], top[name]) for name in added)


def test_the_activations_own_backward_is_the_derivative():
    shape, dtype = (2, 3, 4, 4), torch.float64
    x = torch.randn(shape, generator=rng(), dtype=dtype)
    values = [x, *(torch.randn(s, generator=rng(1), dtype=dtype) for s in ((2, 1, 4, 4), 3, 3))]
    values += [torch.randn(2, 3, generator=rng(k), dtype=dtype) for k in (2, 3)]
    x, noise, *rest = (value.requires_grad_(i != 1) for i, value in enumerate(values))

    def run(x, *rest):
        overwritten = (x * 1).contiguous(memory_format=torch.channels_last)
        return styled_activation(overwritten, noise, *rest, 0.2)

    assert torch.autograd.gradcheck(run, (x, *rest), atol=1e-6, check_undefined_grad=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_parameter_learns_and_bfloat16_points_the_same_way(dtype, few_at_once):
    network = small()
    z = latents(4, network)

    def gradients():
        network.zero_grad()
        images = network(z, noise=network.synthesis.random_noise(4, rng()))
        (images * torch.linspace(-1, 1, 32)).mean().backward()
        unused = {f"synthesis.output{k}.{end}" for k in range(3) for end in ("bias", "weight")}
        named = dict(network.named_parameters())
        assert unused == {name for name, p in named.items() if p.grad is None}
        return torch.cat([p.grad.flatten() for p in named.values() if p.grad is not None])

    exact = gradients()
    with precision.autocast("bfloat16" if dtype == torch.bfloat16 else "float32"):
        ours = gradients()
    assert ours.dtype == torch.float32
    assert torch.cosine_similarity(exact, ours, dim=0) > 0.99


@pytest.mark.parametrize("noisy", [False, True])  # without noise its layers are fewer steps
def test_bfloat16_images_stay_within_a_level_and_a_half(noisy):
    network = small(resolution=64, fmaps_base=1024, fmaps_max=32)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith("apply_noise.weight"):
                value.fill_(0.1 if noisy else 0)
    z = latents(4, network)
    levels = {}
    for name in ("float32", "bfloat16"):
        with precision.inference(name):
            levels[name] = to_uint8(network(z)).astype(int)
    difference = np.abs(levels["float32"] - levels["bfloat16"])
    assert 0 < difference.mean() <= 1.5


def fresh(network: Generator) -> Generator:
    """A network that has never drawn, with the same weights."""
    new = Generator(network.config, seed=77)
    new.load_state_dict(network.state_dict())
    return new


def step_of_an_optimizer(network, z):
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    network(z).square().mean().backward()
    optimizer.step()


def moving_average(network, z):
    with torch.no_grad():
        for own, other in zip(network.parameters(), small(seed=8).parameters(), strict=True):
            own.lerp_(other, 0.5)


def loaded_weights(network, z):
    network.load_state_dict(small(seed=8).state_dict())


def replaced_weight(network, z):
    layer = network.synthesis.layer3
    layer.weight = torch.nn.Parameter(torch.ones_like(layer.weight))


@pytest.mark.parametrize(
    "change", [step_of_an_optimizer, moving_average, loaded_weights, replaced_weight]
)
def test_prepared_kernels_never_outlive_their_weights(change):
    network = small()
    z = latents(2, network)
    with torch.inference_mode():
        before = network(z)
    change(network, z)
    with torch.inference_mode():
        assert torch.equal(network(z), fresh(network)(z))
        assert not torch.equal(network(z), before)


def test_a_copy_that_is_changed_does_not_draw_with_the_originals_kernels():
    network = small()
    z = latents(2, network)
    with torch.inference_mode():
        network(z)
    twin = copy.deepcopy(network)
    moving_average(twin, z)
    with torch.inference_mode():
        assert torch.equal(twin(z), fresh(twin)(z))


def test_images_become_levels_as_the_reference_rounds_them():
    values = torch.tensor([-2.0, -1.0, 0.0, 0.0039, 1.0, 2.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    levels = to_uint8(values)
    assert levels.shape == (1, 1, 6, 3) and levels.dtype == np.uint8
    assert levels[0, 0, :, 0].tolist() == [0, 0, 128, 128, 255, 255]
