"""Pictures as people store them (uint8, height first) to tensors as networks read them."""

import numpy as np
import torch
import torch.nn.functional as F


def channels_first(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB -> (N, 3, H, W) float32, still 0..255; in memory channels last."""
    return _tensor(images).float()


def resize_bicubic(images: np.ndarray, side: int) -> np.ndarray:
    """(N, H, W, 3) uint8 -> (N, side, side, 3) uint8, by the filter that Pillow's BICUBIC has.

    Ten times as fast as Pillow, whose weights have more digits: of a hundred values one differs, by
    a level or two.
    """
    size = (side, side)
    resized = F.interpolate(_tensor(images), size, mode="bicubic", antialias=True)
    return resized.permute(0, 2, 3, 1).numpy()


def _tensor(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB -> (N, 3, H, W) uint8, the same memory."""
    if isinstance(images, np.ndarray):
        # torch shares the array's memory and warns where it may not write to it.
        images = torch.from_numpy(images if images.flags.writeable else images.copy())
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"images must be (N, H, W, 3) uint8 RGB, these are {tuple(images.shape)} {images.dtype}"
        )
    return images.permute(0, 3, 1, 2)


def resize_linear(images: np.ndarray, side: int) -> np.ndarray:
    """(N, H, W, 3) uint8 -> (N, side, side, 3) uint8, bit for bit as OpenCV's INTER_LINEAR.

    The first version's property scores read the whole image shrunk this way.
    """
    top, bottom, rows = _linear_taps(images.shape[1], side)
    left, right, columns = _linear_taps(images.shape[2], side)
    wide = images.astype(np.int64)
    wide = wide[:, :, left] * columns[0][:, None] + wide[:, :, right] * columns[1][:, None]
    # OpenCV's fixed point: 11 bits a direction, of which it drops 4, then 16, then 2.
    upper = rows[0][:, None, None] * (wide[:, top] >> 4) >> 16
    lower = rows[1][:, None, None] * (wide[:, bottom] >> 4) >> 16
    return (upper + lower + 2 >> 2).astype(np.uint8)


def _linear_taps(size: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `side` outputs: its two neighbors among `size` inputs, their weights * 2048."""
    place = (np.arange(side) + 0.5) * (size / side) - 0.5
    first = np.floor(place).astype(np.int64)
    weight = (place - first).astype(np.float32)
    weights = np.rint(np.stack([1 - weight, weight]) * 2048).astype(np.int64)
    return first.clip(0, size - 1), (first + 1).clip(0, size - 1), weights
