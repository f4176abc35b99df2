"""MTCNN: face detection in many images by a cascade of three small networks."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.pixels import channels_first

CELL, STRIDE = 12, 2  # P-net classifies 12 px windows, every 2 px
P_NMS, NMS = 0.5, 0.7  # overlap thresholds: within a scale of P-net, everywhere else


@dataclass(frozen=True)
class MTCNNConfig:
    """facenet-pytorch's defaults; `batch` is the number of crops per pass of R-net and O-net."""

    min_face_size: int = 20
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    factor: float = 0.709
    batch: int = 128


class Detection(NamedTuple):
    """The K faces of one image, largest first; K is 0 where there is none."""

    boxes: np.ndarray  # (K, 4) float32: x1, y1, x2, y2 in pixels
    probabilities: np.ndarray  # (K,) float32
    points: np.ndarray  # (K, 5, 2) float32: eyes, nose, corners of the mouth as x, y


def max_pool(x: torch.Tensor, size: int) -> torch.Tensor:
    return F.max_pool2d(x, size, stride=2, ceil_mode=True)


class PNet(nn.Module):
    """(N, 3, H, W) -> (N, 4, h, w) box corrections, (N, 2, h, w) probabilities (1 is face)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, kernel_size=3)
        self.prelu1 = nn.PReLU(10)
        self.conv2 = nn.Conv2d(10, 16, kernel_size=3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, kernel_size=3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, kernel_size=1)
        self.conv4_2 = nn.Conv2d(32, 4, kernel_size=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = max_pool(self.prelu1(self.conv1(x)), 2)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_2(x), self.conv4_1(x).softmax(dim=1)


class RNet(nn.Module):
    """(N, 3, 24, 24) -> (N, 4) box corrections, (N, 2) probabilities."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, kernel_size=3)
        self.prelu1 = nn.PReLU(28)
        self.conv2 = nn.Conv2d(28, 48, kernel_size=3)
        self.prelu2 = nn.PReLU(48)
        self.conv3 = nn.Conv2d(48, 64, kernel_size=2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = max_pool(self.prelu1(self.conv1(x)), 3)
        x = max_pool(self.prelu2(self.conv2(x)), 3)
        x = self.prelu3(self.conv3(x)).permute(0, 3, 2, 1).flatten(1)  # columns before rows
        x = self.prelu4(self.dense4(x))
        return self.dense5_2(x), self.dense5_1(x).softmax(dim=1)


class ONet(nn.Module):
    """(N, 3, 48, 48) -> (N, 4) box corrections, (N, 10) points (5 x, 5 y), (N, 2) probabilities."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3)
        self.prelu1 = nn.PReLU(32)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.prelu2 = nn.PReLU(64)
        self.conv3 = nn.Conv2d(64, 64, kernel_size=3)
        self.prelu3 = nn.PReLU(64)
        self.conv4 = nn.Conv2d(64, 128, kernel_size=2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = max_pool(self.prelu1(self.conv1(x)), 3)
        x = max_pool(self.prelu2(self.conv2(x)), 3)
        x = max_pool(self.prelu3(self.conv3(x)), 2)
        x = self.prelu4(self.conv4(x)).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu5(self.dense5(x))
        return self.dense6_2(x), self.dense6_3(x), self.dense6_1(x).softmax(dim=1)


class MTCNN(nn.Module):
    """The three networks and the steps between them; `forward` detects faces."""

    def __init__(self, config: MTCNNConfig | None = None):
        super().__init__()
        self.config = config or MTCNNConfig()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()

    @torch.inference_mode()
    def forward(self, images: np.ndarray | torch.Tensor) -> list[Detection]:
        """(N, H, W, 3) uint8 RGB -> N Detections, the same as image by image."""
        pixels = channels_first(images).to(self.pnet.conv1.weight.device)
        # Coordinates are truncated to whole pixels on the way: bfloat16 would find other faces.
        with torch.autocast(pixels.device.type, enabled=False):
            return self._detect(pixels)

    def _detect(self, pixels: torch.Tensor) -> list[Detection]:
        _, accept_r, accept_o = self.config.thresholds
        sums = pixel_sums(pixels)

        image, boxes = self._propose(pixels)
        image, boxes, crops = cut_out(sums, image, square(boxes), 24)
        shifts, scores = (x.cpu().numpy() for x in self._in_batches(self.rnet, crops))
        keep = np.flatnonzero(scores[:, 1] > accept_r)
        keep = keep[suppress(boxes[keep], scores[keep, 1], image[keep], NMS)]
        boxes = shifted(boxes[keep], shifts[keep], extra=1)

        image, boxes, crops = cut_out(sums, image[keep], square(boxes), 48)
        shifts, points, scores = (x.cpu().numpy() for x in self._in_batches(self.onet, crops))
        keep = np.flatnonzero(scores[:, 1] > accept_o)
        image, boxes, scores = image[keep], boxes[keep], scores[keep, 1]
        points = placed_points(boxes, points[keep])
        boxes = shifted(boxes, shifts[keep], extra=1)
        keep = suppress(boxes, scores, image, NMS, extra=1, of_smaller=True)
        found = (image[keep], boxes[keep], scores[keep], points[keep])
        return [_largest_first(number, *found) for number in range(len(pixels))]

    def _propose(self, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3, H, W) -> (K,) image numbers, (K, 4) boxes: P-net at every scale of the pyramid."""
        height, width = pixels.shape[-2:]
        empty = np.zeros(0, np.int64), np.zeros((0, 9), np.float32)
        found = [empty]
        for scale in pyramid(height, width, self.config):
            size = (int(height * scale + 1), int(width * scale + 1))
            smaller = (F.interpolate(pixels, size=size, mode="area") - 127.5) * 0.0078125
            shifts, scores = (x.cpu().numpy() for x in self.pnet(smaller))
            found.append(candidates(shifts, scores[:, 1], scale, self.config.thresholds[0]))
        image, rows = (np.concatenate(column) for column in zip(*found, strict=True))
        keep = suppress(rows[:, :4], rows[:, 4], image, NMS)
        return image[keep], shifted(rows[keep, :4], rows[keep, 5:], extra=0)

    def _in_batches(self, network: nn.Module, crops: torch.Tensor) -> list[torch.Tensor]:
        parts = [network((part - 127.5) * 0.0078125) for part in crops.split(self.config.batch)]
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]


