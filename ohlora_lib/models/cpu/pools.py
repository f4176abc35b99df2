"""Pooling by slices: on a CPU, channels last, torch's own pools take many times as long.

Torch's pools are used for sides that do not divide evenly, and in training, where the backward of
slices is slower.
"""

from functools import reduce

import torch
import torch.nn.functional as F

from ohlora_lib.models import cpu


def _use_torch(x: torch.Tensor, size: int) -> bool:
    divides = x.shape[2] % size == 0 and x.shape[3] % size == 0
    return torch.is_grad_enabled() or not divides or not cpu.enabled()


def max_pool(x: torch.Tensor) -> torch.Tensor:
    """2x2 max pool: (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""
    if _use_torch(x, 2):
        return F.max_pool2d(x, 2, ceil_mode=True)
    rows = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])


def avg_pool(x: torch.Tensor, size: int) -> torch.Tensor:
    """Average pool: (N, C, H, W) -> (N, C, ceil(H / size), ceil(W / size))."""
    if _use_torch(x, size):
        return F.avg_pool2d(x, size, ceil_mode=True)
    rows = reduce(torch.add, (x[:, :, i::size] for i in range(size)))
    return reduce(torch.add, (rows[..., i::size] for i in range(size))) / size**2


class MaxPool(torch.nn.Module):
    """`max_pool` as a layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return max_pool(x)
