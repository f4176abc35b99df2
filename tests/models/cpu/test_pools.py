"""Maps made smaller by slices are those that torch's own pools make."""

import pytest
import torch
import torch.nn.functional as F

from ohlora_lib.models.cpu.pools import MaxPool, avg_pool, max_pool


@pytest.fixture(params=[False, True], ids=["reading", "training"])
def training(request):
    with torch.set_grad_enabled(request.param):
        yield


@pytest.fixture(params=[(8, 12), (7, 12), (9, 5)])
def maps(training, request):
    rng = torch.Generator().manual_seed(2)
    return torch.randn(2, 3, *request.param, generator=rng)


def test_halving_takes_the_largest_of_every_four_and_of_what_is_left(maps):
    wanted = F.max_pool2d(maps, 2, ceil_mode=True)
    torch.testing.assert_close(max_pool(maps), wanted)
    torch.testing.assert_close(MaxPool()(maps), wanted)


@pytest.mark.parametrize("by", [2, 4])
def test_an_average_is_of_every_square_and_of_what_is_left(maps, by):
    torch.testing.assert_close(avg_pool(maps, by), F.avg_pool2d(maps, by, ceil_mode=True))
