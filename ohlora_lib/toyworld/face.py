"""Skin: neck, ears, the face with its modeled light, nose, age and beard."""

import cv2
import numpy as np

from ohlora_lib.faces.classes import BACKGROUND, NOSE, SKIN
from ohlora_lib.toyworld.canvas import (
    bump,
    curve,
    mix,
    noise,
    ramp,
    rgb,
    smoothstep,
    stream,
    unit_rgb,
)

SKIN_STOPS = (
    np.array(
        [
            (248, 217, 197),
            (240, 197, 168),
            (228, 178, 146),
            (196, 139, 103),
            (146, 95, 66),
            (98, 62, 45),
        ],
        np.float32,
    )
    / 255
)


def skin_color(a):
    """Base color (3, 1, 1) of a face's skin in soft light."""
    base = ramp(SKIN_STOPS, a.skin_tone)
    pink, golden = rgb(255, 244, 244), rgb(252, 247, 228)
    return base * mix(pink, golden, a.skin_warmth)


def shadow_color(base):
    """What the same skin looks like in shadow: warmer, since light travels through it."""
    return base * unit_rgb(0.68, 0.49, 0.44)


def light_direction(a):
    """Unit vector (x, y, z) toward the light: from above, in front, and from one side."""
    direction = np.array([1.0 * a.light, -0.55, 0.85])
    return (direction / np.linalg.norm(direction)).astype(np.float32)


def paint_neck(canvas, head, a, face_mask):
    """Neck with the chin's shadow, before the face; class background, as LaPa labels the face only.

    Gives its mask (h, w).
    """
    middle = head.across(0, -0.02)
    width = mix(0.146, 0.102, a.gender)
    side = [(width * 1.02, head.chin_y - 0.16), (width * 0.96, 0.84), (width, 0.9)]
    side += [(width * 1.25, 0.95), (width * 1.7, 1.06)]
    right = curve([(middle + x, y) for x, y in side], 40)
    left = right[::-1] * [-1, 1] + [2 * middle, 0]
    mask = canvas.polygon(np.vstack([right, left]))
    part = canvas.part(0, head.chin_y - 0.17, 1, 1.1)
    _shade_neck(part, a, middle, width, part.crop(mask), part.crop(face_mask))
    return mask


def _shade_neck(part, a, middle, width, mask, face_mask):
    base = skin_color(a)
    around = (part.x - middle) / width
    lit = 0.62 - 0.3 * around**2 + 0.28 * a.light * around
    part.paint(mix(shadow_color(base), base, np.clip(lit, 0, 1)), mask, BACKGROUND)
    tendon = np.exp(-(((np.abs(part.x - middle) - 0.03 - 0.45 * (0.97 - part.y)) / 0.012) ** 2))
    part.tint([0.86, 0.76, 0.73], mask * tendon * smoothstep(0.86, 0.95, part.y) * 0.6)
    shadow = part.blur(part.shifted(face_mask, 0, 0.045), 0.016)
    part.tint([0.62, 0.43, 0.4], mask * shadow * 0.85)


def paint_ears(canvas, head, a):
    """Both ears (class skin), behind the face's edge; hair may cover them later."""
    base = skin_color(a)
    for side in (-1, 1):
        if side * head.sin < -0.42:
            continue  # the far ear is hidden
        x = head.across(side * (head.half_width + 0.006), -0.005) + side * 0.004
        part = canvas.part(x - 0.06, 0.4, x + 0.06, 0.64)
        u, v = (part.x - x) * side, part.y - 0.515
        u = u + 0.16 * v  # the upper ear leans outward
        radius = np.hypot(u / 0.021, v / (0.062 - 0.008 * (v > 0)))
        mask = part.step((1 - radius) * 0.03)
        inner = bump(u, v, -0.002, -0.008, 0.012, 0.03) * 0.75
        rim = np.exp(-(((radius - 0.82) / 0.14) ** 2)) * 0.25
        tone = np.clip(0.72 - inner + rim + 0.2 * side * a.light, 0, 1)
        reddish = base * unit_rgb(1.0, 0.9, 0.88)
        part.paint(mix(shadow_color(base), reddish, tone), mask, SKIN)


