"""The filter CNNs: the probability that a face is female, of good quality, old, wears glasses."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ohlora_lib.models.conv_tower import SLOPE, ScoreTower, Tower, TowerSizes
from ohlora_lib.models.pixels import channels_first

FIVE = {"channels": (32, 64, 128, 128, 256), "pooled": (2, 3, 4)}
SIX = (32, 64, 128, 128, 256, 256)

FILTERS = {
    "gender": Tower((0, 1), (0, 1), SIX, pooled=(2, 3, 4, 5, 6)),
    "quality": Tower(rows=(0, 1 / 4), columns=(1 / 4, 3 / 4), **FIVE),
    "age": Tower((0, 1 / 2), (0, 1), SIX, pooled=(2, 3, 4, 5)),
    "glass": Tower(rows=(5 / 16, 1 / 2), columns=(1 / 4, 3 / 4), **FIVE),
}
"""Each filter's crop: gender the whole face, quality the crown of the head, age the upper half,
glass a band around the eyes."""


@dataclass(frozen=True)
class FilterCNNConfig(TowerSizes):
    """The published sizes; `filter` is one of FILTERS.

    `tower_of` names another filter whose crop and layers are used instead.
    """

    filter: str = "gender"
    tower_of: str | None = None

    def __post_init__(self):
        for name in (self.filter, self.tower_of):
            if name not in (*FILTERS, None):
                raise ValueError(f"unknown filter CNN '{name}': choose from {', '.join(FILTERS)}")

    @property
    def tower(self) -> Tower:
        """Crop and layers."""
        return FILTERS[self.tower_of or self.filter]


class FilterCNN(ScoreTower):
    """(N, 3, resolution, resolution) images in 0..1 -> (N, 1) probability."""

    def __init__(self, config: FilterCNNConfig | None = None):
        config = config or FilterCNNConfig()
        super().__init__(config.tower, config, hidden=512)
        self.config = config
        self.fc_final = nn.Sequential(self.fc_final)  # the published key is fc_final.0

    def logits(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        """(N, 1) log odds, for a numerically stable loss."""
        return super().forward(images, dropout)

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        return torch.sigmoid(self.logits(images, dropout))


def filter_input(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB -> (N, 3, H, W) float32 in 0..1 (not -1..1 as the property CNN)."""
    return channels_first(images) / 255


PIXELS_MEAN, PIXELS_STD = 0.45, 0.25  # of portraits, roughly


@torch.no_grad()
def new_filter_cnn(config: FilterCNNConfig, seed: int) -> FilterCNN:
    """A randomly initialized network that preserves the signal's variance: with torch's default it
    fades over six layers, and small networks learn nothing for many epochs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FilterCNN(config)
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
            convolution.bias.zero_()
    # Pixels are 0..1, not of mean 0 and standard deviation 1.
    first = convolutions[0]
    first.weight /= PIXELS_STD
    first.bias -= PIXELS_MEAN * first.weight.sum((1, 2, 3))
    return network
