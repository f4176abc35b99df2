"""The head's geometry: where each feature lies in the image, given the face and its turn.

The head is a surface in its own coordinates: X to the image's right from its middle, y as in the
frame, Z toward the viewer. A turn shows X·cos − Z·sin; the whole is moved so that the face's
features stay centered, as they are in aligned photographs.
"""

from dataclasses import dataclass

import numpy as np

from ohlora_lib.toyworld.canvas import curve, mix

FEATURE_DEPTH = 0.15  # Z of the plane of features that alignment keeps in the middle
EXTREME_TURN = np.deg2rad(33)  # the turn at pose = 1
ROLL_PER_POSE = np.deg2rad(10)  # the roll that goes with it


@dataclass(frozen=True)
class Head:
    """Landmarks in head coordinates of one face; see `build_head`."""

    cos: float
    sin: float
    eye_y: float
    eye_x: float  # distance of each eye's center from the middle
    eye_half: float  # half-width of an eye
    brow_y: float
    nose_y: float  # base of the nose
    mouth_y: float  # line between the lips
    chin_y: float
    hairline_y: float
    half_width: float  # at the cheekbones

    def across(self, head_x, depth):
        """Image x of a point of the head."""
        return 0.5 + head_x * self.cos - (depth - FEATURE_DEPTH) * self.sin

    def along(self, x, depth=FEATURE_DEPTH, bend=1.9):
        """Head X of pixels at image x on a surface Z = depth − bend·X² (undoes the turn)."""
        target = x - np.float32(0.5 - (depth - FEATURE_DEPTH) * self.sin)
        cos, k = np.float32(self.cos), np.float32(bend * self.sin)
        inside = np.sqrt(np.maximum(cos * cos + 4 * k * target, 1e-4))
        return 2 * target / (cos + inside)  # the stable root of cos·X + k·X² = target

    def on_face(self, head_x, y, depth=FEATURE_DEPTH, bend=1.9):
        """Image points (n, 2) of head points on that surface."""
        head_x = np.asarray(head_x, np.float64)
        x = self.across(head_x, depth - bend * head_x**2)
        return np.stack(np.broadcast_arrays(x, y), -1)


def head_roll(a):
    """Roll in radians, clockwise: most of it goes with the turn."""
    return a.pose * ROLL_PER_POSE + np.deg2rad(a.roll)


def build_head(a):
    """The landmarks of a face with attributes `a`."""
    turn = a.pose * EXTREME_TURN
    female = a.gender
    length = 0.03 * (a.face_length - 0.5)
    nose_y = 0.592 + 0.02 * (a.nose_length - 0.5) + 0.3 * length
    return Head(
        cos=float(np.cos(turn)),
        sin=float(np.sin(turn)),
        eye_y=0.462,
        eye_x=0.1 + 0.012 * (a.eye_spacing - 0.5),
        eye_half=mix(0.0565, 0.0645, female) + 0.008 * (a.eye_size - 0.5),
        brow_y=mix(0.405, 0.39, female) + 0.006 * a.age,
        nose_y=nose_y,
        mouth_y=0.674 + 0.3 * (nose_y - 0.592) + 0.4 * length,
        chin_y=mix(0.817, 0.804, female) + length + 0.022 * a.mouth,
        hairline_y=0.213 + 0.056 * a.hairline,
        half_width=mix(0.229, 0.224, female) + 0.022 * (a.face_width - 0.5),
    )


def face_outline(head, a, samples=160):
    """Closed outline (n, 2) of skull and face in head coordinates."""
    y, w, depth = _profile(head, a)
    widen = np.sqrt(head.cos**2 + 0.72 * head.sin**2)
    middle = head.across(0, depth)
    toward = head.sin  # > 0: nose to the image's left, so the left half is the far one
    bone = np.exp(-(((y - 0.53) / 0.05) ** 2)) - 1.4 * np.exp(-(((y - 0.44) / 0.04) ** 2))
    left = middle - w * widen * (1 - 0.05 * toward) - 0.012 * bone * max(toward, 0)
    right = middle + w * widen * (1 + 0.05 * toward) + 0.012 * bone * max(-toward, 0)
    points = np.vstack([np.stack([right, y], -1), np.stack([left, y], -1)[::-1][1:-1]])
    return curve(points, samples, closed=True)


def _profile(head, a):
    """Rows y, half-widths and depths of the outline's middle, from the skull's top to the chin."""
    w = head.half_width
    jaw = mix(0.785, 0.675, a.gender) + 0.12 * (a.jaw - 0.5) + 0.05 * max(a.age - 0.5, 0)
    chin = mix(0.43, 0.31, a.gender) + 0.12 * (a.jaw - 0.5)
    drop = head.chin_y - 0.81
    rows = [0.125, 0.135, 0.19, 0.29, 0.40, 0.52, 0.61, 0.695 + 0.6 * drop, 0.76 + 0.9 * drop]
    rows += [0.793 + drop, 0.806 + drop, 0.81 + drop]
    widths = [
        0.0,
        0.27,
        0.68,
        0.85,
        0.965,
        1.0,
        mix(0.935, 0.9, a.gender),
        jaw,
        jaw * 0.52 + chin * 0.42,
        chin * 0.88,
        chin * 0.45,
        0.0,
    ]
    depth = [0.0, 0.0, 0.0, 0.01, 0.02, 0.03, 0.04, 0.055, 0.085, 0.105, 0.11, 0.11]
    return np.array(rows), w * np.array(widths), np.array(depth)


def face_edges(head, a, rows):
    """Left and right x of the face's outline at given rows."""
    outline = face_outline(head, a, 200)
    middle = head.across(0, 0.03)
    sides = []
    for half in (outline[outline[:, 0] < middle], outline[outline[:, 0] >= middle]):
        order = np.argsort(half[:, 1])
        sides.append(np.interp(rows, half[order, 1], half[order, 0]))
    return sides
