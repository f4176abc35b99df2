"""The regressors of GAI-P3: a face's five condition values from its pixels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ohlora_lib.models.conv_tower import ScoreTower, Tower, TowerSizes
from ohlora_lib.models.nvae import CONDITIONS
from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.property_cnn import DEEP, EYES, MOUTH
from ohlora_lib.models.unet_parser import resize

WHOLE = Tower((0, 1), (0, 1), **DEEP)
TOWERS = {"eyes": EYES, "mouth": MOUTH, "hair_color": WHOLE, "background": WHOLE, "head": WHOLE}
"""The author's crops: 56 x 24 px around the eyes, 32 x 16 around the mouth, of 128 x 128."""
BATCH = 128


@dataclass(frozen=True)
class ConditionCNNConfig(TowerSizes):
    """Sizes for 64 px faces."""

    resolution: int = 64
    width: float = 0.5
    padding: int = 1
    conv_dropout: float = 0.0
    dense_dropout: float = 0.2
    crop_pixels: int | None = 2048


class ConditionCNN(nn.Module):
    """(N, 3, R, R) images in -1..1 -> (N, 5) values, columns CONDITIONS; about 0..1, not clipped.

    Images of another size are resized. `sharpness` (5,): how clearly a value tells the label that
    a person gives (see `expected_labels`); 0 where the values are labels themselves.
    `scale` and `offset` (5,) calibrate the values.
    """

    def __init__(self, config: ConditionCNNConfig | None = None):
        super().__init__()
        self.config = config = config or ConditionCNNConfig()
        self.towers = nn.ModuleDict(
            {name: ScoreTower(TOWERS[name], config, hidden=128) for name in CONDITIONS}
        )
        self.register_buffer("sharpness", torch.zeros(len(CONDITIONS)))
        self.register_buffer("scale", torch.ones(len(CONDITIONS)))
        self.register_buffer("offset", torch.zeros(len(CONDITIONS)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = resize(images, self.config.resolution)
        values = torch.cat([tower(images) for tower in self.towers.values()], dim=1)
        return self.scale * values + self.offset

    @torch.no_grad()
    def measure(self, images: np.ndarray, clip: bool = True) -> np.ndarray:
        """(N, S, S, 3) uint8 RGB -> (N, 5) values within 0..1 (if `clip`), in eval mode."""
        training, device = self.training, self.sharpness.device
        self.eval()
        parts = [
            self(channels_first(np.asarray(images[at : at + BATCH])).to(device) / 127.5 - 1)
            for at in range(0, len(images), BATCH)
        ]
        self.train(training)
        values = torch.cat(parts).float().cpu().numpy()
        return values.clip(0, 1) if clip else values
