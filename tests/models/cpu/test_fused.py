"""A fused network gives the same results; the original network is unchanged."""

import pytest
import torch

from ohlora_lib.models import precision
from ohlora_lib.models.annotator import Annotator, AnnotatorConfig
from ohlora_lib.models.cpu.fused import fuse_for_inference
from ohlora_lib.models.unet_parser import UNetConfig, UNetParser

NETWORKS = {
    "parser": lambda: UNetParser(UNetConfig(widths=(4, 6, 8), resolution=32), seed=3),
    "annotator": lambda: Annotator(AnnotatorConfig(("eyes", "mouth"), resolution=32), seed=3),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    network = NETWORKS[request.param]()
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.train()(images * 2 + 1)  # fills the norms' means
    return network.eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("number_format", "apart"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_results_are_the_same(network, images, number_format, apart):
    with torch.no_grad():
        wanted = network(images)
    with precision.inference(number_format):
        given = fuse_for_inference(network)(images)
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one.float(), other, atol=apart, rtol=apart)


def test_no_norm_is_left_and_the_network_itself_is_unchanged(network, images):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    read = fuse_for_inference(network)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in read.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_gradients_reach_the_pixels(network, images):
    images = images.requires_grad_()
    (network(images)[0].sum()).backward()
    wanted, images.grad = images.grad, None
    fuse_for_inference(network)(images)[0].sum().backward()
    torch.testing.assert_close(images.grad, wanted, atol=1e-4, rtol=1e-4)
