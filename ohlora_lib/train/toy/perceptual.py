"""A perceptual loss: how different two faces are in the feature maps of trained networks.

Pixels hardly distinguish an image with defects from one without, or curls from waves; feature maps
do. The annotator's respond to attributes, those of the quality network to defects.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from ohlora_lib.models.annotator import Annotator
from ohlora_lib.models.filter_cnn import FilterCNN


class PerceptualLoss(NamedTuple):
    """The networks that are compared in, if any; they are not trained."""

    annotator: Annotator | None = None
    quality: FilterCNN | None = None

    def __call__(self, drawn, images, plan) -> torch.Tensor:
        """Distances between images (N, 3, r, r) in -1..1, weighted by the plan."""
        total = drawn.new_zeros(())
        for network, maps, weight in (
            (self.annotator, Annotator.maps, plan.perceptual),
            (self.quality, quality_maps, plan.perceptual_quality),
        ):
            if network is not None and weight:
                total = total + weight * distance(network, maps, drawn, images)
        return total


def distance(network, maps, drawn, images) -> torch.Tensor:
    """Sum over feature maps of their mean L1 distance, relative to the target's mean."""
    size = network.config.resolution
    if drawn.shape[-1] != size:
        drawn, images = (F.interpolate(x, size, mode="bilinear") for x in (drawn, images))
    with torch.no_grad():
        true = maps(network, images)
    pairs = zip(maps(network, drawn), true, strict=True)
    return sum((a - b).abs().mean() / (b.abs().mean() + 1e-3) for a, b in pairs)


def quality_maps(network: FilterCNN, images: torch.Tensor) -> list[torch.Tensor]:
    """A filter CNN's feature map after every convolution; it expects pixels in 0..1."""
    x, maps = network.tower.crop((images + 1) / 2), []
    for name in network.steps:
        x = network.get_submodule(name)(x)
        if name.startswith("conv"):
            maps.append(x)
    return maps
