"""Which number format is chosen on which device."""

import pytest
import torch

from ohlora_lib.models import precision
from ohlora_lib.models.stylegan import Generator, GeneratorConfig

TINY = GeneratorConfig(
    resolution=8, z_size=8, w_size=8, mapping_width=8, fmaps_base=64, fmaps_max=8
)


@pytest.mark.parametrize(
    ("reported", "pays"),
    [
        ({"cpu_name": "Intel Xeon", "amx_bf16": True, "avx512_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "amx_bf16": False, "avx512_bf16": True}, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, True),
        ({"cpu_name": "AMD EPYC", "avx512_f": True}, False),
        ({}, False),  # what torch reports where it knows nothing
    ],
)
def test_bfloat16_is_chosen_by_what_the_cpu_reports(monkeypatch, reported, pays):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: reported)
    assert precision.chosen("auto", "cpu") == (torch.bfloat16 if pays else torch.float32)
    assert precision.autocast("auto", "cpu")._enabled == pays


def test_float32_on_request_is_float32_everywhere(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert precision.chosen("float32", "cpu") == torch.float32
    network = Generator(TINY)
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    exact = network(z).detach()
    with precision.inference("float32"):
        assert torch.equal(network(z), exact)
    with precision.inference("auto"):
        assert not network(z).requires_grad


def test_an_unknown_precision_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'half': must be one of auto, float32, bfloat16"):
        precision.chosen("half")


def test_only_a_bfloat16_network_is_laid_out_channels_last():
    weight = precision.place(Generator(TINY), "float32").synthesis.layer1.weight
    assert weight.is_contiguous()
    weight = precision.place(Generator(TINY), "bfloat16").synthesis.layer1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
