"""A perceptual loss: how strong edges and strands of each direction are, place by place.

Pixel errors punish a strand that lies beside the true one as much as none at all, and so blur hair.
This compares the energy of a fixed bank of oriented filters, averaged over small squares: strands
anywhere in a square count alike. No network is involved, so no meter is trained on.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F

from ohlora_lib.models.stylegan import chunk_size

DIRECTIONS = 8
WAVELENGTH = 3.5  # pixels, of the image at full, half and quarter size
SIZE = 7  # of a filter
LUMA = (0.299, 0.587, 0.114)
FLOOR = 0.02  # energy below which filters differ by noise only


def texture_distance(drawn: torch.Tensor, images: torch.Tensor, square: int = 8) -> torch.Tensor:
    """Mean difference of energies of images (N, 3, r, r) in -1..1, summed over up to three sizes.

    `square`: side in pixels of what energies are averaged over, at every size.
    """
    total = drawn.new_zeros(())
    made, true = gray(drawn), gray(images)
    for _ in range(3):
        if made.shape[-1] < square:
            break
        with torch.no_grad():
            wanted = energies(true, square)
        total = total + (energies(made, square) - wanted).abs().mean()
        made, true = F.avg_pool2d(made, 2), F.avg_pool2d(true, 2)
    return total


def gray(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, r, r) -> (N, 1, r, r)."""
    return F.conv2d(images, images.new_tensor(LUMA)[None, :, None, None])


def energies(images: torch.Tensor, square: int) -> torch.Tensor:
    """(N, 1, r, r) -> (N, filters, r / square, r / square): mean amplitude per filter and square.

    An amplitude joins an even and an odd filter, so that it does not depend on the strands' phase.
    """
    parts = []
    for part in images.split(chunk_size(images, 2 * DIRECTIONS * images.shape[-1] ** 2)):
        even, odd = F.conv2d(part, bank().to(part), padding=SIZE // 2).chunk(2, dim=1)
        parts.append(F.avg_pool2d((even.square() + odd.square() + FLOOR**2).sqrt(), square))
    return torch.cat(parts)


@cache
def bank() -> torch.Tensor:
    """Gabor filters (2 F, 1, SIZE, SIZE), the even ones first; each has no mean, and norm 1."""
    half = SIZE // 2
    y, x = torch.meshgrid(*(torch.arange(-half, half + 1.0),) * 2, indexing="ij")
    window = torch.exp(-(x**2 + y**2) / (2 * (0.45 * WAVELENGTH) ** 2))
    waves = []
    for phase in (0.0, math.pi / 2):
        for k in range(DIRECTIONS):
            angle = math.pi * k / DIRECTIONS
            along = (x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / WAVELENGTH)
            wave = window * torch.cos(along - phase)
            wave = wave - window * (wave.sum() / window.sum())
            waves.append(wave / wave.norm())
    return torch.stack(waves)[:, None]
