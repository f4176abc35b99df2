"""The merged property CNN: eight property scores of a face from its pixels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.models.conv_tower import ConvTower, ScoreTower, Tower, TowerSizes, apply_head
from ohlora_lib.models.pixels import channels_first

SHALLOW = {"channels": (32, 64, 64, 128), "pooled": (2, 3, 4)}
DEEP = {"channels": (32, 64, 64, 128, 128, 128), "pooled": (2, 3, 4, 5)}
HAIRSTYLE = {"rows": (1 / 2, 1), "channels": (32, 64, 64, 96, 128, 128), "pooled": (2, 3, 4)}

EYES = Tower(rows=(3 / 8, 9 / 16), columns=(1 / 4, 3 / 4), **SHALLOW)
MOUTH = Tower(rows=(5 / 8, 13 / 16), columns=(3 / 8, 5 / 8), **SHALLOW)
POSE = Tower((7 / 16, 5 / 8), (11 / 32, 21 / 32), (32, 64, 64, 128, 128), pooled=(2, 3))
HAIR_COLOR = Tower((0, 1), (0, 1), DEEP["channels"], pooled=(2, 3, 4, 5, 6))
HAIR_LENGTH = Tower(rows=(1 / 2, 1), columns=(0, 1), **DEEP)
BACKGROUND = Tower(rows=(0, 1 / 2), columns=(0, 1), **DEEP)
HAIRSTYLE_LEFT = Tower(columns=(0, 3 / 8), **HAIRSTYLE)
HAIRSTYLE_RIGHT = Tower(columns=(5 / 8, 1), **HAIRSTYLE)


@dataclass(frozen=True)
class PropertyCNNConfig(TowerSizes):
    """The published sizes; `hairstyle` False is the 7-output CNN of v1 and v2."""

    hairstyle: bool = True
    hairstyle_dropout: float = 0.25

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of the output columns."""
        return PROPERTIES if self.hairstyle else PROPERTIES[:-1]


class HairstyleCNN(nn.Module):
    """(N, 3, R, R) images -> (N, 1): hair crops left and right of the neck, one head."""

    def __init__(self, config: PropertyCNNConfig):
        super().__init__()
        self.rate, hidden = config.hairstyle_dropout, config.scaled(512)
        self.bottom_left_cnn = ConvTower(HAIRSTYLE_LEFT, config)
        self.bottom_right_cnn = ConvTower(HAIRSTYLE_RIGHT, config)
        features = self.bottom_left_cnn.features + self.bottom_right_cnn.features
        self.fc1 = nn.Sequential(nn.Linear(features, hidden), nn.Tanh())
        self.fc_final = nn.Linear(hidden, 1)

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        left, right = self.bottom_left_cnn(images, dropout), self.bottom_right_cnn(images, dropout)
        return apply_head(self, torch.cat([left, right], dim=1), self.rate, dropout)


class PropertyCNN(nn.Module):
    """(N, 3, R, R) images in -1..1 -> (N, 8) normalized scores, columns `PROPERTIES`.

    The original measured in training mode: pass `dropout`, a generator, to reproduce its dropout
    noise. Without one there is none in eval mode.
    """

    def __init__(self, config: PropertyCNNConfig | None = None):
        super().__init__()
        self.config = config = config or PropertyCNNConfig()
        self.eyes_score_cnn = ScoreTower(EYES, config, hidden=256)
        self.mouth_score_cnn = ScoreTower(MOUTH, config, hidden=256)
        self.pose_score_cnn = ScoreTower(POSE, config, hidden=256)
        self.hair_color_score_cnn = ScoreTower(HAIR_COLOR, config, hidden=256)
        self.hair_length_score_cnn = ScoreTower(HAIR_LENGTH, config, hidden=256)
        self.background_score_cnn = ScoreTower(BACKGROUND, config, hidden=256, outputs=2)
        if config.hairstyle:
            self.hairstyle_score_cnn = HairstyleCNN(config)

    def forward(self, images: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        branches = [
            self.eyes_score_cnn,
            self.hair_color_score_cnn,
            self.hair_length_score_cnn,
            self.mouth_score_cnn,
            self.pose_score_cnn,
            self.background_score_cnn,
        ]
        if self.config.hairstyle:
            branches.append(self.hairstyle_score_cnn)
        return torch.cat([branch(images, dropout) for branch in branches], dim=1)


def property_input(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB -> (N, 3, H, W) float32 in -1..1."""
    return channels_first(images).div_(255).sub_(0.5).div_(0.5)