def pyramid(height: int, width: int, config: MTCNNConfig) -> list[float]:
    """The scales for P-net: at the first its window fits the smallest face, then ever smaller."""
    scales, scale = [], CELL / config.min_face_size
    side = min(height, width) * scale
    while side >= CELL:
        scales.append(scale)
        scale, side = scale * config.factor, side * config.factor
    return scales


def candidates(
    shifts: np.ndarray, scores: np.ndarray, scale: float, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """P-net's maps at one scale -> (K,) image numbers, (K, 9) box, score, correction."""
    image, row, column = np.nonzero(scores >= threshold)
    score = scores[image, row, column]
    corner = (STRIDE * np.stack([column, row], axis=1)).astype(np.float32)
    # In float32, as the original divides: float64 gives another pixel in one of six cases.
    scale = np.float32(scale)
    boxes = np.hstack([np.floor((corner + 1) / scale), np.floor((corner + CELL) / scale)])
    keep = suppress(boxes, score, image, P_NMS)
    rows = np.hstack([boxes, score[:, None], shifts[image, :, row, column]])
    return image[keep], rows[keep]


def suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    image: np.ndarray,
    threshold: float,
    extra: int = 0,
    of_smaller: bool = False,
) -> np.ndarray:
    """Greedy non-maximum suppression, in all images at once -> the kept indices, best first.

    `of_smaller` divides the overlap by the smaller box instead of the union; `extra` 1 counts a
    box's pixels inclusively.
    """
    order, kept = np.lexsort((-scores, image)), []
    while len(order):  # each round keeps the best remaining box of each image
        first = np.append(True, image[order][1:] != image[order][:-1])
        best = order[first]
        rival = best[np.cumsum(first) - 1]
        kept.append(best)
        shared = overlap(boxes[order], boxes[rival], extra, of_smaller)
        order = order[~first & (shared <= threshold)]
    kept = np.sort(np.concatenate([*kept, order]))
    return kept[np.argsort(-scores[kept], kind="stable")]


