"""Maps made smaller by slices: on a CPU, channels last, torch's own pools take many times as long.

These take over where a side does not divide, since what is left at its end is a pool of its own;
and in training, where slices have the slower way back.
"""

from functools import reduce

import torch
import torch.nn.functional as F


def halved(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2)), the largest of every 2 x 2."""
    if torch.is_grad_enabled() or x.shape[2] % 2 or x.shape[3] % 2:
        return F.max_pool2d(x, 2, ceil_mode=True)
    rows = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])


def averaged(x: torch.Tensor, by: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, ceil(H / by), ceil(W / by)), the mean of every `by` x `by`."""
    if torch.is_grad_enabled() or x.shape[2] % by or x.shape[3] % by:
        return F.avg_pool2d(x, by, ceil_mode=True)
    rows = reduce(torch.add, (x[:, :, i::by] for i in range(by)))
    return reduce(torch.add, (rows[..., i::by] for i in range(by))) / by**2


class Halve(torch.nn.Module):
    """`halved` as a layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return halved(x)
