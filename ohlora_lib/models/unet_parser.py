"""A compact U-Net that reads a face's class map from its pixels (classes: SPEC's eleven)."""

from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ohlora_lib.models.pixels import channels_first


@dataclass(frozen=True)
class UNetConfig:
    """Channels at full size, half, a quarter …, and the side in pixels that it was trained at."""

    widths: tuple[int, ...] = (12, 24, 48, 96, 128)
    classes: int = 11
    resolution: int = 128

    def __post_init__(self):
        if self.resolution % self.stride:
            raise ValueError(f"resolution {self.resolution}: must be a multiple of {self.stride}")

    @property
    def stride(self) -> int:
        """Pixels of the image per pixel of the coarsest features."""
        return 2 ** (len(self.widths) - 1)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm without its count of batches, which no weights file needs."""
    norm = nn.BatchNorm2d(channels)
    norm.num_batches_tracked = None
    return norm


class Conv(nn.Sequential):
    """A 3x3 convolution with batch norm and ReLU: (N, inputs, H, W) -> (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = batch_norm(outputs)
        self.relu = nn.ReLU(inplace=True)


class Up(nn.Module):
    """Enlarges (N, below, h, w), adds what the way down left (N, here, 2h, 2w), and mixes."""

    def __init__(self, below: int, here: int):
        super().__init__()
        self.match = nn.Conv2d(below, here, 1)
        self.conv = Conv(here, here)

    def forward(self, x, skip):
        return self.conv(F.interpolate(self.match(x), scale_factor=2).add_(skip))


class UNetParser(nn.Module):
    """Images (N, 3, H, W) in -1..1, H and W multiples of `stride` -> logits (N, classes, H, W)."""

    def __init__(self, config: UNetConfig | None = None, seed: int = 0):
        super().__init__()
        self.config = config = config or UNetConfig()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            steps = list(pairwise(config.widths))
            self.first = Conv(3, config.widths[0])
            self.down = nn.ModuleList(
                nn.Sequential(Conv(here, below), Conv(below, below)) for here, below in steps
            )
            self.up = nn.ModuleList(Up(below, here) for here, below in steps[::-1])
            self.classify = nn.Conv2d(config.widths[0], config.classes, 1)

    def forward(self, images):
        if images.shape[-1] % self.config.stride or images.shape[-2] % self.config.stride:
            raise ValueError(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels: "
                f"sides must be multiples of {self.config.stride}"
            )
        skips = [self.first(images)]
        for down in self.down:
            skips.append(down(halved(skips[-1])))
        x = skips.pop()
        for up in self.up:
            x = up(x, skips.pop())
        return self.classify(x)

    @torch.no_grad()
    def folded(self) -> "UNetParser":
        """The same network to read with: every batch norm is part of the convolution before it."""
        network = deepcopy(self).eval()
        for part in network.modules():
            if isinstance(part, Conv):
                part.conv, part.norm = fuse_conv_bn_eval(part.conv, part.norm), nn.Identity()
        return network

    @torch.no_grad()
    def parse(self, images: np.ndarray, side: int | None = None) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB faces of any size -> class maps (N, side, side) uint8.

        `side` defaults to the images'. The network works at the size that it was trained at.
        """
        side = side or images.shape[1]
        weight = self.classify.weight
        x = channels_first(images).to(weight.device) / 127.5 - 1
        x = resize(x, self.config.resolution)
        training = self.training
        logits = self.eval()(x.to(weight.dtype, memory_format=torch.channels_last)).float()
        self.train(training)
        most = resize(logits, side).max(dim=1)  # argmax takes longer on a CPU
        return most.indices.byte().cpu().numpy()


def halved(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, H / 2, W / 2), the largest of every 2 x 2.

    On a CPU, channels last in bfloat16, torch's own pooling takes eight times as long. In training
    equal ones share the gradient; but after a ReLU equal ones are zero, where none passes.
    """
    rows = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])


def resize(x: torch.Tensor, side: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, side, side), antialiased where it shrinks."""
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bilinear", antialias=side < x.shape[-1])
