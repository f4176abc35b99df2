"""The annotator: a face's attributes and filter properties from its pixels.

It stands in for the person who labels, so it says how sure it is: probabilities are calibrated, and
every attribute comes with the error it had on faces that it was not trained on. Its features span
the space in which generated and rendered faces are compared.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.unet_parser import batch_norm, resize

FILTERS = ("gender", "quality", "age", "glass")


@dataclass(frozen=True)
class AnnotatorConfig:
    """`attributes` names the regressed values; each of `widths` works at half the size before."""

    attributes: tuple[str, ...]
    filters: tuple[str, ...] = FILTERS
    widths: tuple[int, ...] = (16, 48, 96, 128, 128)
    features: int = 128
    resolution: int = 128


class Raw(NamedTuple):
    """What it computes: standardised attributes (N, A), log odds (N, 4), features (N, F)."""

    attributes: torch.Tensor
    log_odds: torch.Tensor
    features: torch.Tensor


class Annotations(NamedTuple):
    """What it says of N faces: name -> (N,) values, and the features (N, F)."""

    attributes: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    features: np.ndarray


def _conv(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        batch_norm(outputs),
        nn.ReLU(inplace=True),
    )


class Annotator(nn.Module):
    """Images (N, 3, R, R) in -1..1 -> Raw. Where things are matters, so nothing is pooled away."""

    def __init__(self, config: AnnotatorConfig, seed: int = 0):
        super().__init__()
        self.config = config
        count, widths = len(config.attributes), config.widths
        cells = (config.resolution // 2 ** len(widths)) ** 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.steps = nn.ModuleList(
                nn.Sequential(_conv(a, b, 2), _conv(b, b, 1)) for a, b in pairwise((3, *widths))
            )
            self.embed = nn.Linear(cells * widths[-1], config.features)
            self.regress = nn.Linear(config.features, count)
            self.decide = nn.Linear(config.features, len(config.filters))
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))
        self.register_buffer("error", torch.ones(count))  # RMS, in the attribute's own unit
        self.register_buffer("temperature", torch.ones(len(config.filters)))

    def forward(self, images) -> Raw:
        x = self.maps(images)[-1]
        features = torch.tanh(self.embed(x.flatten(1)))
        return Raw(self.regress(features), self.decide(features), features)

    def maps(self, images) -> list[torch.Tensor]:
        """Feature maps after every step, from half the size down, for a perceptual loss."""
        x, maps = images, []
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return maps

    @torch.no_grad()
    def annotate(self, images: np.ndarray, batch: int = 64) -> Annotations:
        """(N, H, W, 3) uint8 RGB faces of any size -> what it says of each."""
        training = self.training
        self.eval()
        parts = [self._raw(images[i : i + batch]) for i in range(0, len(images), batch)]
        self.train(training)
        values, log_odds, features = (
            torch.cat(part).float().cpu() for part in zip(*parts, strict=True)
        )
        values = values * self.std.float().cpu() + self.mean.float().cpu()
        probabilities = torch.sigmoid(log_odds / self.temperature.float().cpu())
        return Annotations(
            dict(zip(self.config.attributes, values.T.numpy(), strict=True)),
            dict(zip(self.config.filters, probabilities.T.numpy(), strict=True)),
            features.numpy(),
        )

    def _raw(self, images: np.ndarray) -> Raw:
        weight = self.regress.weight
        x = resize(channels_first(images).to(weight.device) / 127.5 - 1, self.config.resolution)
        return self(x.to(weight.dtype, memory_format=torch.channels_last))
