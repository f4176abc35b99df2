"""Hair's own coordinates: u across the strands, v along them; and what waves and curls do there."""

from dataclasses import dataclass

import cv2
import numpy as np

from ohlora_lib.toyworld.canvas import look_up, mix, noise, smoothstep

TABLE = (32, 1024)  # strand table: rows along v, columns across u
REACH = 1.6  # v at the table's last row


@dataclass
class Flow:
    """Strand coordinates of every pixel: u in 0..1 across, v ≥ 0 along from the root."""

    u: np.ndarray
    v: np.ndarray
    offset: np.ndarray  # where each side's strands start in the table, in table columns


class Strands:
    """The textures of one head of hair: fine strands, locks and their waves."""

    def __init__(self, rng, curl):
        octaves = ((2, 26, 0.32 + 0.3 * (1 - curl)), (3, 70, 0.5), (5, 190, 0.5), (6, 420, 0.35))
        self.fine = sum(g * noise(rng, TABLE, (r, c)) for r, c, g in octaves)
        self.fine /= self.fine.std()
        self.locks = noise(rng, TABLE, (2, 44))
        self.jag = (
            noise(rng, (1, TABLE[1]), (0, 44))[0] + 0.45 * noise(rng, (1, TABLE[1]), (0, 150))[0]
        )
        loose, tight = (noise(rng, (1, TABLE[1]), (0, cells))[0] for cells in (14, 36))
        phase = 1.3 * loose / loose.std() + 0.5 * tight * smoothstep(0.5, 0.95, curl)
        self.phase = phase.astype(np.float32)
        self.curl = curl

    def columns(self, flow, shift=0, width=400):
        """Table columns (h, w) of a flow moved by `shift` in u: `width` columns for u = 1."""
        return flow.offset + (flow.u + shift) * np.float32(width)

    def read(self, table, columns, v):
        """A table's value (h, w) at strand coordinates."""
        rows = np.clip(v * np.float32((TABLE[0] - 1) / REACH), 0, TABLE[0] - 1).astype(np.float32)
        return cv2.remap(table, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    def read_line(self, line, columns):
        """A one-row table's value (h, w)."""
        rows = np.zeros_like(columns)
        return cv2.remap(line[None], columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    def wave(self, flow):
        """Sideways shift of the strands in u, and the wave's slope −1..1 that catches light."""
        angle = self._turns(flow.v) + self.read_line(self.phase, self.columns(flow))
        grown = smoothstep(0.03, 0.3, flow.v)
        amplitude = np.float32(0.11 * self.curl * mix(1, 0.6, self.curl))
        crest = np.cos(angle) + np.float32(0.3 * self.curl) * np.cos(2 * angle + 0.6)
        return amplitude * grown * np.sin(angle), crest * grown

    def edge_wave(self, flow):
        """The waves of a mass's edge, −1..1: the same for all strands of one side."""
        angle = self._turns(flow.v) + np.float32(0.7) * (flow.offset > 400)
        return np.sin(angle + 1.5 * np.sin(angle * np.float32(0.31))) * smoothstep(
            0.03, 0.3, flow.v
        )

    def _turns(self, v):
        return v * np.float32(2 * np.pi / mix(0.34, 0.095, self.curl**0.8))


def parted_flow(x, y, part_x, middle, half, temple_y, top_y, flare, rng):
    """Strands that leave a parting line at `part_x`, in concentric ellipses, and then fall down.

    u is 1 at the outline (`half` from `middle`), whatever side the parting is on.
    """
    right = x >= part_x
    reach = np.where(right, middle + half - part_x, part_x - middle + half).astype(np.float32)
    below = np.maximum(y - temple_y, 0)
    across = np.abs(x - np.float32(part_x)) / (reach * (1 + np.float32(flare) * below))
    up = np.maximum(temple_y - y, 0) / np.float32(temple_y - top_y)
    u = np.hypot(across, up)
    v = 0.36 * np.arctan2(across, up) * np.clip(u, 0.3, 1.2) / (np.pi / 2) + below
    u = u + 0.03 * look_up(noise(rng, (64, 64), (4, 4)), x, y) * smoothstep(0.05, 0.4, v)
    offset = np.where(right, np.float32(530), np.float32(20))
    return Flow(u.astype(np.float32), v.astype(np.float32), offset)


def swept_flow(x, y, middle, root_y, slant, rng):
    """Strands brushed up and back from the forehead: a fan about a point below it."""
    dx, dy = x - np.float32(middle), np.float32(root_y) - y
    angle = np.arctan2(dx, np.maximum(dy, 0.02))
    v = np.hypot(dx, dy) - np.float32(0.2)
    u = (
        0.5
        + angle * np.float32(0.45)
        + np.float32(slant) * v
        + 0.03 * look_up(noise(rng, (64, 64), (4, 4)), x, y)
    )
    return Flow(u.astype(np.float32), np.maximum(v, 0), np.full_like(u, 20, np.float32))


def fringe_flow(x, y, root_x, top_y, low_y, slant):
    """Strands that fan from the crown down over the forehead."""
    down = np.clip((y - np.float32(top_y)) / np.float32(low_y - top_y), 0, 1.3)
    spread = 0.45 + 0.55 * smoothstep(0, 0.9, down)
    u = 0.5 + (x - np.float32(root_x) - np.float32(slant) * down**2) / (0.5 * spread)
    return Flow(
        u.astype(np.float32), (down * 0.3).astype(np.float32), np.full_like(u, 250, np.float32)
    )
