"""The drawing surface: layered soft masks painted onto color and class map together.

Everything is in *frame units*: the image is the square 0..1 × 0..1, x to the right, y down. A
canvas also knows the head's roll; `x`, `y` are its pixels' coordinates in the upright head's frame,
so that a part is always described for an upright head. Color lies in planes (3, h, w), a mask is
(h, w): masks broadcast over planes, several times as fast as interleaved pixels.
"""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

cv2.setNumThreads(1)  # faces are rendered in parallel processes, one thread each

PIVOT = np.array([0.5, 0.52])  # the head rolls about this point, between eyes and nose


def stream(seed, part):
    """The random generator of one part of one face: independent of what other parts draw."""
    key = [int(seed), zlib.crc32(part.encode())]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


@dataclass
class Canvas:
    """A view of the image: color (3, h, w) float32 in 0..1, classes (h, w) uint8.

    x, y: (h, w) float32 head coordinates of its pixels; top, left: where it lies in the image.
    """

    color: np.ndarray
    classes: np.ndarray
    x: np.ndarray
    y: np.ndarray
    side: int
    roll: float
    top: int = 0
    left: int = 0

    @classmethod
    def blank(cls, side, roll):
        """A square canvas of `side` pixels for a head rolled by `roll` radians (clockwise)."""
        center = (np.arange(side, dtype=np.float32) + 0.5) / side
        dx, dy = np.meshgrid(center - np.float32(PIVOT[0]), center - np.float32(PIVOT[1]))
        cos, sin = np.float32(np.cos(roll)), np.float32(np.sin(roll))
        x, y = cos * dx + sin * dy, cos * dy - sin * dx
        x += np.float32(PIVOT[0])
        y += np.float32(PIVOT[1])
        color = np.zeros((3, side, side), np.float32)
        return cls(color, np.zeros((side, side), np.uint8), x, y, side, roll)

    def rolled(self, points):
        """Head coordinates (..., 2) to frame coordinates."""
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return (np.asarray(points) - PIVOT) @ np.array([[cos, sin], [-sin, cos]]) + PIVOT

    def part(self, x0, y0, x1, y1):
        """The smallest view that contains a box given in head coordinates."""
        corners = self.rolled([(x0, y0), (x1, y0), (x0, y1), (x1, y1)]) * self.side
        left, top = np.maximum(np.floor(corners.min(0)).astype(int) - (self.left, self.top), 0)
        right, bottom = np.ceil(corners.max(0)).astype(int) - (self.left, self.top)
        rows, columns = slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
        views = (a[..., rows, columns] for a in (self.color, self.classes, self.x, self.y))
        return Canvas(*views, self.side, self.roll, self.top + top, self.left + left)

    def step(self, distance):
        """Antialiased coverage 0..1 of a signed distance (positive inside), over one pixel."""
        return np.clip(distance * np.float32(self.side) + np.float32(0.5), 0, 1)

    def _fixed_point(self, points, rolled):
        points = self.rolled(points) if rolled else np.asarray(points)
        return np.round((points * self.side - (self.left, self.top) - 0.5) * 16).astype(np.int32)

    def polygon(self, points, rolled=True):
        """Antialiased mask (h, w) float32 of a closed polygon (n, 2) in head coordinates."""
        mask = np.zeros(self.classes.shape, np.uint8)
        cv2.fillPoly(mask, [self._fixed_point(points, rolled)], 255, cv2.LINE_AA, 4)
        return mask.astype(np.float32) / 255

    def lines(self, curves, width):
        """Antialiased mask (h, w) float32 of open curves [(n, 2), ...] drawn `width` wide."""
        mask = np.zeros(self.classes.shape, np.uint8)
        curves = [self._fixed_point(curve, True) for curve in curves]
        pixels = width * self.side
        cv2.polylines(mask, curves, False, 255, max(1, round(pixels)), cv2.LINE_AA, 4)
        return mask.astype(np.float32) * np.float32(min(1.0, pixels) / 255)

    def blur(self, mask, radius):
        """Gaussian blur, standard deviation in frame units; a wide one on a coarser grid."""
        sigma = max(radius * self.side, 0.01)
        coarse = 4 if sigma > 8 else 2 if sigma > 4 else 1
        if min(mask.shape) < 4 * coarse:
            coarse = 1
        small = mask
        if coarse > 1:
            shape = tuple(-(-n // coarse) for n in mask.shape[::-1])
            small = cv2.resize(mask, shape, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma / coarse, borderType=cv2.BORDER_REPLICATE)
        return small if coarse == 1 else cv2.resize(small, mask.shape[::-1])

    def shifted(self, mask, dx, dy):
        """A mask moved by (dx, dy) frame units, for shadows."""
        move = np.float32([[1, 0, dx * self.side], [0, 1, dy * self.side]])
        return cv2.warpAffine(mask, move, mask.shape[::-1], borderMode=cv2.BORDER_REPLICATE)

    def displaced(self, values, dx, dy, nearest=False):
        """Values (h, w) read `dx`, `dy` frame units (numbers or (h, w)) beside each pixel."""
        columns, rows = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in values.shape[1::-1]))
        columns, rows = columns + dx * self.side, rows + dy * self.side
        how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        columns, rows = columns.astype(np.float32), rows.astype(np.float32)
        return cv2.remap(values, columns, rows, how, borderMode=cv2.BORDER_REFLECT)

    def crop(self, mask):
        """The part of a whole image's mask that this view shows."""
        height, width = self.classes.shape
        return mask[self.top : self.top + height, self.left : self.left + width]

    def paint(self, color, alpha, label=None):
        """Blend a color (3, 1, 1) or (3, h, w) into the image; set the class where alpha > 0.5."""
        for plane, value in zip(self.color, color, strict=True):
            plane += alpha * (value - plane)
        if label is not None:
            self.classes[alpha > 0.5] = label

    def tint(self, factor, alpha):
        """Multiply the image by a factor (3,) or (3, 1, 1) where alpha is 1 (shadows, blush)."""
        for plane, value in zip(self.color, factor, strict=True):
            plane *= 1 - alpha * (1 - value)


