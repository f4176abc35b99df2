"""Variation for the parser: what generated faces have and rendered ones do not."""

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.faces.classes import MIRRORED


def vary(images: torch.Tensor, maps: torch.Tensor, rng: np.random.Generator):
    """Images (N, 3, H, W) in -1..1 and maps (N, H, W): both moved alike, images repainted."""
    images, maps = flip(images, maps, rng)
    images, maps = move(images, maps, rng)
    return soil(recolor(images, rng), rng), maps


def flip(images, maps, rng):
    """Mirrors half of them."""
    chosen = _draw(images, rng.random(len(images)) < 0.5).bool()
    mirrored = MIRRORED.to(maps.device)[maps.long()].to(maps.dtype).flip(2)
    images = torch.where(chosen[:, None, None, None], images.flip(3), images)
    return images, torch.where(chosen[:, None, None], mirrored, maps)


def move(images, maps, rng):
    """Turns by a few degrees, shifts, and zooms: in for closer crops, out a little."""
    n = len(images)
    angle, zoom = rng.normal(0, 0.06, n), np.exp(rng.uniform(-0.35, 0.1, n))
    cos, sin, shift = np.cos(angle) * zoom, np.sin(angle) * zoom, rng.normal(0, 0.05, (2, n))
    theta = np.stack([[cos, -sin, shift[0]], [sin, cos, shift[1]]]).transpose(2, 0, 1)
    grid = F.affine_grid(_draw(images, theta), images.shape, align_corners=False)
    options = {"padding_mode": "reflection", "align_corners": False}
    moved = F.grid_sample(maps[:, None].to(images.dtype), grid, mode="nearest", **options)
    return F.grid_sample(images, grid, **options), moved[:, 0].to(maps.dtype)


def recolor(images, rng):
    """Other contrast, lightness and white."""
    n = len(images)
    gain = np.exp(rng.normal(0, 0.15, (n, 1, 1, 1)) + rng.normal(0, 0.04, (n, 3, 1, 1)))
    lighter = rng.normal(0, 0.1, (n, 1, 1, 1))
    return (images * _draw(images, gain) + _draw(images, lighter)).clamp(-1, 1)


def soil(images, rng, blurred: float = 0.3, noise: float = 0.06):
    """Blurs some, and adds noise of a strength of its own to each."""
    n = len(images)
    small = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="bilinear")
    chosen = _draw(images, rng.random((n, 1, 1, 1)) < blurred).bool()
    strength = _draw(images, noise * rng.random((n, 1, 1, 1)) ** 2)
    grain = _draw(images, rng.standard_normal(images.shape, dtype=np.float32))
    return torch.where(chosen, small, images) + strength * grain


def _draw(like: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).to(like.device)
