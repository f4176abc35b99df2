"""The background, a pattern of given mean and contrast, and the clothes."""

import colorsys

import cv2
import numpy as np

from ohlora_lib.faces.classes import BACKGROUND
from ohlora_lib.toyworld.canvas import curve, mix, noise, smoothstep, stream, unit_rgb

GRID = 128  # pixels of the background's pattern
KINDS = ("gradient", "bokeh", "two tones", "texture", "window")
CLOTHES = ("crew", "v", "shirt", "turtleneck")


def pick(kinds, value):
    """The kind that a number in 0..1 selects."""
    return kinds[min(int(value * len(kinds)), len(kinds) - 1)]


def hue_color(hue, saturation, mean):
    """A color (3, 1, 1) of a hue whose mean of R, G and B is `mean`."""
    tint = unit_rgb(*colorsys.hsv_to_rgb(hue, saturation, 1.0))
    tint = tint * np.float32(mean) / tint.mean()
    over = max(tint.max() - 1, 0)
    return mix(tint, np.float32(mean), over / max(tint.max() - mean, 1e-6)) if over else tint


def background_color(a, mean=None, turned=0.0):
    """The background's color (3, 1, 1) where it is as bright as `mean`, by default on average."""
    mean = 0.1 + 0.78 * a.background_mean if mean is None else mean
    return hue_color((a.background_hue + turned) % 1, a.background_saturation * 0.44, mean)


def clothes_color(a):
    """The base color (3, 1, 1) of the clothes."""
    return hue_color(a.clothes_hue, 0.34, 0.1 + 0.66 * a.clothes_lightness)


def paint_background(canvas, a, seed):
    """Fill the image; the attributes set mean and contrast of its upper half."""
    rng = stream(seed, "background")
    pattern = _pattern(pick(KINDS, a.background_kind), rng)
    upper = pattern[: GRID // 2]
    pattern = (pattern - upper.mean()) / max(upper.std(), 1e-3)
    mean = 0.1 + 0.78 * a.background_mean
    spread = 0.005 + 0.16 * a.background_std * (0.45 + 0.55 * min(mean, 1 - mean) / 0.5)
    light = np.clip(mean + spread * np.clip(pattern, -2.6, 2.6), 0.02, 0.98)
    shades = np.linspace(0, 1, 17)
    turned = rng.uniform(-0.08, 0.08)
    colors = [background_color(a, s, turned * s) for s in shades]
    for plane, values in zip(canvas.color, np.stack(colors, 1), strict=True):
        coarse = np.interp(light, shades, values.ravel()).astype(np.float32)
        plane[:] = cv2.resize(coarse, plane.shape, interpolation=cv2.INTER_LINEAR)
    canvas.classes[:] = BACKGROUND


def _pattern(kind, rng):
    """A pattern (GRID, GRID) of arbitrary scale; all are smooth, so a coarse grid is enough."""
    x, y = np.meshgrid(*2 * [(np.arange(GRID, dtype=np.float32) + 0.5) / GRID])
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    if kind == "gradient":
        return along + 0.6 * np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) / 0.12)
    if kind == "bokeh":
        return _bokeh(x, y, rng) + 0.5 * along
    if kind == "two tones":
        return smoothstep(-0.03, 0.03, along - np.cos(angle) * 0.5 - np.sin(angle) * 0.4) + 0.2 * y
    if kind == "texture":
        return noise(rng, x.shape, (3, 3)) + 0.5 * noise(rng, x.shape, (8, 8))
    bars = smoothstep(0.25, 0.75, 0.5 + 0.5 * np.cos(2 * np.pi * (x * 2.2 + rng.uniform())))
    return cv2.GaussianBlur(bars * (0.6 + y), (0, 0), 0.035 * GRID) + 0.4 * along


