"""Defects as in poor generator outputs: warps, smears, blobs, melted hair, casts, patches.

A warp moves the class map together with the image, so that the map stays true; the other defects
change colors only.
"""

import cv2
import numpy as np

from ohlora_lib.toyworld.background import pick
from ohlora_lib.toyworld.canvas import bump, mix, noise, smoothstep, stream, unit_rgb

KINDS = ("warp", "melt", "smear", "blobs", "patches", "cast")


def defect_strength(a):
    """0 for good quality, 1 for very poor quality; 0.5 at the threshold of the truth."""
    return float(smoothstep(0.72, 0.28, a.quality))


def apply_defects(canvas, a, seed):
    """Apply two defects to a finished image, the second weaker; quality sets their strength."""
    strength = defect_strength(a)
    if strength <= 0.02:
        return
    rng = stream(seed, "defects")
    first = pick(KINDS, a.defect_kind)
    second = KINDS[(KINDS.index(first) + 1 + rng.integers(len(KINDS) - 1)) % len(KINDS)]
    for kind, amount in ((first, strength), (second, 0.55 * strength)):
        DEFECTS[kind](canvas, rng, amount)


def _displace(canvas, dx, dy):
    """Move image and map by (dx, dy) frame units per pixel."""
    for plane in canvas.color:
        plane[:] = canvas.displaced(plane, dx, dy)
    canvas.classes[:] = canvas.displaced(canvas.classes, dx, dy, nearest=True)


def _warp(canvas, rng, amount):
    """Features drift apart, as when a generator fails at the geometry of a face."""
    shape = canvas.classes.shape
    dx, dy = (noise(rng, shape, (4, 4)) for _ in range(2))
    _displace(canvas, 0.022 * amount * dx, 0.022 * amount * dy)


def _melt(canvas, rng, amount):
    """The upper part runs down in streaks."""
    shape = canvas.classes.shape
    run = noise(rng, shape, (3, 6)) + 0.4 * noise(rng, shape, (3, 14))
    where = smoothstep(0.62, 0.25, canvas.y) * bump(
        canvas.x, canvas.y, rng.uniform(0.3, 0.7), 0.2, 0.3, 0.3
    )
    _displace(canvas, 0, -0.05 * amount * where * run)


def _smear(canvas, rng, amount):
    """A region is dragged along one direction."""
    x, y = rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.75)
    where = amount * bump(canvas.x, canvas.y, x, y, 0.2, 0.16)
    length = max(int(0.13 * canvas.side), 3)
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((length, length), np.float32)
    reach = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    middle = (length - 1) / 2
    ends = [tuple(np.round(middle + s * reach).astype(int).tolist()) for s in (-1, 1)]
    cv2.line(kernel, *ends, 1.0, 1)
    kernel /= kernel.sum()
    dragged = [cv2.filter2D(plane, -1, kernel) for plane in canvas.color]
    canvas.paint(dragged, np.clip(1.3 * where, 0, 1))


def _blobs(canvas, rng, amount):
    """Round, washed-out drops with a bright rim, known from early style-based generators."""
    for _ in range(3):
        x, y, radius = rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.8), rng.uniform(0.04, 0.09)
        r = np.hypot(canvas.x - x, canvas.y - y) / np.float32(radius)
        r = r + 0.15 * np.sin(3 * np.arctan2(canvas.y - y, canvas.x - x) + rng.uniform(0, 6))
        soft = [canvas.blur(plane, 0.03) * 0.75 + 0.2 for plane in canvas.color]
        canvas.paint(soft, smoothstep(1.0, 0.7, r) * amount * 0.8)
        canvas.paint(unit_rgb(0.95, 0.92, 0.85), np.exp(-(((r - 0.95) / 0.12) ** 2)) * amount * 0.4)


def _patches(canvas, rng, amount):
    """A woven grid of the kind that up-sampling leaves, over part of the image."""
    x, y = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)
    where = bump(canvas.x, canvas.y, x, y, 0.24, 0.2)
    period = 2 * np.pi / 0.031
    grid = np.sin(canvas.x * period) * np.sin(canvas.y * period)
    tint = rng.uniform(-1, 1, 3).astype(np.float32)
    canvas.color += (amount * 0.17 * where * grid) * (1 + 0.5 * unit_rgb(*tint))


def _cast(canvas, rng, amount):
    """Blotches of a wrong color."""
    blotch = smoothstep(0.1, 1.2, noise(rng, canvas.classes.shape, (4, 4)))
    wrong = mix(unit_rgb(0.9, 0.35, 0.25), unit_rgb(0.25, 0.6, 0.75), rng.uniform())
    canvas.paint(
        canvas.color * 0.4 + 0.6 * wrong * canvas.color.mean(0) * 2,
        blotch * amount * 0.85,
    )


DEFECTS = {
    "warp": _warp,
    "melt": _melt,
    "smear": _smear,
    "blobs": _blobs,
    "patches": _patches,
    "cast": _cast,
}