def overlap(a: np.ndarray, b: np.ndarray, extra: int, of_smaller: bool) -> np.ndarray:
    """Two (K, 4) lists of boxes -> (K,) the shared area over the union's (or the smaller's)."""
    corner, end = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.maximum(end - corner + extra, 0).prod(axis=1)
    area_a, area_b = ((box[:, 2:] - box[:, :2] + extra).prod(axis=1) for box in (a, b))
    whole = np.minimum(area_a, area_b) if of_smaller else area_a + area_b - shared
    return shared / whole


def shifted(boxes: np.ndarray, shifts: np.ndarray, extra: int) -> np.ndarray:
    """(K, 4) boxes moved by (K, 4) corrections in units of their own width and height."""
    size = boxes[:, 2:] - boxes[:, :2] + extra
    return boxes + shifts * np.hstack([size, size])


def square(boxes: np.ndarray) -> np.ndarray:
    """(K, 4) boxes -> squares of their longer side around the same centers."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.hstack([corner, corner + side])


def placed_points(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(K, 4) boxes, (K, 10) points in units of them -> (K, 5, 2) pixels."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return points.reshape(-1, 2, 5).transpose(0, 2, 1) * size[:, None] + boxes[:, None, :2] - 1


def pixel_sums(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) 0..255 -> (N, H + 1, W + 1, 3) sums of all pixels above and left (exact)."""
    dtype = torch.int32 if pixels[0, 0].numel() < 2**23 else torch.int64
    sums = pixels.permute(0, 2, 3, 1).to(dtype).cumsum(1, dtype=dtype).cumsum(2, dtype=dtype)
    return F.pad(sums, (0, 0, 1, 0, 1, 0))


def cut_out(
    sums: torch.Tensor, image: np.ndarray, boxes: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Boxes -> those with a pixel in their image, and their crops (K, 3, side, side).

    Bit for bit torch's "area" interpolation, but for all boxes at once. (The original skips an
    empty crop but keeps its box, and then fails.)
    """
    height, width = sums.shape[1] - 1, sums.shape[2] - 1
    whole = np.trunc(boxes).astype(np.int64)
    start = np.maximum(whole[:, :2], 1) - 1
    stop = np.minimum(whole[:, 2:], [width, height])
    inside = (stop > start).all(axis=1)
    image, boxes, start, stop = image[inside], boxes[inside], start[inside], stop[inside]
    (left, right), (top, bottom) = (
        cell_edges(start[:, axis], stop[:, axis], side, sums.device) for axis in (0, 1)
    )
    plane = torch.from_numpy(image).to(sums.device)[:, None, None] * (height + 1) * (width + 1)

    def corner(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        place = plane + row[:, :, None] * (width + 1) + column[:, None, :]
        return sums.view(-1, 3).index_select(0, place.flatten()).view(*place.shape, 3)

    total = corner(bottom, right) - corner(top, right) - corner(bottom, left) + corner(top, left)
    tall, wide = (bottom - top)[:, :, None, None], (right - left)[:, None, :, None]
    return image, boxes, (total.float() / tall / wide).permute(0, 3, 1, 2).contiguous()


def cell_edges(
    start: np.ndarray, stop: np.ndarray, side: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """(K,) spans divided into `side` cells, which may overlap -> (K, side) starts, ends."""
    cell, size = np.arange(side), (stop - start)[:, None]
    low, high = cell * size // side, -(-(cell + 1) * size // side)
    edges = torch.from_numpy(np.stack([low, high]) + start[:, None]).to(device)
    return edges[0], edges[1]


def _largest_first(
    number: int, image: np.ndarray, boxes: np.ndarray, scores: np.ndarray, points: np.ndarray
) -> Detection:
    """The faces of image `number`, largest first."""
    own = image == number
    boxes, scores, points = boxes[own], scores[own], points[own]
    order = np.argsort((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))[::-1]
    return Detection(boxes[order], scores[order], points[order])