def _bokeh(x, y, rng):
    """Soft discs of light."""
    light = noise(rng, x.shape, (3, 3)) * 0.35
    for _ in range(16):
        cx, cy, radius = rng.uniform(0, 1), rng.uniform(0, 0.8), rng.uniform(0.03, 0.1)
        distance = radius - np.hypot(x - cx, y - cy)
        light = light + rng.uniform(0.3, 1) * smoothstep(0, 0.018, distance)
    return light


def paint_clothes(canvas, head, a, seed):
    """Shoulders and collar (class background)."""
    kind = pick(CLOTHES, a.clothes_kind)
    middle, broad = 0.5 + 0.1 * head.sin, mix(1.12, 0.95, a.gender)
    color = clothes_color(a)
    neck = {"crew": 0.125, "v": 0.135, "shirt": 0.12, "turtleneck": 0.118}[kind] * broad
    rise = {"crew": 0.915, "v": 0.912, "shirt": 0.905, "turtleneck": 0.885}[kind]
    dip = {"crew": 0.035, "v": 0.12, "shirt": 0.1, "turtleneck": 0.012}[kind]
    right = [(neck, rise), (neck + 0.1, rise + 0.028), (0.38 * broad, 0.965), (0.47 * broad, 1.02)]
    right = curve([(middle + x, y) for x, y in right], 30)
    left = right[::-1] * [-1, 1] + [2 * middle, 0]
    if kind in ("v", "shirt"):
        hollow = np.array([(middle, rise + dip)])
    else:
        bend = np.linspace(-1, 1, 25)
        hollow = np.stack([middle + neck * bend, rise + dip * (1 - bend**2)], -1)
    outline = np.vstack([left, hollow, right, [(middle + 0.6, 1.1), (middle - 0.6, 1.1)]])
    mask = canvas.polygon(outline, rolled=False)
    _cloth(canvas, color, mask, a, middle, stream(seed, "clothes"))
    _collar(canvas, kind, color, (left, hollow, right), middle, rise)


def _cloth(canvas, color, mask, a, middle, rng):
    """Fabric with soft folds, lit from the light's side."""
    part = slice(int(canvas.side * 0.85), canvas.side)
    x = (np.arange(canvas.side, dtype=np.float32) + 0.5) / canvas.side - middle
    folds = 0.06 * noise(rng, mask[part].shape, (3, 9))
    light = np.clip(0.92 + 0.25 * a.light * x / 0.4 - 0.35 * np.abs(x) ** 1.5 + folds, 0.3, 1.2)
    fabric = np.clip(color * light, 0, 1)
    canvas.color[:, part] += mask[part] * (fabric - canvas.color[:, part])


def _collar(canvas, kind, color, edges, middle, rise):
    """The seam of a neckline, the flaps of a shirt, the rib of a turtleneck."""
    left, hollow, right = edges
    neckline = np.vstack([left[-1:], hollow, right[:1]])
    seam = _frame_lines(canvas, neckline, 0.012)
    canvas.tint([0.78, 0.78, 0.8], seam * 0.7)
    canvas.tint([0.6, 0.55, 0.55], canvas.blur(_frame_lines(canvas, neckline, 0.01), 0.012) * 0.5)
    if kind == "shirt":
        for side in (-1, 1):
            flap = [
                (0.11, rise - 0.012),
                (0.135, rise + 0.02),
                (0.085, rise + 0.085),
                (0.0, rise + 0.1),
            ]
            flap += [(0.06, rise + 0.035)]
            shape = np.array([(middle + side * x, y) for x, y in flap])
            mask = canvas.polygon(shape, rolled=False)
            canvas.tint([0.6, 0.58, 0.6], canvas.blur(canvas.shifted(mask, 0, 0.008), 0.006) * 0.5)
            canvas.paint(np.clip(color * 1.12 + 0.03, 0, 1), mask)


def _frame_lines(canvas, points, width):
    """A line in frame coordinates, which do not roll with the head."""
    still = type(canvas)(canvas.color, canvas.classes, canvas.x, canvas.y, canvas.side, 0.0)
    return still.lines([points], width)
