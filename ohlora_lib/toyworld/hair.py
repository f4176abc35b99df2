"""Hair: masses with an outline, an opening for the face, and strands that follow the head.

The back mass is painted before the neck, the front mass and the fringe after the face.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ohlora_lib.faces.classes import HAIR
from ohlora_lib.toyworld.canvas import curve, mix, ramp, rgb, smoothstep, stream, unit_rgb
from ohlora_lib.toyworld.face import light_direction, skin_color
from ohlora_lib.toyworld.head import face_edges
from ohlora_lib.toyworld.strands import Strands, fringe_flow, parted_flow, swept_flow

TEMPLE_Y = 0.42  # where strands start to hang
PIGMENT = (
    np.array(
        [
            (20, 16, 17),
            (54, 36, 29),
            (92, 60, 40),
            (136, 96, 62),
            (186, 145, 95),
            (226, 194, 142),
            (246, 236, 216),
        ],
        np.float32,
    )
    / 255
)
RED = rgb(176, 82, 40)


def hair_color(a):
    """Base color (3, 1, 1): its lightness is `hair_color`, whether by pigment or by gray."""
    base = ramp(PIGMENT, a.hair_color)
    light = base.mean()
    ginger = RED * (light / RED.mean())
    amount = 0.75 * max(a.hair_warmth - 0.6, 0) / 0.4
    base = mix(base, np.clip(ginger, 0, 1), amount * (1 - abs(2 * a.hair_color - 0.8)) * 0.9)
    base = mix(base, light, 0.6 * max(0.4 - a.hair_warmth, 0))
    base = mix(base, light * unit_rgb(0.99, 1.0, 1.02), 0.92 * a.hair_grey)
    return np.clip(base * (light / base.mean()), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Cut:
    """The measures of a haircut, in frame units."""

    middle: float  # the skull's axis
    part_x: float
    half: float  # half-width of the outline at the temples
    top_y: float
    tip_y: float  # where the hair ends
    flare: float  # how the outline widens below the temples
    long: float  # 0 cropped .. 1 falls below the ears
    swept: bool


def build_cut(head, a):
    """A face's haircut."""
    long = float(smoothstep(0.15, 0.4, a.hair_length))
    swept = a.sweep > 0.5 and a.hair_length < 0.3
    volume = 0.6 * a.hair_volume + 0.4 * a.curl
    widen = float(np.sqrt(head.cos**2 + 1.1 * head.sin**2))
    short_side = 0.006 + 0.02 * a.curl
    return Cut(
        middle=head.across(0, -0.04),
        part_x=head.across(0.115 * a.parting, 0.07),
        half=head.half_width * widen + mix(short_side, 0.028 + 0.05 * volume, long),
        top_y=0.118 - mix(0.02, 0.034, long) - 0.04 * volume - 0.006 * swept,
        tip_y=0.4 + 0.75 * a.hair_length,
        flare=mix(0.0, 0.1 + 0.5 * a.curl * volume, long),
        long=long,
        swept=swept,
    )


def _box(cut):
    """What the hair can reach: x0, y0, x1, y1."""
    reach = cut.half * (1.2 + 0.6 * cut.flare)
    low = min(cut.tip_y + 0.1, 1.2)
    return cut.middle - reach, cut.top_y - 0.03, cut.middle + reach, low


