"""OHLORA_PLAIN_CPU=1 switches the fast paths off; both ways agree up to rounding."""

import pytest
import torch
import torch.nn.functional as F

from ohlora_lib.models import cpu
from ohlora_lib.models.annotator import Annotator, AnnotatorConfig
from ohlora_lib.models.cpu import styled_activation as fast
from ohlora_lib.models.cpu.fused import FusedConv, fuse_for_inference
from ohlora_lib.models.cpu.weight_cache import WeightCache
from ohlora_lib.models.stylegan import Generator, GeneratorConfig

CONFIG = GeneratorConfig(
    resolution=32, z_size=24, w_size=24, mapping_width=24, fmaps_base=256, fmaps_max=16
)


@pytest.fixture
def plain(monkeypatch):
    """Switch the fast paths off, or on again."""

    def switch(on: bool) -> None:
        monkeypatch.setenv(cpu.SWITCH, "1" if on else "0")

    return switch


def noisy_generator() -> Generator:
    network = Generator(CONFIG, seed=3)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.dim() == 1:
                value.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    return network


def test_the_fast_paths_are_on_by_default_and_off_by_the_variable(monkeypatch):
    monkeypatch.delenv(cpu.SWITCH, raising=False)
    assert cpu.enabled()
    for value, enabled in (("", True), ("0", True), ("1", False)):
        monkeypatch.setenv(cpu.SWITCH, value)
        assert cpu.enabled() == enabled


def test_images_and_gradients_agree_with_the_plain_path(plain):
    network = noisy_generator()
    z = torch.randn(3, 24, generator=torch.Generator().manual_seed(0))
    results = []
    for off in (False, True):
        plain(off)
        network.zero_grad()
        images = network(z)
        (images * torch.linspace(-1, 1, 32)).mean().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        with torch.inference_mode():
            results.append([images.detach(), network(z), *gradients])
    for ours, wanted in zip(*results, strict=True):
        torch.testing.assert_close(ours, wanted, atol=5e-5, rtol=1e-4)


def test_the_plain_activation_is_the_definition(plain):
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 8, 8, generator=rng).contiguous(memory_format=torch.channels_last)
    noise = torch.randn(1, 1, 8, 8, generator=rng)
    weight, bias = torch.randn(2, 3, generator=rng)
    scale, shift = torch.randn(2, 2, 3, generator=rng)
    wanted = x + weight[:, None, None] * noise + bias[:, None, None]
    wanted = F.instance_norm(F.leaky_relu(wanted, 0.2), eps=1e-8)
    wanted = wanted * scale[..., None, None] + shift[..., None, None]
    for off in (False, True):
        plain(off)
        ours = fast.styled_activation(x.clone(), noise, weight, bias, scale, shift, 0.2)
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-5)


def test_nothing_is_cached_or_fused_when_off(plain):
    weight, calls = torch.nn.Parameter(torch.ones(2)), []

    def double(weight):
        calls.append(1)
        return weight * 2

    cache = WeightCache()
    network = Annotator(AnnotatorConfig(("eyes",), resolution=32))
    for off, count in ((False, 1), (True, 3)):
        plain(off)
        with torch.inference_mode():
            assert torch.equal(cache(double, weight), cache(double, weight))
        assert len(calls) == count
        fused = fuse_for_inference(network)
        assert any(isinstance(part, FusedConv) for part in fused.modules()) != off
