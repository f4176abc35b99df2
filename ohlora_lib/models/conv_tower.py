"""What every score CNN is built of: a crop of the face, 3x3 convolutions, pools, a dense layer."""

from dataclasses import dataclass

import torch
from torch import nn

from ohlora_lib.models.cpu.pools import Halve, averaged

SLOPE = 0.01  # nn.LeakyReLU's default, which the published CNNs use (StyleGAN uses 0.2)
MAP_BYTES = 16 << 20  # larger maps leave a CPU's cache, and its allocator returns them each time


@dataclass(frozen=True)
class Tower:
    """One branch: the part of the image it sees (fractions) and its convolutions.

    `pooled` names the convolutions (from 1) that a 2x2 max pool follows.
    """

    rows: tuple[float, float]
    columns: tuple[float, float]
    channels: tuple[int, ...]
    pooled: tuple[int, ...]

    def cut(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) images -> the view of them that this branch sees."""
        height, width = images.shape[-2:]
        top, bottom = (int(edge * height) for edge in self.rows)
        left, right = (int(edge * width) for edge in self.columns)
        return images[..., top:bottom, left:right]


@dataclass(frozen=True)
class TowerSizes:
    """What differs between the published 256 px networks and smaller ones.

    `width` scales all channel counts; `padding` 1 keeps a map's size through a convolution, which
    crops of images under 256 px need. A crop of more than `crop_pixels` is averaged down by 2, 4, …
    until it has no more: the large ones cost most and tell least per pixel.
    """

    resolution: int = 256
    width: float = 1.0
    padding: int = 0
    conv_dropout: float = 0.05
    dense_dropout: float = 0.45
    crop_pixels: int | None = None

    def scaled(self, channels: int) -> int:
        """A published channel count at this width."""
        return max(1, round(channels * self.width))


def dropped(x: torch.Tensor, rate: float, on: bool, generator: torch.Generator | None):
    """Dropout of channels (N, C, H, W) or features (N, C), drawn from `generator` if given."""
    if rate == 0 or not (on or generator is not None):
        return x
    shape = x.shape[:2] + (1,) * (x.dim() - 2)
    keep = torch.rand(shape, generator=generator, device=x.device) >= rate
    return x * (keep / (1 - rate)).to(x.dtype)


class ConvTower(nn.Module):
    """(N, 3, R, R) images -> (N, features): crop, conv1, conv2, pool1, ..., flatten."""

    def __init__(self, tower: Tower, sizes: TowerSizes):
        super().__init__()
        self.tower, self.sizes = tower, sizes
        self.coarse = self._coarseness()
        self.steps: list[str] = []
        last = 3
        for number, channels in enumerate(map(sizes.scaled, tower.channels), start=1):
            conv = nn.Conv2d(last, channels, kernel_size=3, padding=sizes.padding)
            self._step(f"conv{number}", nn.Sequential(conv, nn.LeakyReLU(SLOPE)))
            if number in tower.pooled:
                # At the published sizes no side is odd: nothing is left over at an end.
                self._step(f"pool{tower.pooled.index(number) + 1}", Halve())
            last = channels
        height, width, self.largest = self._map_sizes()
        self.features = last * height * width

    def _coarseness(self) -> int:
        """By how much, 1, 2, 4, …, the crop is averaged down."""
        side = self.sizes.resolution
        pixels = self.tower.cut(torch.empty(1, side, side, device="meta")).numel()
        coarse = 1
        while self.sizes.crop_pixels and pixels > self.sizes.crop_pixels * coarse**2:
            coarse *= 2
        return coarse

    def _step(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)
        self.steps.append(name)

    def _map_sizes(self) -> tuple[int, int, int]:
        """The last map's height and width, the largest map's number of values.

        Refuses a resolution at which a map vanishes.
        """
        resolution, shrink = self.sizes.resolution, 2 - 2 * self.sizes.padding
        crop = self.tower.cut(torch.empty(1, resolution, resolution))
        height, width = (-(-side // self.coarse) for side in crop.shape[-2:])
        largest = 0
        for name in self.steps:
            if name.startswith("conv"):
                height, width = height - shrink, width - shrink
                channels = self.get_submodule(name)[0].out_channels
                largest = max(largest, channels * height * width)
            else:
                height, width = -(-height // 2), -(-width // 2)
            if min(height, width) < 1:
                raise ValueError(
                    f"at {resolution} px nothing is left of the crop rows {self.tower.rows}, "
                    f"columns {self.tower.columns} at {name}: use padding=1 or a larger resolution"
                )
        return height, width, largest

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        if images.shape[-2:] != (self.sizes.resolution, self.sizes.resolution):
            raise ValueError(
                f"this network reads {self.sizes.resolution} px images, these are "
                f"{tuple(images.shape)}: resize them first"
            )
        crops = self.tower.cut(images)
        if self.coarse > 1:
            crops = averaged(crops, self.coarse)
        # Channels last halves the time on a CPU; a GPU does not mind.
        crops = crops.contiguous(memory_format=torch.channels_last)
        if crops.device.type != "cpu" or torch.is_grad_enabled():
            return self._look(crops, dropout)
        together = max(1, MAP_BYTES // (4 * self.largest))
        return torch.cat([self._look(part, dropout) for part in crops.split(together)])

    def _look(self, x: torch.Tensor, dropout: torch.Generator | None) -> torch.Tensor:
        for name in self.steps:
            x = self.get_submodule(name)(x)
            if name.startswith("conv"):
                x = dropped(x, self.sizes.conv_dropout, self.training, dropout)
        return x.flatten(1)


def scored(
    head: nn.Module, features: torch.Tensor, rate: float, dropout: torch.Generator | None
) -> torch.Tensor:
    """(N, features) -> (N, outputs): `head`'s dense layers fc1 and fc_final.

    Never under autocast: they are little work, and bfloat16 would leave a score three digits.
    """
    with torch.autocast(features.device.type, enabled=False):
        x = head.fc1(features.to(head.fc1[0].weight.dtype))
        return head.fc_final(dropped(x, rate, head.training, dropout))


class ScoreTower(ConvTower):
    """(N, 3, H, W) images -> (N, outputs): a ConvTower, a dense tanh layer, a linear one."""

    def __init__(self, tower: Tower, sizes: TowerSizes, hidden: int, outputs: int = 1):
        super().__init__(tower, sizes)
        hidden = sizes.scaled(hidden)
        self.fc1 = nn.Sequential(nn.Linear(self.features, hidden), nn.Tanh())
        self.fc_final = nn.Linear(hidden, outputs)

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        features = super().forward(images, dropout)
        return scored(self, features, self.sizes.dense_dropout, dropout)