class Hair:
    """One head of hair on a canvas: masks and painted colors, made once, laid in two steps."""

    def __init__(self, canvas, head, a, seed):
        self.head, self.a = head, a
        self.cut = build_cut(head, a)
        self.canvas = canvas.part(*_box(self.cut))
        self.rng = stream(seed, "hair")
        self.strands = Strands(self.rng, a.curl)
        self.base = hair_color(a)
        self.flow = self._flow()
        self.shift, self.slope = self.strands.wave(self.flow)
        self.edge = self.strands.edge_wave(self.flow)
        self.columns = self.strands.columns(self.flow, self.shift)
        self.texture = self.strands.read(self.strands.fine, self.columns, self.flow.v)
        self.front = self._front_mask()

    def _flow(self):
        c, cut = self.canvas, self.cut
        if cut.swept:
            return swept_flow(c.x, c.y, cut.middle, 0.56, -0.9 * self.a.parting, self.rng)
        return parted_flow(
            c.x, c.y, cut.part_x, cut.middle, cut.half, TEMPLE_Y, cut.top_y, cut.flare, self.rng
        )

    def _outline(self, half):
        """Signed distance (h, w) to a dome that hangs down: positive inside."""
        c, cut = self.canvas, self.cut
        below = np.maximum(c.y - TEMPLE_Y, 0)
        up = np.maximum(TEMPLE_Y - c.y, 0) / np.float32(TEMPLE_Y - cut.top_y)
        full = np.float32(0.11 * cut.long) * np.sin(np.minimum(below * 7, np.pi))
        width = half * (1 + np.float32(cut.flare) * below + full)
        wobble = self.edge * np.float32(0.045 * self.a.curl * half)
        across = np.abs(c.x - np.float32(cut.middle) + wobble * np.sign(c.x - cut.middle))
        aside, up = (across / width) ** 2, up**2  # the dome is a little squarer than round
        radius = np.sqrt(np.maximum(aside + up - 0.18 * aside * up, 0))
        return (1 - radius) * width + 0.0022 * self.texture  # strands feather the edge

    def _ends(self, amount):
        """Signed distance (h, w) above the tips, which end lock by lock."""
        jag = self.strands.read_line(self.strands.jag, self.strands.columns(self.flow))
        edge = np.abs(self.canvas.x - np.float32(self.cut.middle)) / np.float32(self.cut.half)
        low = self.cut.tip_y + np.float32(amount) * jag - 0.05 * self.cut.long * edge**3
        return low - self.canvas.y

    def _front_mask(self):
        c, cut = self.canvas, self.cut
        roots = c.step(self._outline(np.float32(cut.half)))
        jag = mix(0.006, 0.01, cut.long)
        ends = np.clip(self._ends(jag) * np.float32(c.side * 0.3) + 0.5, 0, 1)
        opening = c.polygon(self._opening())
        moved = self.edge * np.float32(0.035 * self.a.curl * cut.half)
        moved = moved + self.texture * np.float32(0.0022)
        opening = c.displaced(opening, moved, 0.5 * moved)
        return roots * ends * (1 - opening)

    def _opening(self):
        """Closed outline (n, 2) of the face's opening in the hair."""
        head, a, cut = self.head, self.a, self.cut
        rows = np.array([0.33, 0.42, 0.52, 0.62])
        left, right = face_edges(head, a, rows)
        hide = mix(
            np.array([0.012, 0.0, -0.012, -0.04]), np.array([0.022, 0.022, 0.02, 0.014]), cut.long
        )
        hide = hide * (1.15 - 0.3 * a.age * (1 - a.gender))
        far = max(head.sin, 0), max(-head.sin, 0)
        left = left + hide * (1 - 1.5 * far[0])
        right = right - hide * (1 - 1.5 * far[1])
        part_x = cut.part_x if not cut.swept else head.across(0, 0.1)
        top = (part_x, head.hairline_y)
        sweep = 0.05 * abs(a.parting) * cut.long
        drape = cut.long * (1 - 0.55 * np.clip(a.fringe * 2, 0, 1))
        corner = mix(0.022, 0.055, drape) - 0.02 * a.hairline * (1 - a.gender)
        lines = []
        for x, side in ((left, -1), (right, 1)):
            longer = sweep * (side * a.parting < 0)
            near = mix(part_x, x[0], 0.4), head.hairline_y + 0.25 * corner + 0.3 * longer
            far_ = mix(part_x, x[0], 0.78), head.hairline_y + corner + 0.75 * longer
            lines.append([near, far_, *zip(x, rows, strict=True), *self._below(x[-1], side)])
        points = [*lines[0][::-1], top, *lines[1]]
        return curve(points, 160)

    def _below(self, x, side):
        """The opening's edge below the cheek: along the jaw to the neck, then over the shoulder."""
        out = 0.02 * side
        return [
            (x - 0.4 * out, 0.72),
            (x - 0.9 * out, 0.82),
            (x - 0.3 * out, 0.93),
            (x + out, 1.15),
        ]

    def paint_back(self):
        """The mass behind the neck."""
        if self.cut.long <= 0.02:
            return
        c = self.canvas
        inside = c.step(self._outline(np.float32(self.cut.half * 0.95)))
        ends = np.clip(self._ends(0.02) * np.float32(c.side * 0.3) + 0.5, 0, 1)
        depth = 0.34 + 0.1 * self.texture + 0.12 * np.abs(c.x - self.cut.middle) / self.cut.half
        c.paint(self._colors(np.clip(depth, 0.12, 0.7)), inside * ends, HAIR)

    def shade_face(self, skin):
        """The soft shadow of the front hair on face and neck, before the hair is laid."""
        c = self.canvas
        shadow = c.blur(c.shifted(self.front, -0.012 * self.a.light, 0.014), 0.011)
        c.tint([0.66, 0.5, 0.47], shadow * c.crop(skin) * (1 - self.front) * 0.75)

    def _colors(self, tone):
        """Hair color (3, h, w) for a tone: 0 deep shadow, about 0.6 the base, above 1 gloss."""
        base = self.base
        deep = base * (unit_rgb(0.3, 0.25, 0.25) + np.float32(0.14 * self.a.hair_color))
        gloss = mix(base, unit_rgb(1.0, 0.92, 0.82), 0.26) + 0.04
        color = mix(deep, base, np.clip(tone / 0.6, 0, 1))
        return mix(color, gloss, np.clip((tone - 0.6) / 0.6, 0, 1.2))

    def _volume(self, mask):
        """Light (h, w) on a mass of hair, from its rounded mask."""
        c = self.canvas
        soft = c.blur(mask, 0.022) + 0.6 * c.blur(mask, 0.05)
        columns, rows = (cv2.Sobel(soft, -1, dx, 1 - dx, ksize=1, scale=0.5) for dx in (1, 0))
        lx, ly, lz = light_direction(self.a)
        steep = np.float32(0.035 * c.side)
        z = 1 / np.sqrt(1 + (rows**2 + columns**2) * steep**2)
        return (-(columns * lx + rows * ly) * steep + lz) * z

    def _gloss(self):
        """The bright band around the crown where strands face the light, broken by strands."""
        v = self.flow.v
        lock = self.strands.read(self.strands.locks, self.columns, v)
        place = 0.15 if not self.cut.swept else 0.1
        band = np.exp(-(((v - place - 0.025 * lock) / 0.055) ** 2))
        second = 0.4 * np.exp(-(((v - 0.5 - 0.06 * lock) / 0.11) ** 2))
        lit = 0.75 + 0.5 * self.a.light * np.tanh((self.canvas.x - self.cut.middle) * 9)
        return (band + second) * lit * (0.65 + 0.35 * self.texture)

    def paint_front(self):
        """The front mass and, if there is one, the fringe (class hair)."""
        light = self._volume(self.front)
        vivid = np.float32(1.6 - 0.8 * self.a.hair_color)  # dark hair shows its strands by shine
        waves = self.slope * vivid * np.float32(0.36 * self.a.curl)
        strands = self.texture * vivid * np.float32(0.135 - 0.03 * self.a.curl)
        tone = 0.18 + 0.42 * light + strands + waves + 0.26 * self._gloss()
        tone = tone - 0.16 * self._root_shadow()
        self.canvas.paint(self._colors(np.clip(tone, 0.04, 1.35)), self.front, HAIR)
        self._parting_line()
        if self.a.fringe > 0.5 and not self.cut.swept:
            self._paint_fringe()

    def _root_shadow(self):
        """Darkness (h, w) where hair tucks behind the cheeks and neck."""
        c = self.canvas
        below = smoothstep(0.5, 0.8, c.y) * self.cut.long
        inner = np.abs(c.x - self.cut.middle) / self.cut.half
        return below * smoothstep(0.95, 0.6, inner) * 1.6

    def _parting_line(self):
        """A thin line of scalp."""
        if self.cut.swept or self.a.fringe > 0.75:
            return
        cut, c = self.cut, self.canvas
        line = curve(
            [(cut.part_x, self.head.hairline_y + 0.005), (cut.part_x, cut.top_y + 0.03)], 20
        )
        mask = c.blur(c.lines([line], 0.004), 0.0022)
        scalp = mix(skin_color(self.a) * 0.72, self.base, 0.45)
        c.paint(scalp, mask * self.front * smoothstep(cut.top_y, cut.top_y + 0.07, c.y) * 0.8)

    def _paint_fringe(self):
        """Hair over the forehead, with its shadow (class hair)."""
        head, a, c, strands = self.head, self.a, self.canvas, self.strands
        low = mix(head.hairline_y + 0.1, head.brow_y - 0.014, (2 * a.fringe - 1) ** 0.5)
        slant, middle = 0.09 * a.parting, head.across(0, 0.1)
        flow = fringe_flow(c.x, c.y, middle + 0.3 * slant, self.cut.top_y + 0.01, low, slant)
        shift, slope = strands.wave(flow)
        columns = strands.columns(flow, 0.6 * shift, 330)
        across = (c.x - middle) / np.float32(head.half_width * 0.98)
        mask = self._fringe_mask(across, low, strands.read_line(strands.jag, columns))
        shadow = c.blur(c.shifted(mask, 0, 0.014), 0.008) * (1 - mask) * (c.classes != HAIR)
        c.tint([0.66, 0.5, 0.47], shadow * 0.6)
        texture = strands.read(strands.fine, columns, flow.v)
        rise = 1 - ((c.y - self.cut.top_y) / (low - self.cut.top_y)) ** 2
        lock = strands.read(strands.locks, columns, flow.v)
        gloss = np.exp(-(((flow.v - 0.16 - 0.03 * lock) / 0.05) ** 2)) * (0.6 + 0.35 * texture)
        tone = 0.5 + 0.1 * rise + 0.12 * texture + 0.24 * gloss + slope * np.float32(0.18 * a.curl)
        tone = np.clip(tone + 0.1 * a.light * across, 0.1, 1.3)
        c.paint(self._colors(tone), mask, HAIR)

    def _fringe_mask(self, across, low, jag):
        """Mask (h, w) of hair from the crown down to about the row `low`, longer at the sides."""
        c, top_y = self.canvas, self.cut.top_y
        end = low + 0.075 * np.abs(across) ** 3 - 0.008 * jag - 0.01
        mask = np.clip((end - c.y) * np.float32(c.side * 0.3) + 0.5, 0, 1)
        mask = mask * c.step((1 - np.abs(across)) * 0.2) * smoothstep(0.0, 0.11, c.y - top_y)
        return mask * c.step(self._outline(np.float32(self.cut.half)))
