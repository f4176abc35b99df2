"""Lips, teeth and the inside of the mouth, described on the head's surface."""

import numpy as np

from ohlora_lib.faces.classes import INNER_MOUTH, LOWER_LIP, UPPER_LIP
from ohlora_lib.toyworld.canvas import bump, mix, rgb, smoothstep, unit_rgb
from ohlora_lib.toyworld.face import skin_color

DEPTH, BEND = 0.165, 1.6  # the surface that the mouth lies on


class Mouth:
    """Local coordinates: t is −1 and 1 at the corners; rows of the four lip edges (h, w)."""

    def __init__(self, canvas, head, a):
        self.part = canvas.part(0.33, head.mouth_y - 0.07, 0.67, head.mouth_y + 0.13)
        self.half = 0.069 + 0.017 * a.smile + 0.004 * (a.jaw - 0.5)
        self.t = head.along(self.part.x, DEPTH, BEND) / np.float32(self.half)
        t = np.clip(self.t, -1, 1)
        self.y = self.part.y - np.float32(head.mouth_y)
        share = 0.02 + 0.7 * a.mouth  # of the whole mouth's area, which is what is measured
        full = mix(0.78, 1.15, a.gender) * (0.75 + 0.5 * a.lips) * (1 - 0.3 * max(a.age - 0.4, 0))
        gap = 0.034 * full * share / (1 - share)
        curl = -(0.03 * a.smile - 0.008) * np.abs(t) ** 1.8
        open_ = np.maximum(1 - t * t, 0)
        self.upper_in = (
            curl - 0.12 * gap * open_**0.7 + 0.0025 * np.exp(-((t / 0.16) ** 2)) * (1 - a.mouth)
        )
        self.lower_in = curl + 0.88 * gap * open_ ** mix(0.9, 0.65, a.smile)
        bow = (
            1 + 0.3 * np.exp(-(((np.abs(t) - 0.2) / 0.16) ** 2)) - 0.16 * np.exp(-((t / 0.09) ** 2))
        )
        self.upper_out = self.upper_in - 0.016 * full * open_**0.8 * bow
        self.lower_out = self.lower_in + 0.022 * full * open_**0.62
        self.gap = gap


def paint_mouth(canvas, head, a):
    """The mouth (classes upper lip, inner mouth, lower lip)."""
    mouth = Mouth(canvas, head, a)
    _around(mouth, a)
    _inside(mouth, a)
    _lips(mouth, a)


def lip_color(a):
    """Base color (3, 1, 1): the skin's own red, more of it with make-up."""
    natural = skin_color(a) * unit_rgb(0.88, 0.6, 0.6)
    painted = mix(rgb(206, 74, 88), rgb(150, 42, 62), a.skin_tone)
    return mix(natural, painted, 0.12 + 0.55 * a.makeup)


def _around(mouth, a):
    """Shade below the lower lip and in the corners, light on the upper lip's rim."""
    part, t, y = mouth.part, mouth.t, mouth.y
    below = mouth.lower_out + 0.009
    part.tint(
        [0.7, 0.55, 0.52],
        np.exp(-(((y - below) / 0.009) ** 2)) * smoothstep(0.8, 0.1, np.abs(t)) * 0.5,
    )
    corner = bump(np.abs(t), y, 1.03, -(0.03 * a.smile - 0.008), 0.13, 0.009)
    part.tint([0.6, 0.42, 0.4], corner * 0.6)
    groove = bump(t, y, 0.0, -0.036, 0.1, 0.016)
    part.tint([0.8, 0.68, 0.66], groove * 0.25)


def _inside(mouth, a):
    """Dark inside, tongue, upper teeth."""
    part, t, y = mouth.part, mouth.t, mouth.y
    inside = part.step(
        np.minimum(np.minimum(y - mouth.upper_in, mouth.lower_in - y), (1 - np.abs(t)) * 0.05)
    )
    color = rgb(62, 18, 22)
    tongue = bump(t, y, 0, 0.9 * mouth.gap, 0.55, 0.018)
    color = mix(color, rgb(186, 84, 88), tongue * 0.8)
    edge = mouth.upper_in + np.minimum(0.021, 0.72 * mouth.gap + 0.002) * np.maximum(
        1 - 0.8 * t**2, 0.05
    )
    edge = edge - 0.0012 * np.abs(np.sin(t * 9.4))
    teeth = part.step(edge - y) * smoothstep(0.98, 0.8, np.abs(t))
    between = np.exp(-(((np.abs(np.mod(t * 3.0, 1) - 0.5) - 0.5) / 0.06) ** 2)) * 0.12
    ivory = mix(rgb(250, 246, 240), rgb(232, 218, 190), 0.7 * a.age)
    dim = 1 - 0.3 * t**2 - between - 0.25 * np.exp(-(((y - mouth.upper_in) / 0.004) ** 2))
    color = mix(color, ivory * dim, teeth)
    part.paint(color, inside, INNER_MOUTH)


def _lips(mouth, a):
    """Both lips with volume, a highlight and the dark line between them."""
    part, t, y = mouth.part, mouth.t, mouth.y
    base, ends = lip_color(a), (1 - np.abs(t)) * 0.05
    upper = part.step(np.minimum(np.minimum(y - mouth.upper_out, mouth.upper_in - y), ends))
    v = np.clip((y - mouth.upper_out) / np.maximum(mouth.upper_in - mouth.upper_out, 1e-4), 0, 1)
    part.paint(base * (0.96 - 0.3 * v), upper * 0.95, UPPER_LIP)
    lower = part.step(np.minimum(np.minimum(y - mouth.lower_in, mouth.lower_out - y), ends))
    v = np.clip((y - mouth.lower_in) / np.maximum(mouth.lower_out - mouth.lower_in, 1e-4), 0, 1)
    volume = 0.8 + 0.34 * np.sin(np.pi * np.clip(v * 0.9, 0, 1)) - 0.12 * t**2
    part.paint(base * volume, lower * 0.95, LOWER_LIP)
    side = 0.22 if a.light > 0 else -0.22
    shine = bump(t, v, side, 0.42, 0.3, 0.2) * lower
    part.paint(unit_rgb(1, 0.95, 0.94), shine * (0.2 + 0.28 * a.makeup))
    seam = np.exp(
        -((np.minimum(np.abs(y - mouth.upper_in), np.abs(y - mouth.lower_in)) / 0.002) ** 2)
    )
    part.tint([0.45, 0.28, 0.3], seam * smoothstep(1.08, 0.9, np.abs(t)) * 0.6)
