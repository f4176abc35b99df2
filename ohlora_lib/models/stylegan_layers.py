"""Building blocks that StyleGAN's generator and discriminator share.

Every learned weight is stored at unit scale and multiplied by `gain / sqrt(fan_in)` when it is used
(equalised learning rate), as in the published checkpoints.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

SLOPE = 0.2  # of every leaky ReLU in StyleGAN
FUSED_FROM = 128  # from this resolution on, published kernels are those of a transposed convolution


def channels_at(resolution: int, fmaps_base: int, fmaps_max: int) -> int:
    """Feature maps of the layers that work at `resolution`."""
    return min(fmaps_base // resolution, fmaps_max)


def compute_dtype(x: torch.Tensor) -> torch.dtype:
    """The number format to compute in: autocast's where it is on, else that of `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def initialise(network: nn.Module, seed: int) -> None:
    """Fill every layer with the random start that `seed` names."""
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if hasattr(module, "start"):
            module.start(rng)


class Dense(nn.Module):
    """Equalised dense layer, leaky ReLU unless `activate` is off: (N, inputs) -> (N, outputs)."""

    def __init__(self, inputs, outputs, gain=math.sqrt(2), rate=1.0, activate=True):
        super().__init__()
        self.scale, self.rate, self.activate = gain / math.sqrt(inputs) * rate, rate, activate
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    @torch.no_grad()
    def start(self, rng: torch.Generator) -> None:
        self.weight.normal_(0, 1 / self.rate, generator=rng)

    def forward(self, x):
        x = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return F.leaky_relu(x, SLOPE) if self.activate else x


class Blur(nn.Module):
    """Depthwise 3x3 smoothing with zeros beyond the border; the kernel is part of the checkpoint."""

    def __init__(self, channels: int):
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        kernel = torch.outer(line, line) / 16
        self.register_buffer("kernel", kernel.expand(channels, 1, 3, 3).clone())

    def forward(self, x):
        return F.conv2d(x, self.kernel.to(x.dtype), padding=1, groups=x.shape[1])


def four_shifts(kernel: torch.Tensor) -> torch.Tensor:
    """(A, B, 3, 3) -> (A, B, 4, 4): the sum of the kernel's four shifts by zero or one.

    With stride 2 it is "3x3 convolution, then sum over 2x2"; transposed, with stride 2, it is
    "nearest upsampling, then the flipped 3x3 convolution": a quarter of the pixels is visited.
    """
    padded = F.pad(kernel, (1, 1, 1, 1))
    return sum(padded[..., i : i + 4, j : j + 4] for i in (0, 1) for j in (0, 1))
