"""Eyes and brows. Each eye is described on the head's surface, so a turned head foreshortens it."""

import numpy as np

from ohlora_lib.faces.classes import LEFT_BROW, LEFT_EYE
from ohlora_lib.toyworld.canvas import bump, mix, ramp, rgb, smoothstep, stream, unit_rgb
from ohlora_lib.toyworld.face import shadow_color, skin_color

IRIS_STOPS = (
    np.array(
        [
            (66, 38, 22),
            (104, 62, 32),
            (128, 92, 46),
            (98, 118, 72),
            (112, 134, 140),
            (74, 122, 172),
        ],
        np.float32,
    )
    / 255
)


class Eye:
    """Local coordinates of one eye on a canvas: t is −1 at the inner corner, 1 at the outer."""

    def __init__(self, canvas, head, a, side):
        center = head.across(side * head.eye_x, 0.135)
        self.part = canvas.part(center - 0.1, head.eye_y - 0.1, center + 0.1, head.eye_y + 0.085)
        self.side, self.half = side, head.eye_half
        self.head_x = head.along(self.part.x) - np.float32(side * head.eye_x)
        self.t = self.head_x * np.float32(side / head.eye_half)
        tilt = 0.003 + 0.009 * (a.eye_tilt - 0.25)
        self.y = self.part.y - np.float32(head.eye_y) + np.float32(tilt) * self.t
        opening = 0.012 + 0.068 * a.eyes
        self.upper, self.lower = 0.66 * opening, 0.34 * opening
        open_ = np.maximum(1 - self.t**2, 0)
        self.top = -np.float32(self.upper) * open_**0.62 * (1 - 0.08 * self.t)
        self.bottom = np.float32(self.lower) * open_**0.85 * (1 + 0.16 * self.t)
        gap = np.minimum(self.y - self.top, self.bottom - self.y)
        self.mask = self.part.step(np.minimum(gap, (1 - np.abs(self.t)) * 0.05))


def paint_eyes(canvas, head, a, seed):
    """Sockets, eyeballs, lids and lashes of both eyes (classes left eye, right eye)."""
    for side in (-1, 1):
        eye = Eye(canvas, head, a, side)
        _socket(eye, a)
        _ball(eye, a, stream(seed, "iris"))
        eye.part.classes[eye.mask > 0.5] = LEFT_EYE + (side > 0)
        _lids(eye, a)
        _lashes(eye, a)


def _socket(eye, a):
    """Soft shade around the eye, and eyeshadow with make-up."""
    part, t, y = eye.part, eye.t, eye.y
    inner = bump(t, y, -1.15, -0.014, 0.5, 0.024)
    part.tint([0.72, 0.56, 0.54], inner * 0.42)
    lid = bump(t, y, 0.1, -eye.upper - 0.006, 0.95, 0.016)
    part.tint([0.8, 0.66, 0.63], lid * (0.3 + 0.1 * a.age))
    outer = bump(t, y, 0.75, -eye.upper * 0.75, 0.6, 0.018)
    part.tint([0.66, 0.48, 0.5], outer * 0.55 * a.makeup)
    part.tint(
        [0.86, 0.72, 0.72], bump(t, y, -0.1, eye.lower + 0.012, 0.8, 0.009) * (0.22 + 0.3 * a.age)
    )


def _ball(eye, a, rng):
    """White of the eye with its lid's shadow, iris, pupil, catchlights, tear duct."""
    part, t, y = eye.part, eye.t, eye.y
    white = mix(rgb(246, 243, 240), rgb(238, 228, 214), a.age)
    shade = np.clip(1 - 0.28 * t**2 - 0.5 * np.exp(-(((y - eye.top) / 0.011) ** 2)), 0.2, 1)
    color = white * mix(unit_rgb(0.62, 0.55, 0.56), 1, shade)
    duct = bump(t, y, -0.96, 0.002, 0.16, 0.008)
    color = mix(color, rgb(214, 138, 128), duct * 0.9)
    color = _iris(eye, a, color, rng)
    part.paint(color, eye.mask)


def iris_color(a):
    """The base color (3, 1, 1) of the irises."""
    return ramp(IRIS_STOPS, a.iris)


def _iris(eye, a, color, rng):
    """The iris over the white `color` (3, h, w)."""
    part = eye.part
    radius = np.float32(0.0282 + 0.003 * (a.eye_size - 0.5) + 0.0022 * a.gender)
    x = eye.head_x * np.float32(0.97) - np.float32(0.014 * a.gaze)
    middle = 0.5 * (eye.lower - eye.upper) - 0.12 * (eye.upper + eye.lower - 0.05)
    y = eye.y - np.float32(middle)
    r = np.hypot(x, y) / radius
    angle = np.arctan2(y, x)
    streaks = sum(
        np.sin(angle * k + rng.uniform(0, 6.3)) * rng.uniform(0.3, 1) for k in (7, 11, 17, 23)
    )
    base = iris_color(a)
    glow = np.clip(0.62 + 0.42 * y / radius, 0.25, 1.2) + 0.07 * streaks * (r - 0.35)
    iris = base * (0.55 + 0.85 * glow)
    inner = np.exp(-(((r - 0.5) / 0.16) ** 2))
    iris = mix(iris, iris * unit_rgb(1.5, 1.25, 0.95), inner * 0.4)
    iris = iris * (1 - 0.72 * smoothstep(0.74, 1.0, r))
    lid = np.exp(-(((eye.y - eye.top) / 0.012) ** 2))
    iris = iris * (1 - 0.5 * lid)
    iris = mix(iris, rgb(12, 9, 10), part.step((0.42 - r) * radius))
    color = mix(color, iris, part.blur(part.step((1 - r) * radius), 0.0012))
    return _catchlights(part, a, color, x, y, radius)


