"""Building block of all score CNNs: a crop of the face, 3x3 convolutions, pools, a dense layer."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

SLOPE = 0.01  # nn.LeakyReLU's default, which the published CNNs use (StyleGAN uses 0.2)
CHUNK_BYTES = 16 << 20  # larger maps leave a CPU's cache and are page-faulted in again each time


@dataclass(frozen=True)
class Tower:
    """One branch: its crop of the image (fractions) and its convolutions.

    `pooled` lists the convolutions (from 1) that are followed by a 2x2 max pool.
    """

    rows: tuple[float, float]
    columns: tuple[float, float]
    channels: tuple[int, ...]
    pooled: tuple[int, ...]

    def crop(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) images -> this branch's crop, a view."""
        height, width = images.shape[-2:]
        top, bottom = (int(edge * height) for edge in self.rows)
        left, right = (int(edge * width) for edge in self.columns)
        return images[..., top:bottom, left:right]


@dataclass(frozen=True)
class TowerSizes:
    """What differs between the published 256 px networks and smaller ones.

    `width` scales all channel counts; `padding` 1 keeps the map size through a convolution, which
    crops of images under 256 px need. A crop with more than `crop_pixels` is downsampled by 2, 4, …
    until it has no more: large crops cost most and carry the least information per pixel.
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


def drop(x: torch.Tensor, rate: float, on: bool, generator: torch.Generator | None):
    """Dropout of channels (N, C, H, W) or features (N, C); `generator` draws the mask if given."""
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
        self.downsample = self._downsampling()
        self.steps: list[str] = []
        last = 3
        for number, channels in enumerate(map(sizes.scaled, tower.channels), start=1):
            conv = nn.Conv2d(last, channels, kernel_size=3, padding=sizes.padding)
            self._add_step(f"conv{number}", nn.Sequential(conv, nn.LeakyReLU(SLOPE)))
            if number in tower.pooled:
                self._add_step(
                    f"pool{tower.pooled.index(number) + 1}", nn.MaxPool2d(2, ceil_mode=True)
                )
            last = channels
        height, width, self.largest = self._map_sizes()
        self.features = last * height * width

    def _downsampling(self) -> int:
        """The factor, 1, 2, 4, …, by which the crop is downsampled."""
        side = self.sizes.resolution
        pixels = self.tower.crop(torch.empty(1, side, side, device="meta")).numel()
        factor = 1
        while self.sizes.crop_pixels and pixels > self.sizes.crop_pixels * factor**2:
            factor *= 2
        return factor

    def _add_step(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)
        self.steps.append(name)

    def _map_sizes(self) -> tuple[int, int, int]:
        """Height and width of the last map, number of values of the largest map.

        Raises a ValueError for a resolution at which a map would be empty.
        """
        resolution, shrink = self.sizes.resolution, 2 - 2 * self.sizes.padding
        crop = self.tower.crop(torch.empty(1, resolution, resolution))
        height, width = (-(-side // self.downsample) for side in crop.shape[-2:])
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
                    f"at {resolution} px the crop of rows {self.tower.rows}, columns "
                    f"{self.tower.columns} is empty at {name}: use padding=1 or a larger resolution"
                )
        return height, width, largest

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        if images.shape[-2:] != (self.sizes.resolution, self.sizes.resolution):
            raise ValueError(
                f"images are {tuple(images.shape)}, this network takes {self.sizes.resolution} px: "
                "resize them first"
            )
        crops = self.tower.crop(images)
        if self.downsample > 1:
            crops = F.avg_pool2d(crops, self.downsample, ceil_mode=True)
        # Channels last halves the time on a CPU; on a GPU it makes no difference.
        crops = crops.contiguous(memory_format=torch.channels_last)
        if crops.device.type != "cpu" or torch.is_grad_enabled():
            return self._run(crops, dropout)
        chunk = max(1, CHUNK_BYTES // (4 * self.largest))
        return torch.cat([self._run(part, dropout) for part in crops.split(chunk)])

    def _run(self, x: torch.Tensor, dropout: torch.Generator | None) -> torch.Tensor:
        for name in self.steps:
            x = self.get_submodule(name)(x)
            if name.startswith("conv"):
                x = drop(x, self.sizes.conv_dropout, self.training, dropout)
        return x.flatten(1)


def apply_head(
    head: nn.Module, features: torch.Tensor, rate: float, dropout: torch.Generator | None
) -> torch.Tensor:
    """(N, features) -> (N, outputs): `head`'s dense layers fc1 and fc_final.

    Never under autocast: they are cheap, and bfloat16 would leave a score only three digits.
    """
    with torch.autocast(features.device.type, enabled=False):
        x = head.fc1(features.to(head.fc1[0].weight.dtype))
        return head.fc_final(drop(x, rate, head.training, dropout))


class ScoreTower(ConvTower):
    """(N, 3, H, W) images -> (N, outputs): a ConvTower, a dense tanh layer, a linear one."""

    def __init__(self, tower: Tower, sizes: TowerSizes, hidden: int, outputs: int = 1):
        super().__init__(tower, sizes)
        hidden = sizes.scaled(hidden)
        self.fc1 = nn.Sequential(nn.Linear(self.features, hidden), nn.Tanh())
        self.fc_final = nn.Linear(hidden, outputs)

    def hidden(self, images: torch.Tensor) -> torch.Tensor:
        """(N, hidden) values of the dense layer."""
        return self.fc1(super().forward(images))

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        features = super().forward(images, dropout)
        return apply_head(self, features, self.sizes.dense_dropout, dropout)