def paint_face(canvas, head, a, seed, mask):
    """The modeled face (class skin) inside its mask (h, w)."""
    part = canvas.part(0.14, 0.1, 0.86, 0.9)
    inside = part.crop(mask)
    lit = _light(part, head, a) - 0.42 * np.maximum(0.9 - part.blur(inside, 0.03), 0)
    part.paint(_skin_tones(lit, part, head, a, stream(seed, "skin")), inside, SKIN)
    _blush(part, head, a, inside)
    _shine(part, head, a, inside)


def _relief(part, head, a):
    """Height (h, w) of the face toward the viewer, in frame units, up to a constant."""
    x, y = part.x, part.y
    middle = head.across(0, 0.02 + 0.08 * smoothstep(0.6, 0.82, y))
    across = (x - middle) / np.float32(head.half_width * 1.06)
    down = (y - 0.47) / np.float32(0.4)
    round_ = 0.19 * np.sqrt(np.maximum(1.02 - across**2 * 0.97 - 0.55 * down**2, 0.01))
    bony = mix(1.0, 0.35, a.gender)
    hills = [(0.0, head.brow_y + 0.004, 0.15, 0.16, 0.026, 0.006 * bony)]
    hills += [(0.0, head.chin_y - 0.05, 0.165, 0.05, 0.04, 0.011)]
    hills += [(0.0, head.mouth_y + 0.005, 0.165, 0.1, 0.055, 0.012)]
    for side in (-1, 1):
        hills += [(side * 0.135, 0.56, 0.115, 0.07, 0.06, 0.008 + 0.007 * a.smile)]
        hills += [(side * head.eye_x * 0.96, head.eye_y + 0.002, 0.14, 0.06, 0.036, -0.008)]
    for hx, hy, depth, sx, sy, height in hills:
        round_ += np.float32(height) * bump(x, y, np.float32(head.across(hx, depth)), hy, sx, sy)
    return round_ + _nose_relief(part, head, a)


def _nose_relief(part, head, a):
    """The nose's height (h, w): a ridge that grows to the tip, and two wings."""
    x, y = part.x, part.y
    base = head.nose_y
    grow = smoothstep(head.eye_y - 0.03, base - 0.02, y)
    end = 1 - smoothstep(base - 0.016, base + 0.012, y)
    end = end * smoothstep(head.brow_y, head.eye_y + 0.02, y)
    ridge_x = head.across(0, FEATURE_RIDGE + 0.07 * grow)
    wide = 1 + 0.5 * (a.nose_width - 0.5) - 0.1 * a.gender
    ridge = np.exp(-(((x - ridge_x) / (np.float32(0.021 * wide) + 0.012 * grow)) ** 2))
    height = (0.01 + 0.024 * grow) * ridge * end
    tip_x = head.across(0, 0.215)
    height = height + 0.012 * bump(x, y, tip_x, base - 0.026, 0.024 * wide, 0.02)
    for side in (-1, 1):
        wing = head.across(side * 0.033 * wide, 0.175)
        height = height + 0.010 * bump(x, y, wing, base - 0.016, 0.014, 0.015)
    return height


FEATURE_RIDGE = 0.155  # Z of the nose's bridge between the eyes


def _light(part, head, a):
    """Light (h, w), about 0 in shadow to 1 facing the light; and a gloss for highlights."""
    height = part.blur(_relief(part, head, a), 0.0045)
    step = {"ksize": 1, "scale": 0.5 * part.side}
    columns, rows = (cv2.Sobel(height, -1, dx, 1 - dx, **step) for dx in (1, 0))
    z = 1 / np.sqrt(1 + rows**2 + columns**2)
    # gradients run along the frame, and so does the light: it does not roll with the head
    direction = light_direction(a)
    facing = (-columns * direction[0] - rows * direction[1] + direction[2]) * z
    return facing


def _skin_tones(lit, part, head, a, rng):
    """Color (3, h, w) of lit skin: shadow, base and light, warmed where light turns to shadow."""
    base = skin_color(a)
    blotches = noise(rng, lit.shape, (9, 9)) * np.float32(0.012 + 0.02 * max(a.age - 0.4, 0))
    t = smoothstep(-0.12, 0.97, lit + blotches)
    color = mix(shadow_color(base), base, np.clip(t * 1.35, 0, 1))
    light = mix(base, unit_rgb(1.0, 0.97, 0.93), 0.34 - 0.12 * a.skin_tone)
    color = mix(color, light, smoothstep(0.72, 1.02, lit) * 0.85)
    turning = np.exp(-(((lit - 0.42) / 0.16) ** 2)) * 0.06
    return color * (1 - turning * unit_rgb(0.0, 0.75, 0.9))


