"""A compact U-Net: the class map of a face (`faces.classes`) from its pixels."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.pixels import channels_first


@dataclass(frozen=True)
class UNetConfig:
    """Channels at full size, half, a quarter …, and the training resolution in pixels."""

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
    """Batch norm without its batch counter, which weights files do not need."""
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
    """Upsamples (N, below, h, w), adds the skip connection (N, here, 2h, 2w), and convolves."""

    def __init__(self, below: int, here: int):
        super().__init__()
        self.match = nn.Conv2d(below, here, 1)
        self.conv = Conv(here, here)

    def forward(self, x, skip):
        return self.conv(F.interpolate(self.match(x), scale_factor=2) + skip)


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
                f"images are {images.shape[-2]} x {images.shape[-1]} pixels: "
                f"sides must be multiples of {self.config.stride}"
            )
        skips = [self.first(images)]
        for down in self.down:
            skips.append(down(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for up in self.up:
            x = up(x, skips.pop())
        return self.classify(x)

    @torch.no_grad()
    def parse(self, images: np.ndarray, side: int | None = None) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB faces of any size -> class maps (N, side, side) uint8.

        `side` defaults to that of the images. The network runs at its training resolution.
        """
        side = side or images.shape[1]
        weight = self.classify.weight
        x = channels_first(images).to(weight.device) / 127.5 - 1
        x = resize(x, self.config.resolution)
        training = self.training
        logits = self.eval()(x.to(weight.dtype, memory_format=torch.channels_last)).float()
        self.train(training)
        # max, not argmax, which takes longer on a CPU
        return resize(logits, side).max(dim=1).indices.byte().cpu().numpy()


def resize(x: torch.Tensor, side: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, side, side), antialiased when shrinking."""
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bilinear", antialias=side < x.shape[-1])
