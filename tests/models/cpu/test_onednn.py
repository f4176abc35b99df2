import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from ohlora_lib.models import precision
from ohlora_lib.models.cpu.onednn import Linear, at_hand, leaky_convolution


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(48, 80, gelu=True)


def plain(layer: Linear, x: torch.Tensor) -> torch.Tensor:
    return F.gelu(F.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize(("number_format", "apart"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_a_linear_layer_is_torchs_own(layer, number_format, apart):
    x = torch.randn(3, 7, 48)
    with precision.inference(number_format):
        y = layer(x)
    torch.testing.assert_close(y.float(), plain(layer, x).detach(), atol=apart, rtol=apart)


def test_it_notices_that_its_weights_have_changed(layer):
    x = torch.randn(5, 48)
    with torch.inference_mode():
        layer(x)
    with torch.no_grad():
        layer.weight.mul_(2)
    with torch.inference_mode():
        y = layer(x)
    torch.testing.assert_close(y, plain(layer, x).detach(), atol=1e-5, rtol=1e-5)


def test_with_gradients_it_learns(layer):
    layer(torch.randn(5, 48)).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "another", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))]
)
def test_a_copy_computes_with_its_own_weights(layer, another):
    x = torch.randn(2, 48)
    with torch.inference_mode():
        before = layer(x)
    twin = another(layer)
    with torch.no_grad():
        twin.weight.mul_(2)
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), plain(twin, x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(layer(x), before)


def test_loaded_weights_take_the_place_of_those_before(layer):
    other, x = Linear(48, 80, gelu=True), torch.randn(2, 48)
    with torch.inference_mode():
        other(x)
    other.load_state_dict(layer.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(other(x), layer(x))


def test_formats_that_do_not_fit_are_refused_as_torch_does(layer):
    with torch.inference_mode(), pytest.raises(RuntimeError):
        layer(torch.randn(2, 48).bfloat16())


@pytest.mark.parametrize("groups", [1, 16])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_a_convolution_with_its_activation(groups, dtype, apart):
    x, kernel = torch.randn(2, 16, 9, 9), torch.randn(16, 16 // groups, 3, 3) / 4
    bias = torch.randn(16)
    expected = F.leaky_relu(F.conv2d(x, kernel, bias, padding=1, groups=groups), 0.2)
    with torch.inference_mode():
        if not at_hand(x, dtype):
            pytest.skip(f"oneDNN's steps are not at hand here in {dtype}")
        x, kernel = (t.to(dtype, memory_format=torch.channels_last) for t in (x, kernel))
        given = leaky_convolution(x, kernel, bias, 0.2, padding=1, groups=groups)
    assert given.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(given.float(), expected, atol=apart, rtol=apart)
