"""Glasses: frames and lenses over the eyes. The map keeps what lies beneath."""

from dataclasses import dataclass

import numpy as np

from ohlora_lib.toyworld.background import pick
from ohlora_lib.toyworld.canvas import curve, mix, rgb, smoothstep, stream, unit_rgb


@dataclass(frozen=True)
class Frame:
    """A kind of glasses: how square its lenses are, their half-sizes and the rim's thickness."""

    power: float
    wide: float
    high: float
    thick: float
    rises: bool = False  # outer corners drawn up
    half_rim: bool = False


KINDS = (
    Frame(2.0, 0.073, 0.068, 0.0062),
    Frame(4.5, 0.078, 0.055, 0.0095),
    Frame(3.0, 0.079, 0.058, 0.009, rises=True),
    Frame(3.6, 0.077, 0.054, 0.008, half_rim=True),
)
COLORS = [(24, 20, 22), (70, 42, 28), (120, 32, 44), (40, 52, 92), (122, 88, 40), (66, 66, 74)]


def paint_glasses(canvas, head, a, seed):
    """Lay glasses on a face that wears them."""
    if not a.has_glasses:
        return
    frame = pick(KINDS, a.glasses_kind)
    color = rgb(*COLORS[stream(seed, "glasses").integers(len(COLORS))])
    for side in (-1, 1):
        _lens(canvas, head, side, frame, color)
    _bridge_and_arms(canvas, head, frame.thick, color)


def _lens(canvas, head, side, frame, color):
    """One lens with its sheen, its rim and the rim's shadow."""
    center, y0 = head.across(side * (head.eye_x + 0.004), 0.15), head.eye_y + 0.008
    part = canvas.part(center - 0.12, y0 - 0.11, center + 0.12, y0 + 0.11)
    u = head.along(part.x, 0.168) * side - np.float32(head.eye_x + 0.004)
    v, high = part.y - np.float32(y0), frame.high
    if frame.rises:
        v, high = v + 0.3 * np.maximum(u - 0.01, 0), high + 0.06 * u
    radius = np.abs(u / frame.wide) ** frame.power + np.abs(v / high) ** frame.power
    radius = radius ** np.float32(1 / frame.power)
    inside = (1 - radius) * 0.06
    glass = part.step(inside)
    part.tint([0.93, 0.95, 0.97], glass * 0.8)
    streak = smoothstep(0.012, 0.0, np.abs(u * 0.8 + v + 0.028) - 0.008)
    part.paint(unit_rgb(1, 1, 1), streak * smoothstep(0.95, 0.6, radius) * glass * 0.16)
    rim = part.step(frame.thick / 2 - np.abs(inside + frame.thick / 2))
    if frame.half_rim:
        rim = rim * smoothstep(0.014, -0.004, v)
    shadow = part.blur(part.shifted(rim, 0, 0.009), 0.004)
    part.tint([0.62, 0.48, 0.46], shadow * (1 - rim) * 0.5)
    part.paint(mix(color, unit_rgb(1, 1, 1), smoothstep(-0.02, -0.06, v) * 0.25), rim)


def _bridge_and_arms(canvas, head, thick, color):
    inner = head.eye_x - 0.069
    x = np.linspace(-inner - 0.004, inner + 0.004, 9)
    y = head.eye_y - 0.004 - 0.008 * np.cos(x / inner * 1.5)
    bridge = head.on_face(x, y, 0.185)
    canvas.paint(color, canvas.lines([bridge], thick))
    for side in (-1, 1):
        if side * head.sin < -0.3:
            continue
        hinge = head.on_face(side * (head.eye_x + 0.08), head.eye_y - 0.012, 0.165)
        ear = (head.across(side * (head.half_width + 0.004), 0.0), head.eye_y - 0.002)
        canvas.paint(color, canvas.lines([curve([hinge, ear], 12)], thick * 0.9))
