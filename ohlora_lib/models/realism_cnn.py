"""Real or generated: the log-odds that an image is real, from its pixels.

There are two kinds, so that what one overlooks or exploits need not be what the other does.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.unet_parser import batch_norm

KINDS = ("plain", "residual")
GROUP = 8  # channels that a plain network normalizes together


@dataclass(frozen=True)
class RealismCNNConfig:
    """`widths`: channels at full size, then after each halving of the size.

    plain: strided convolutions, group norm, SiLU. residual: batch norm, ReLU, average pooling, skip
    connections.
    """

    kind: str = "plain"
    widths: tuple[int, ...] = (16, 32, 64, 96)
    resolution: int = 64

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: must be one of {', '.join(KINDS)}")
        if any(width % GROUP for width in self.widths):
            raise ValueError(f"widths {self.widths}: must be multiples of {GROUP}")


class Plain(nn.Sequential):
    """A strided and a plain convolution: (N, inputs, H, W) -> (N, outputs, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int):
        layers = []
        for channels, stride in ((inputs, 2), (outputs, 1)):
            conv = nn.Conv2d(channels, outputs, 3, stride, padding=1, bias=False)
            layers += [conv, nn.GroupNorm(outputs // GROUP, outputs), nn.SiLU()]
        super().__init__(*layers)


class Residual(nn.Module):
    """Pooling and two convolutions beside a skip connection, of the same shapes as `Plain`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            batch_norm(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            batch_norm(outputs),
        )

    def forward(self, x):
        x = self.pool(x)
        return torch.relu(self.skip(x) + self.branch(x))


class RealismCNN(nn.Module):
    """Images (N, 3, R, R) in -1..1 -> log-odds (N,) that they are real, calibrated."""

    def __init__(self, config: RealismCNNConfig | None = None, seed: int = 0):
        super().__init__()
        self.config = config = config or RealismCNNConfig()
        step = Plain if config.kind == "plain" else Residual
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, config.widths[0], 3, padding=1)
            self.steps = nn.ModuleList(step(a, b) for a, b in pairwise(config.widths))
            self.decide = nn.Linear(config.widths[-1], 1)
        # Log-odds = slope · output + offset: fitted on faces that were not trained on.
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))

    def forward(self, images):
        return self.decided(self.maps(images)[-1])

    def maps(self, images) -> list[torch.Tensor]:
        """Feature maps after each halving of the size."""
        x, maps = torch.relu(self.first(images)), []
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return maps

    def decided(self, features) -> torch.Tensor:
        """The last feature maps -> log-odds (N,)."""
        return self.slope * self.decide(features.mean((2, 3)))[:, 0].float() + self.offset

    @torch.no_grad()
    def log_odds(self, images: np.ndarray, batch: int = 128) -> np.ndarray:
        """(N, R, R, 3) uint8 RGB -> (N,) float32."""
        training = self.training
        self.eval()
        parts = [self(self.as_input(images[i : i + batch])) for i in range(0, len(images), batch)]
        self.train(training)
        return torch.cat(parts).cpu().numpy() if parts else np.zeros(0, np.float32)

    def as_input(self, images: np.ndarray) -> torch.Tensor:
        """(N, R, R, 3) uint8 RGB -> (N, 3, R, R) in -1..1."""
        side = self.config.resolution
        if images.shape[1:] != (side, side, 3):
            raise ValueError(
                f"images are {images.shape}: this network takes (N, {side}, {side}, 3)"
            )
        return channels_first(images).to(self.slope.device) / 127.5 - 1