def _blush(part, head, a, inside):
    """Rosy cheeks, nose tip and chin; more with make-up."""
    amount = 0.16 + 0.3 * a.makeup
    for side in (-1, 1):
        x = head.across(side * 0.142, 0.11)
        cheek = bump(part.x, part.y, x, 0.58, 0.062 * head.cos, 0.042)
        part.tint([0.98, 0.72, 0.72], inside * cheek * amount)
    tip = bump(part.x, part.y, head.across(0, 0.22), head.nose_y - 0.02, 0.03, 0.02)
    part.tint([0.98, 0.84, 0.83], inside * tip * 0.3)


def _shine(part, head, a, inside):
    """Light that collects on forehead, cheekbones and chin, and the hollow below the cheeks."""
    spots = [
        (0.0, 0.31, 0.14, 0.09, 0.05, 0.2),
        (0.0, head.chin_y - 0.045, 0.15, 0.03, 0.018, 0.16),
    ]
    for side in (-1, 1):
        toward = 1 + 0.6 * side * a.light
        spots += [(side * 0.12, 0.525, 0.12, 0.045, 0.018, 0.26 * toward)]
        hollow = bump(part.x, part.y, head.across(side * 0.165, 0.08), 0.655, 0.05, 0.06)
        part.tint([0.82, 0.66, 0.62], inside * hollow * (0.5 - 0.2 * a.smile))
    for hx, y, depth, sx, sy, amount in spots:
        spot = bump(part.x, part.y, head.across(hx, depth), y, sx, sy)
        part.paint(unit_rgb(1, 0.96, 0.9), inside * spot * (amount * (0.8 - 0.35 * a.skin_tone)))


def paint_nose(canvas, head, a):
    """Nostrils, wings and the nose's class."""
    wide = (1 + 0.5 * (a.nose_width - 0.5) - 0.1 * a.gender) * 1.0
    base, part = head.nose_y, canvas.part(0.34, 0.42, 0.66, 0.64)
    part.classes[part.polygon(_nose_outline(head, wide)) > 0.5] = NOSE
    shade = shadow_color(skin_color(a)) * 0.55
    under = bump(part.x, part.y, head.across(0, 0.19), base + 0.01, 0.034 * wide, 0.008)
    part.tint([0.74, 0.6, 0.58], under * 0.45)
    for side in (-1, 1):
        x = head.across(side * 0.0175 * wide, 0.195)
        u, v = part.x - x, part.y - (base - 0.0035) - side * (part.x - x) * -0.35
        hole = part.blur(part.step((1 - np.hypot(u / (0.0105 * wide), v / 0.0048)) * 0.006), 0.0012)
        part.paint(shade, hole * (0.85 if side * head.sin > -0.25 else 0.4))
        wing_x = head.across(side * 0.041 * wide, 0.16)
        points = [(0.002, -0.034), (0.0045, -0.02), (0.002, -0.008), (-0.008, -0.002)]
        crease = part.lines(
            [curve([(wing_x + side * px, base + py) for px, py in points], 20)], 0.005
        )
        part.tint([0.7, 0.52, 0.49], part.blur(crease, 0.003) * 0.65)
    gloss = bump(
        part.x, part.y, head.across(0.006 * np.sign(a.light), 0.225), base - 0.029, 0.008, 0.007
    )
    part.paint(unit_rgb(1, 0.97, 0.94), gloss * (0.4 - 0.1 * a.skin_tone))


def _nose_outline(head, wide):
    """The nose's region (n, 2): from between the eyes to the wings and the base."""
    rows = [(0.012, head.eye_y, 0.155), (0.016, 0.51, 0.17), (0.026 * wide, 0.55, 0.185)]
    base = head.nose_y
    rows += [(0.042 * wide, base - 0.025, 0.165), (0.042 * wide, base - 0.006, 0.165)]
    rows += [(0.022 * wide, base + 0.007, 0.185), (0.0, base + 0.008, 0.2)]
    right = [(head.across(x, z), y) for x, y, z in rows]
    left = [(head.across(-x, z), y) for x, y, z in rows]
    return np.vstack([right, left[::-1]])


