"""A compact U-Net: the class map of a face (`faces.classes`) from its pixels."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.cpu.pools import max_pool
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
        return self.conv(upsample_add(self.match(x), skip))


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
            skips.append(down(max_pool(skips[-1])))
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
        return upsampled_argmax(logits, side)


def upsample_add(x: torch.Tensor, larger: torch.Tensor) -> torch.Tensor:
    """Nearest upsampling of x (N, C, h, w) to twice its size, plus `larger` (N, C, 2h, 2w).

    Row by row: torch's own upsampling takes three times as long on a CPU, channels last.
    """
    n, c, h, w = x.shape
    x, larger = x.permute(0, 2, 3, 1), larger.permute(0, 2, 3, 1)
    row = torch.cat([x, x], dim=3).reshape(n, h, 1, 2 * w * c)
    total = larger.reshape(n, h, 2, 2 * w * c) + row
    return total.view(n, 2 * h, 2 * w, c).permute(0, 3, 1, 2)


MIXED = 255


def upsampled_argmax(logits: torch.Tensor, side: int) -> np.ndarray:
    """(N, C, S, S) float32 -> the argmax of the logits upsampled to `side`, (N, side, side) uint8.

    Bilinear interpolation mixes four neighbors. Where all four have the same argmax, so has the
    pixel; only the others, one in twenty in a map of a face, are interpolated.
    """
    size = logits.shape[-1]
    if logits.device.type != "cpu" or side < size:
        largest = resize(logits, side).max(dim=1)  # argmax takes longer on a CPU
        return largest.indices.byte().cpu().numpy()
    rows = logits.permute(0, 2, 3, 1).numpy()
    coarse = rows.argmax(axis=3).astype(np.uint8)
    if side == size:
        return coarse
    first, corners, weights = _bilinear(size, side)
    here, right, below, diagonal = _neighbors(coarse)
    same = (here == right) & (here == below) & (here == diagonal)
    maps = np.where(same, coarse, np.uint8(MIXED)).take(first, 1).take(first, 2)
    for each, row in zip(maps.reshape(len(maps), -1), rows, strict=True):
        mixed = np.flatnonzero(each == MIXED)
        near = row.reshape(size * size, -1).take(corners.take(mixed, 1), 0)
        near *= weights.take(mixed, 1)[..., None]
        each[mixed] = near.sum(axis=0).argmax(axis=1)
    return maps


def _neighbors(maps: np.ndarray) -> tuple[np.ndarray, ...]:
    """(N, S, S) and its neighbors to the right, below and diagonal; the border repeats."""
    wide = np.pad(maps, ((0, 0), (0, 1), (0, 1)), mode="edge")
    return wide[:, :-1, :-1], wide[:, :-1, 1:], wide[:, 1:, :-1], wide[:, 1:, 1:]


@lru_cache
def _bilinear(size: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bilinear upsampling from `size` to `side`: the first neighbor along an axis (side,), and the
    four neighbors of each pixel with their weights (4, side^2)."""
    at = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(size / side)
    at = np.maximum(at - np.float32(0.5), 0)
    first = at.astype(np.int64)
    second, share = np.minimum(first + 1, size - 1), at - first
    both, shares = (first, second), (1 - share, share)
    corners = [np.add.outer(y * size, x).ravel() for y in both for x in both]
    weights = [np.multiply.outer(y, x).ravel() for y in shares for x in shares]
    return first, np.stack(corners), np.stack(weights)


def resize(x: torch.Tensor, side: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, side, side), antialiased when shrinking."""
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bilinear", antialias=side < x.shape[-1])
