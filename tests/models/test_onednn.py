import pytest
import torch
import torch.nn.functional as F

from ohlora_lib.models import precision
from ohlora_lib.models.onednn import Linear, leaky_convolution


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


def test_one_keeps_no_copy_of_anothers_weights(layer):
    other = Linear(48, 80, gelu=True)
    other.load_state_dict(layer.state_dict())
    assert layer.state_dict().keys() == {"weight", "bias"}
    x = torch.randn(2, 48)
    with torch.inference_mode():
        torch.testing.assert_close(other(x), layer(x))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
@pytest.mark.parametrize("groups", [1, 16])
def test_a_convolution_with_its_activation(groups):
    torch.manual_seed(0)
    x, kernel, bias = torch.randn(2, 16, 9, 9), torch.randn(16, 16 // groups, 3, 3), torch.randn(16)
    expected = F.leaky_relu(F.conv2d(x, kernel, bias, padding=1, groups=groups), 0.2)
    with torch.inference_mode():
        given = leaky_convolution(x, kernel, bias, 0.2, padding=1, groups=groups)
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=1e-4)
