"""The discriminator: both forms, minibatch stddev, lod, and the gradients that R1 needs."""

import pytest
import torch

from benchmarks.plain_stylegan import plain_scores
from ohlora_lib.models import precision, stylegan
from ohlora_lib.models.discriminator import (
    Discriminator,
    DiscriminatorConfig,
    MinibatchStddev,
    with_resolution,
)

SMALL = {"resolution": 32, "fmaps_base": 256, "fmaps_max": 16}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**changes) -> Discriminator:
    network = Discriminator(DiscriminatorConfig(**SMALL | changes))
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if tensor.dim() == 1:
                tensor.normal_(std=0.3, generator=rng(len(name)))
    return network


def pictures(n: int, resolution: int = 32, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(n, 3, resolution, resolution, generator=rng(3), dtype=dtype)


@pytest.fixture
def few_at_once(monkeypatch):
    """So small a limit that even these maps are read a few images at a time."""
    monkeypatch.setattr(stylegan, "CHUNK_BYTES", 40_000)


@pytest.mark.parametrize("resolution", [8, 64])
@pytest.mark.parametrize("label_size", [0, 7])
def test_scores_are_those_of_the_written_out_network(resolution, label_size, few_at_once):
    network = small(resolution=resolution, label_size=label_size).double()
    images = pictures(8, resolution, torch.float64)
    label = torch.randn(8, 7, generator=rng(1), dtype=torch.float64) if label_size else None
    with torch.no_grad():
        expected = plain_scores(network, images, label)
        torch.testing.assert_close(network(images, label), expected, rtol=0, atol=1e-11)


def test_state_dict_starts_with_lod_and_ends_with_the_score():
    keys = list(small(label_size=7).state_dict())
    assert keys[:3] == ["lod", "input0.weight", "input0.bias"]
    assert keys[5:8] == ["layer1.weight", "layer1.bias", "layer1.blur.kernel"]
    assert keys[-2:] == ["layer8.weight", "layer8.bias"]
    assert small(label_size=7).layer8.weight.shape == (1, 16 + 7)


def test_config_survives_a_dictionary():
    config = DiscriminatorConfig(**SMALL, label_size=7, group_size=16)
    assert DiscriminatorConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("wrong", [{"resolution": 20}, {"fmaps_base": 8}])
def test_impossible_sizes_are_refused_by_name(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} {value}"):
        DiscriminatorConfig(**SMALL | wrong)


def test_stddev_groups_are_strided_and_a_batch_of_one_gives_the_floor():
    stddev = MinibatchStddev(group_size=4)
    x = torch.zeros(8, 2, 4, 4)
    x[1::2] = torch.randn(4, 2, 4, 4, generator=rng())  # images 1, 3, 5, 7 differ, the others not
    channel = stddev(x)[:, -1, 0, 0]
    assert channel[0::2].tolist() == pytest.approx([1e-4] * 4)
    assert (channel[1::2] > 0.1).all() and channel[1::2].unique().numel() == 1
    assert stddev(x[1:2])[0, -1, 0, 0].item() == pytest.approx(1e-4)


def test_a_batch_that_leaves_a_group_incomplete_is_refused():
    with pytest.raises(ValueError, match="batch of 6: must be a multiple"):
        small()(pictures(6))


def test_label_is_asked_for_where_it_is_needed_and_refused_where_not():
    with pytest.raises(ValueError, match="needs a label of 7"):
        small(label_size=7)(pictures(1))
    with pytest.raises(ValueError, match="takes none"):
        small()(pictures(1), torch.zeros(1, 7))


def test_label_moves_the_score_by_the_last_layers_weights_alone():
    network = small(label_size=7)
    images, label = pictures(4), torch.randn(4, 7, generator=rng(2))
    with torch.no_grad():
        moved = network(images, label) - network(images, torch.zeros(4, 7))
        weight = network.layer8.weight[0, 16:] / (16 + 7) ** 0.5
    torch.testing.assert_close(moved[:, 0], label @ weight, rtol=0, atol=1e-5)


def test_lod_sees_nothing_finer_than_its_pixels_and_fades_between():
    network = small()
    images = pictures(4)
    coarse = torch.nn.functional.avg_pool2d(images, 2).repeat_interleave(2, 2)
    coarse = coarse.repeat_interleave(2, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(images, lod=1), network(coarse, lod=1))
        at_zero, nearly = network(images, lod=0), network(images, lod=1e-5)
        assert not torch.allclose(at_zero, network(coarse, lod=0), atol=1e-3)
        torch.testing.assert_close(nearly, at_zero, rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match="lod 4"):
        network(images, lod=4)


def r1_penalty(network, images):
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def test_the_r1_penaltys_gradient_is_its_difference_quotient(few_at_once):
    network, images = small(resolution=16).double(), pictures(4, 16, torch.float64)
    r1_penalty(network, images).backward()
    for weight in (network.layer0.weight, network.layer1.weight, network.layer5.weight):
        index = (0,) * weight.dim()
        with torch.no_grad():
            weight[index] += 1e-5
            above = r1_with_grad(network, images)
            weight[index] -= 2e-5
            below = r1_with_grad(network, images)
            weight[index] += 1e-5
        assert weight.grad[index].item() == pytest.approx((above - below) / 2e-5, rel=1e-4)


def r1_with_grad(network, images) -> float:
    with torch.enable_grad():
        return r1_penalty(network, images).item()


def test_bfloat16_scores_and_r1_gradients_follow_float32(few_at_once):
    network, images = small(), pictures(8)
    results = {}
    for name in ("float32", "bfloat16"):
        network.zero_grad()
        with precision.autocast(name):
            penalty, scores = r1_penalty(network, images), network(images)
        penalty.backward()
        learning = (network.input0, network.layer0, network.layer3)
        gradient = torch.cat([layer.weight.grad.flatten() for layer in learning])
        results[name] = scores.detach().flatten(), gradient
    for exact, ours in zip(results["float32"], results["bfloat16"], strict=True):
        assert ours.dtype == torch.float32
        assert torch.cosine_similarity(exact, ours, dim=0) > 0.99


@pytest.mark.parametrize("level", range(4))
def test_front_and_head_are_the_whole_way(level):
    """What is frozen is computed apart: wherever it is cut, nothing may change."""
    config = DiscriminatorConfig(resolution=32, fmaps_base=64, label_size=7)
    critic = Discriminator(config, seed=1).requires_grad_(False)
    images, label = torch.randn(4, 3, 32, 32), torch.randn(4, 7)
    assert torch.equal(
        critic.head(critic.front(images, level), level, label), critic(images, label)
    )


def test_a_discriminator_without_its_first_level_scores_as_the_whole_does_at_lod_1():
    whole = small()
    half = with_resolution(whole, 16)
    images = pictures(4, 16)
    enlarged = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(half(images), whole(enlarged, lod=1))
    again = with_resolution(half, 32)
    assert torch.allclose(again(enlarged, lod=1), half(images))