def _catchlights(part, a, color, x, y, radius):
    """A bright reflection on the light's side, and a faint one opposite."""
    side = 0.36 if a.light > 0 else -0.36
    main = part.step((0.27 - np.hypot(x / radius - side, y / radius + 0.4)) * radius)
    faint = bump(x / radius, y / radius, -side * 1.1, 0.52, 0.22, 0.16)
    color = mix(color, unit_rgb(1, 1, 1), 0.3 * faint)
    return mix(color, unit_rgb(1, 1, 1), 0.95 * main)


def _lids(eye, a):
    """The crease above the eye, the lower lid's edge and its wet line."""
    part, t, y = eye.part, eye.t, eye.y
    inside = smoothstep(1.25, 0.75, np.abs(t))
    gap = 0.0155 - 0.05 * eye.upper + 0.005 * (t > 0) * t
    crease = np.exp(-(((y - eye.top + gap) / 0.0038) ** 2)) * inside
    part.tint(shadow_color(unit_rgb(1, 1, 1)) * 0.85, crease * (0.62 + 0.2 * a.gender))
    shine = np.exp(-(((y - eye.top + gap * 0.5) / 0.004) ** 2)) * smoothstep(0.9, 0.3, np.abs(t))
    part.paint(mix(skin_color(a), unit_rgb(1, 1, 1), 0.3), shine * 0.25)
    wet = np.exp(-(((y - eye.bottom - 0.0012) / 0.0022) ** 2)) * smoothstep(1.05, 0.8, np.abs(t))
    part.paint(mix(skin_color(a), rgb(240, 170, 160), 0.5), wet * 0.6)
    low = np.exp(-(((y - eye.bottom - 0.005) / 0.0028) ** 2)) * smoothstep(-0.9, 0.8, t)
    part.tint([0.5, 0.38, 0.36], low * smoothstep(1.1, 0.9, t) * (0.35 + 0.35 * a.makeup))


def _lashes(eye, a):
    """The upper lash line with its wing, and single lashes fanning outward."""
    part, t, y = eye.part, eye.t, eye.y
    dark = mix(rgb(58, 40, 32), rgb(16, 11, 12), 0.4 + 0.6 * a.makeup)
    beyond = np.maximum(t - 0.93, 0)
    line = eye.top - beyond * np.float32(0.045)
    heavy = 0.0022 + 0.002 * a.gender + 0.0028 * a.makeup
    thick = (
        heavy * (0.55 + 0.45 * smoothstep(-1, 0.7, t)) * smoothstep(1.06 + 0.2 * a.makeup, 0.9, t)
    )
    band = np.minimum(y - line + thick, line + np.float32(0.0014) - y)
    band = np.minimum(band, np.minimum(t + 1.0, 1.06 + 0.13 * a.makeup - t) * 0.05)
    part.paint(dark, part.step(band) * (0.7 + 0.3 * a.gender))
    length = (0.004 + 0.011 * a.gender * (0.5 + a.makeup)) * smoothstep(-0.9, 0.6, t)
    rise = np.clip((line - y) / np.maximum(length, 1e-4), 0, 1)
    fan = np.cos((t - 0.42 * rise**1.4 * (0.3 + t)) * 27)
    lash = smoothstep(0.15 + 0.8 * rise, 0.9 + 0.8 * rise, fan) * (rise < 1) * (y < line)
    part.paint(dark, lash * smoothstep(1.25, 1.05, t) * (t > -0.9) * 0.75)


def paint_brows(canvas, head, a, hair_base):
    """Both brows (classes left brow, right brow), in a darker tone of the hair."""
    color = mix(hair_base * 0.55, rgb(46, 34, 28), 0.45 - 0.2 * a.hair_grey)
    for side in (-1, 1):
        part = canvas.part(*_brow_box(head, side))
        x = head.along(part.x, 0.155) * side
        t = (x - 0.042) / 0.124  # 0 at the inner end, 1 at the outer
        arch = (0.35 + 0.9 * a.brow_arch) * mix(0.7, 1.15, a.gender)
        middle = (
            head.brow_y + 0.007 - 0.026 * arch * np.sin(np.clip(t, 0, 1) * 2.4) ** 1.2 + 0.014 * t
        )
        thick = mix(0.0135, 0.009, a.gender) * (0.6 + 0.8 * a.brow_thickness)
        thick = thick * smoothstep(-0.08, 0.16, t) * (1 - 0.78 * smoothstep(0.4, 1.05, t))
        inside = np.minimum(thick - np.abs(part.y - middle), np.minimum(t, 1 - t) * 0.1)
        lean = (x + (part.y - middle) * (0.5 + t)) * 330
        strokes = (np.sin(lean) + np.sin(lean * 1.73 + 1) + np.sin(lean * 2.6 + 4)) * 0.055
        soft = smoothstep(-0.0035, 0.005, inside + 0.004 * strokes)
        thin = 0.72 + 0.28 * smoothstep(0, 0.3, t)
        part.paint(color, soft * np.clip(0.84 * thin + strokes, 0, 1))
        part.classes[part.step(inside) > 0.5] = LEFT_BROW + (side > 0)


def _brow_box(head, side):
    inner, outer = head.across(side * 0.03, 0.15), head.across(side * 0.18, 0.09)
    low, high = sorted((inner, outer))
    return low - 0.01, head.brow_y - 0.04, high + 0.01, head.brow_y + 0.04