def mix(a, b, t):
    """Linear blend of two colors or numbers."""
    return a + (b - a) * t


def smoothstep(low, high, value):
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x, y, cx, cy, sx, sy):
    """A Gaussian of height 1 at (cx, cy)."""
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


def ramp(stops, t):
    """Color (3, 1, 1) at position t in 0..1 on a ramp of n evenly spaced colors (n, 3)."""
    position = np.linspace(0, 1, len(stops))
    return unit_rgb(*(np.interp(t, position, np.asarray(stops)[:, i]) for i in range(3)))


def unit_rgb(*values):
    """A color (3, 1, 1) float32 from red, green and blue in 0..1: it spreads over masks (h, w)."""
    return np.array(values, np.float32).reshape(3, 1, 1)


def rgb(*values):
    """A color (3, 1, 1) from sRGB bytes."""
    return unit_rgb(*values) / 255


def curve(points, samples=64, closed=False):
    """A smooth curve (Catmull-Rom) through control points (n, 2), sampled as (samples, 2)."""
    p = np.asarray(points, np.float64)
    p = (
        np.vstack([p[-1:], p, p[:2]])
        if closed
        else np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    )
    spans = len(p) - 3
    where = np.linspace(0, spans, samples, endpoint=not closed)
    i = np.minimum(where.astype(int), spans - 1)
    t = (where - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    cubic = (3 * (b - c) + d - a) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2
    return 0.5 * (cubic + (c - a) * t + 2 * b)


def look_up(table, x, y):
    """A square table's values (h, w) when stretched over the whole frame."""
    scale = np.float32(table.shape[0] - 1)
    return cv2.remap(table, x * scale, y * scale, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def noise(rng, shape, cells):
    """Smooth noise (h, w) float32, about N(0, 1) at the grid points: `cells` = (rows, columns)."""
    grid = rng.standard_normal((cells[0] + 1, cells[1] + 1)).astype(np.float32)
    return cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
