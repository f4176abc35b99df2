"""Augmentation for the parser: rendered faces vary as generated ones do."""

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.faces.classes import MIRRORED


def augment(images: torch.Tensor, maps: torch.Tensor, rng: np.random.Generator):
    """Images (N, 3, H, W) in -1..1 and class maps (N, H, W): same geometry, new image colors."""
    images, maps = mirror(images, maps, rng)
    images, maps = warp(images, maps, rng)
    return degrade(recolor(images, rng), rng), maps


def mirror(images, maps, rng):
    """Mirror half of them, with left and right classes swapped."""
    chosen = _like(images, rng.random(len(images)) < 0.5).bool()
    mirrored = torch.tensor(MIRRORED, device=maps.device)[maps.long()].to(maps.dtype).flip(2)
    images = torch.where(chosen[:, None, None, None], images.flip(3), images)
    return images, torch.where(chosen[:, None, None], mirrored, maps)


def warp(images, maps, rng):
    """Rotate by a few degrees, shift, and zoom."""
    n = len(images)
    angle, zoom = rng.normal(0, 0.06, n), np.exp(rng.uniform(-0.35, 0.1, n))
    cos, sin, shift = np.cos(angle) * zoom, np.sin(angle) * zoom, rng.normal(0, 0.05, (2, n))
    theta = np.stack([[cos, -sin, shift[0]], [sin, cos, shift[1]]]).transpose(2, 0, 1)
    grid = F.affine_grid(_like(images, theta), images.shape, align_corners=False)
    options = {"padding_mode": "reflection", "align_corners": False}
    warped = F.grid_sample(maps[:, None].to(images.dtype), grid, mode="nearest", **options)
    return F.grid_sample(images, grid, **options), warped[:, 0].to(maps.dtype)


def recolor(images, rng):
    """Change contrast, lightness and white balance."""
    n = len(images)
    gain = np.exp(rng.normal(0, 0.15, (n, 1, 1, 1)) + rng.normal(0, 0.04, (n, 3, 1, 1)))
    lighter = rng.normal(0, 0.1, (n, 1, 1, 1))
    return (images * _like(images, gain) + _like(images, lighter)).clamp(-1, 1)


def degrade(images, rng, blurred: float = 0.3, noise: float = 0.06):
    """Blur some images, and add noise of random strength to each."""
    n = len(images)
    small = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="bilinear")
    chosen = _like(images, rng.random((n, 1, 1, 1)) < blurred).bool()
    strength = _like(images, noise * rng.random((n, 1, 1, 1)) ** 2)
    grain = _like(images, rng.standard_normal(images.shape, dtype=np.float32))
    return torch.where(chosen, small, images) + strength * grain


def _like(like: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).to(like.device)
