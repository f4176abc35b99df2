"""Networks to read with, no longer to train: what follows a convolution is part of it."""

from copy import deepcopy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ohlora_lib.models.cpu import onednn
from ohlora_lib.models.cpu.weight_cache import WeightCache
from ohlora_lib.models.precision import compute_dtype

Network = TypeVar("Network", bound=nn.Module)


class ReadingConv(nn.Module):
    """relu(norm(conv(x))) in one step: the norm is in the weights, the ReLU in the convolution."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d):
        super().__init__()
        self.conv = fuse_conv_bn_eval(conv, norm)
        self.kernel = WeightCache()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv, dtype = self.conv, compute_dtype(x)
        if not onednn.at_hand(x, dtype):
            return F.relu_(conv(x))
        kernel = self.kernel(_kernel, conv.weight, dtype)
        return onednn.leaky_convolution(
            x.to(dtype), kernel, conv.bias, 0.0, conv.padding[0], stride=conv.stride[0]
        )


def _kernel(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return weight.to(dtype, memory_format=torch.channels_last)


@torch.no_grad()
def fuse_for_inference(network: Network) -> Network:
    """A copy, in eval mode, whose every convolution with batch norm and ReLU is one step."""
    network = deepcopy(network).eval()
    for part in list(network.modules()):
        for name, child in part.named_children():
            if [type(step) for step in child.children()] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]:
                setattr(part, name, ReadingConv(*list(child.children())[:2]))
    return network
