"""Building blocks that StyleGAN's generator and discriminator share.

Every learned weight is stored at unit scale and multiplied by `gain / sqrt(fan_in)` when it is used
(equalized learning rate), as in the published checkpoints.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

SLOPE = 0.2  # of every leaky ReLU in StyleGAN
QUICK_BLOCK = 8 << 20  # bytes
FUSED_FROM = 128  # from this resolution on, published kernels are those of a transposed convolution


def channels_at(resolution: int, fmaps_base: int, fmaps_max: int) -> int:
    """Feature maps of the layers that work at `resolution`."""
    return min(fmaps_base // resolution, fmaps_max)


def images_together(x: torch.Tensor, numbers: int) -> int:
    """How many images to take through a layer at once, when each makes `numbers` values there.

    On a CPU, few: glibc hands blocks above 32 MiB back to the system, and to get them anew costs
    five times as long as the arithmetic done in them; and what fits into the cache is still there
    for the next pass (on an EPYC 8 MiB took a tenth less time than 12). GPUs take the whole batch.
    """
    if x.device.type != "cpu":
        return max(1, x.shape[0])
    return max(1, QUICK_BLOCK // (numbers * x.element_size()))


def initialize(network: nn.Module, seed: int) -> None:
    """Fill every layer with the random start that `seed` names."""
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if hasattr(module, "start"):
            module.start(rng)


class Dense(nn.Module):
    """Equalized dense layer, leaky ReLU unless `activate` is off: (N, inputs) -> (N, outputs).

    Never in bfloat16: its cost is small, and everything drawn hangs on the digits of w.
    """

    def __init__(self, inputs, outputs, rate=1.0, activate=True):
        super().__init__()
        gain = math.sqrt(2) if activate else 1.0
        self.scale, self.rate, self.activate = gain / math.sqrt(inputs) * rate, rate, activate
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    @torch.no_grad()
    def start(self, rng: torch.Generator) -> None:
        self.weight.normal_(0, 1 / self.rate, generator=rng)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            x = F.linear(x.to(self.weight) * self.scale, self.weight, self.bias * self.rate)
        return F.leaky_relu(x, SLOPE) if self.activate else x


class Blur(nn.Module):
    """Depthwise 3x3 smoothing, zeros beyond the border; the kernel is part of the checkpoint."""

    def __init__(self, channels: int):
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        kernel = torch.outer(line, line) / 16
        self.register_buffer("kernel", kernel.expand(channels, 1, 3, 3).clone())

    def forward(self, x, convolve=F.conv2d):
        return convolve(x, self.kernel.to(x.dtype), padding=1, groups=x.shape[1])


def four_shifts(kernel: torch.Tensor) -> torch.Tensor:
    """(A, B, 3, 3) -> (A, B, 4, 4): the sum of the kernel's four shifts by zero or one.

    With stride 2 it is "3x3 convolution, then sum over 2x2"; transposed, with stride 2, it is
    "nearest upsampling, then the flipped 3x3 convolution": a quarter of the pixels is visited.
    """
    padded = F.pad(kernel, (1, 1, 1, 1))
    return sum(padded[..., i : i + 4, j : j + 4] for i in (0, 1) for j in (0, 1))
