"""The depthwise fast path has the results and gradients of the plain convolution."""

import pytest
import torch
from torch import nn

from ohlora_lib.models.cpu import SWITCH
from ohlora_lib.models.cpu.depthwise import depthwise


def results(x, seed=0):
    """Output and gradients of a 5x5 convolution, at x and at the weights."""
    torch.manual_seed(seed)
    conv = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
    x = x.clone().requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        y = depthwise(conv, x)
    y.float().square().sum().backward()
    return y, x.grad, conv.weight.grad


def close(one, other, apart):
    """Within a fraction of the largest value."""
    torch.testing.assert_close(one, other, rtol=0, atol=apart * other.abs().max().item())


@pytest.fixture
def x():
    return torch.randn(3, 6, 9, 8, generator=torch.Generator().manual_seed(1))


def test_fast_path_equals_the_plain_one(x, monkeypatch):
    fast = results(x)
    monkeypatch.setenv(SWITCH, "1")
    plain = results(x)
    for one, other in zip(fast, plain, strict=True):
        assert one.dtype == other.dtype
        close(one.float(), other.float(), 0.02)


def test_weights_gradient_is_that_of_float32(x):
    """bfloat16 keeps eight bits; a sum in it would lose more."""
    fast = results(x)[2]
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
    conv(x).square().sum().backward()
    close(fast, conv.weight.grad, 0.01)


def test_float32_and_frozen_weights_work(x):
    conv = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False).requires_grad_(False)
    torch.testing.assert_close(depthwise(conv, x), conv(x))
    y = x.bfloat16().requires_grad_(True)
    depthwise(conv, y).sum().backward()
    assert y.grad is not None and conv.weight.grad is None
