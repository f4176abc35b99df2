"""How different two faces look to networks that were trained to see faces: a loss.

Pixels hardly tell a spoilt picture from a clean one, nor curls from waves; feature maps do. The
annotator's see attributes; those of the quality filter's start see warps, smears and patches.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from ohlora_lib.models.annotator import Annotator
from ohlora_lib.models.filter_cnn import FilterCNN


class Judges(NamedTuple):
    """Who looks, if anyone; neither is trained."""

    annotator: Annotator | None = None
    quality: FilterCNN | None = None

    def loss(self, drawn, images, plan) -> torch.Tensor:
        """The plan's share of each one's distance between images (N, 3, r, r) in -1..1."""
        total = drawn.new_zeros(())
        for network, maps, weight in (
            (self.annotator, Annotator.maps, plan.perceptual),
            (self.quality, quality_maps, plan.perceptual_quality),
        ):
            if network is not None and weight:
                total = total + weight * distance(network, maps, drawn, images)
        return total


def distance(network, maps, drawn, images) -> torch.Tensor:
    """Mean L1 between the feature maps of both, each relative to the true ones, added up."""
    size = network.config.resolution
    if drawn.shape[-1] != size:
        drawn, images = (F.interpolate(x, size, mode="bilinear") for x in (drawn, images))
    with torch.no_grad():
        true = maps(network, images)
    pairs = zip(maps(network, drawn), true, strict=True)
    return sum((a - b).abs().mean() / (b.abs().mean() + 1e-3) for a, b in pairs)


def quality_maps(network: FilterCNN, images: torch.Tensor) -> list[torch.Tensor]:
    """A filter CNN's map after every convolution; it reads pixels as 0..1."""
    x, maps = network.tower.crop((images + 1) / 2), []
    for name in network.steps:
        x = network.get_submodule(name)(x)
        if name.startswith("conv"):
            maps.append(x)
    return maps