def paint_age(canvas, head, a):
    """Folds and wrinkles that come with age, drawn as soft dark lines with a lit side."""
    strength = smoothstep(0.32, 0.92, a.age)
    fold = 0.12 * (0.35 + a.smile) + 0.9 * strength
    part = canvas.part(0.18, 0.18, 0.82, 0.86)
    _crease(part, _nasolabial(head, a), 0.008, 0.5 * fold, 0.007)
    if strength <= 0.01:
        return
    _crease(part, _forehead(head), 0.007, 0.42 * strength, 0.006)
    _crease(part, _crows_feet(head), 0.004, 0.6 * strength, 0.0035)
    _crease(part, _eye_bags(head), 0.007, 0.6 * strength, 0.006)
    _crease(part, _marionette(head), 0.006, 0.55 * strength, 0.006)


def _crease(part, curves, width, amount, soft):
    """Darken along curves and lighten just below them."""
    lines = part.blur(part.lines(curves, width), soft)
    part.tint([0.66, 0.5, 0.46], lines * amount)
    part.paint(unit_rgb(1, 0.95, 0.9), part.shifted(lines, 0, 0.007) * amount * 0.16)


def _mirrored(head, points, depth=0.15):
    """The same curve on both halves of the face."""
    points = np.asarray(points)
    return [curve(head.on_face(side * points[:, 0], points[:, 1], depth), 24) for side in (-1, 1)]


def _nasolabial(head, a):
    y, out = head.nose_y, 0.008 * a.smile
    low = head.mouth_y
    return _mirrored(
        head, [(0.05, y - 0.02), (0.072 + out, y + 0.02), (0.09 + out, low - 0.01)], 0.17
    )


def _marionette(head):
    y = head.mouth_y
    return _mirrored(head, [(0.092, y + 0.015), (0.1, y + 0.045), (0.1, y + 0.07)], 0.16)


def _eye_bags(head):
    y, x = head.eye_y, head.eye_x
    return _mirrored(head, [(x - 0.045, y + 0.03), (x - 0.005, y + 0.05), (x + 0.04, y + 0.04)])


def _crows_feet(head):
    y, x = head.eye_y, head.eye_x + head.eye_half + 0.012
    rays = [_mirrored(head, [(x, y + d * 0.3), (x + 0.028, y + d)]) for d in (-0.016, 0.004, 0.022)]
    return [line for pair in rays for line in pair]


def _forehead(head):
    top = head.hairline_y
    rows = [mix(top, head.brow_y, t) for t in (0.42, 0.6, 0.77)]
    x = np.linspace(-0.1, 0.1, 7)
    return [curve(head.on_face(x, y + 0.004 * np.cos(x * 27), 0.14, 1.2), 30) for y in rows]


def paint_beard(canvas, head, a, hair_base, seed):
    """Stubble to full beard with moustache (class skin, as LaPa has no beard)."""
    if a.beard < 0.03:
        return
    part = canvas.part(0.2, 0.55, 0.8, 0.9)
    x, y = np.abs(head.along(part.x, 0.14, 1.2)), part.y
    low = smoothstep(0.6, 0.72, y + 0.35 * (x - 0.12))
    around = np.hypot(x / 0.088, (y - np.float32(head.mouth_y + 0.004)) / 0.05)
    jaw = low * smoothstep(0.95, 1.3, around)  # clear around the lips
    lip = (1 - smoothstep(0.055, 0.1, x + 0.5 * (head.mouth_y - y))) * smoothstep(
        head.nose_y + 0.004, head.nose_y + 0.045, y
    )
    lip = lip * (1 - smoothstep(head.mouth_y - 0.012, head.mouth_y + 0.006, y))
    corner = bump(x, y, 0.092, head.mouth_y + 0.02, 0.018, 0.05)
    area = np.clip(np.maximum(np.maximum(jaw, lip), corner), 0, 1)
    area = area * (part.classes == SKIN)
    grain = noise(stream(seed, "beard"), x.shape, (100, 200)) * 0.1
    full = smoothstep(0.25, 0.75, a.beard)
    alpha = np.clip(area * (0.25 + 0.62 * full + grain * (0.6 + full)), 0, 0.95)
    color = mix(mix(hair_base, rgb(48, 38, 34), 0.6), rgb(170, 164, 158), a.hair_grey * 0.8)
    part.paint(color * (1 + 0.25 * grain), part.blur(alpha.astype(np.float32), 0.002))
