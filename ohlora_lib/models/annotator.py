"""The annotator: a face's attributes and filter properties from its pixels.

It replaces a human annotator, so its probabilities are calibrated and every attribute has a known
error on held-out faces. Generated and rendered faces are compared in its feature space.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.unet_parser import batch_norm, resize

CLOSE_UP = (slice(3 / 8, 13 / 16), slice(1 / 4, 3 / 4))
"""Rows and columns with eyes, nose and mouth, which are processed at full resolution."""


@dataclass(frozen=True)
class AnnotatorConfig:
    """`attributes` names the regressed values. Each width is a layer with stride 2 (the first layer
    of the close-up has stride 1)."""

    attributes: tuple[str, ...]
    filters: tuple[str, ...] = FILTER_PROPERTIES
    widths: tuple[int, ...] = (16, 48, 96, 128, 128)
    close_widths: tuple[int, ...] = (24, 32, 48, 64)
    features: int = 128
    resolution: int = 128


class AnnotatorOutput(NamedTuple):
    """Network outputs: standardized attributes (N, A), log odds (N, 4), features (N, F)."""

    attributes: torch.Tensor
    log_odds: torch.Tensor
    features: torch.Tensor


class Annotations(NamedTuple):
    """Annotations of N faces: name -> (N,) values, and the features (N, F)."""

    attributes: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    features: np.ndarray


def _conv(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        batch_norm(outputs),
        nn.ReLU(inplace=True),
    )


def close_up(images: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> the crop around eyes, nose and mouth."""
    rows, columns = (
        slice(round(part.start * size), round(part.stop * size))
        for part, size in zip(CLOSE_UP, images.shape[-2:], strict=True)
    )
    return images[..., rows, columns]


class Annotator(nn.Module):
    """Images (N, 3, R, R) in -1..1 -> AnnotatorOutput. No global pooling: positions matter."""

    def __init__(self, config: AnnotatorConfig, seed: int = 0):
        super().__init__()
        self.config = config
        count, widths, close = len(config.attributes), config.widths, config.close_widths
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.steps = nn.ModuleList(
                nn.Sequential(_conv(a, b, 2), _conv(b, b, 1)) for a, b in pairwise((3, *widths))
            )
            self.close_steps = nn.ModuleList(
                _conv(a, b, 2 if i else 1) for i, (a, b) in enumerate(pairwise((3, *close)))
            )
            self.embed = nn.Linear(self._feature_count(), config.features)
            self.regress = nn.Linear(config.features, count)
            self.decide = nn.Linear(config.features, len(config.filters))
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))
        self.register_buffer("error", torch.ones(count))  # RMS on held-out faces
        # Probability = sigmoid(slope * log odds + offset): fitted on held-out faces.
        self.register_buffer("slope", torch.ones(len(config.filters)))
        self.register_buffer("offset", torch.zeros(len(config.filters)))

    def forward(self, images) -> AnnotatorOutput:
        features = torch.tanh(self.embed(self._last_maps(images)))
        return AnnotatorOutput(self.regress(features), self.decide(features), features)

    def _last_maps(self, images) -> torch.Tensor:
        """(N, values) the last maps of the whole image and of the close-up."""
        maps = []
        for x, steps in ((images, self.steps), (close_up(images), self.close_steps)):
            for step in steps:
                x = step(x)
            maps.append(x.flatten(1))
        return torch.cat(maps, 1)

    @torch.no_grad()
    def _feature_count(self) -> int:
        """Number of values in the last maps."""
        size = self.config.resolution
        blank = torch.zeros(1, 3, size, size)
        training = self.training
        count = self.eval()._last_maps(blank).shape[1]
        self.train(training)
        return count

    @torch.no_grad()
    def annotate(self, images: np.ndarray, batch: int = 64) -> Annotations:
        """(N, H, W, 3) uint8 RGB faces of any size -> their annotations."""
        training = self.training
        self.eval()
        parts = [self._outputs(images[i : i + batch]) for i in range(0, len(images), batch)]
        self.train(training)
        values, log_odds, features = (
            torch.cat(part).float().cpu() for part in zip(*parts, strict=True)
        )
        values = values * self.std.float().cpu() + self.mean.float().cpu()
        probabilities = torch.sigmoid(log_odds * self.slope.cpu() + self.offset.cpu())
        return Annotations(
            dict(zip(self.config.attributes, values.T.numpy(), strict=True)),
            dict(zip(self.config.filters, probabilities.T.numpy(), strict=True)),
            features.numpy(),
        )

    def _outputs(self, images: np.ndarray) -> AnnotatorOutput:
        weight = self.regress.weight
        x = resize(channels_first(images).to(weight.device) / 127.5 - 1, self.config.resolution)
        return self(x.to(weight.dtype, memory_format=torch.channels_last))
