"""What every score CNN is built of: a crop of the face, 3x3 convolutions, pools, a dense layer."""

from dataclasses import dataclass

import torch
from torch import nn

SLOPE = 0.01  # nn.LeakyReLU's default, which the published CNNs use (StyleGAN uses 0.2)


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
    crops of images under 256 px need.
    """

    resolution: int = 256
    width: float = 1.0
    padding: int = 0
    conv_dropout: float = 0.05
    dense_dropout: float = 0.45

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
        self.steps: list[str] = []
        last = 3
        for number, channels in enumerate(map(sizes.scaled, tower.channels), start=1):
            conv = nn.Conv2d(last, channels, kernel_size=3, padding=sizes.padding)
            self._step(f"conv{number}", nn.Sequential(conv, nn.LeakyReLU(SLOPE)))
            if number in tower.pooled:
                # At the published sizes nothing is left over and ceil_mode changes nothing.
                pool = nn.MaxPool2d(2, 2, ceil_mode=True)
                self._step(f"pool{tower.pooled.index(number) + 1}", pool)
            last = channels
        height, width = self._map_size()
        self.features = last * height * width

    def _step(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)
        self.steps.append(name)

    def _map_size(self) -> tuple[int, int]:
        """Height and width of the last map; refuses a resolution at which one vanishes."""
        resolution, shrink = self.sizes.resolution, 2 - 2 * self.sizes.padding
        size = torch.Size(self.tower.cut(torch.empty(1, resolution, resolution)).shape[-2:])
        for name in self.steps:
            if name.startswith("conv"):
                size = torch.Size(side - shrink for side in size)
            else:
                size = torch.Size(-(-side // 2) for side in size)
            if min(size) < 1:
                raise ValueError(
                    f"at {resolution} px nothing is left of the crop rows {self.tower.rows}, "
                    f"columns {self.tower.columns} at {name}: use padding=1 or a larger resolution"
                )
        return size[0], size[1]

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        if images.shape[-2:] != (self.sizes.resolution, self.sizes.resolution):
            raise ValueError(
                f"this network reads {self.sizes.resolution} px images, these are "
                f"{tuple(images.shape)}: resize them first"
            )
        x = self.tower.cut(images)
        for name in self.steps:
            x = self.get_submodule(name)(x)
            if name.startswith("conv"):
                x = dropped(x, self.sizes.conv_dropout, self.training, dropout)
        return x.flatten(1)


class ScoreTower(ConvTower):
    """(N, 3, H, W) images -> (N, outputs): a ConvTower, a dense tanh layer, a linear one."""

    def __init__(self, tower: Tower, sizes: TowerSizes, hidden: int, outputs: int = 1):
        super().__init__(tower, sizes)
        hidden = sizes.scaled(hidden)
        self.fc1 = nn.Sequential(nn.Linear(self.features, hidden), nn.Tanh())
        self.fc_final = nn.Linear(hidden, outputs)

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        x = self.fc1(super().forward(images, dropout))
        return self.fc_final(dropped(x, self.sizes.dense_dropout, self.training, dropout))
