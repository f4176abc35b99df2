"""Segmented faces of every awkward kind, and their scores by loops over pixels."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from benchmarks.plain_scores import plain_scores

SIZE = 224
CLASSES = 11


class Faces(NamedTuple):
    names: np.ndarray
    maps: np.ndarray
    images: np.ndarray
    plain: pd.DataFrame


@pytest.fixture(scope="session")
def faces() -> Faces:
    rng = np.random.default_rng(5)
    maps = _simple_maps(rng) | _awkward_maps(rng)
    maps |= {f"scene {i}": _scene(rng) for i in range(8)}
    maps |= {f"noisy scene {i}": _noisy(rng, _scene(rng)) for i in range(4)}
    stacked = np.stack(list(maps.values()))
    images = np.stack([_image(rng, flat=i % 5 == 0) for i in range(len(maps))])
    pairs = zip(stacked, images, strict=True)
    plain = pd.DataFrame([plain_scores(*pair, whole_blocks=True) for pair in pairs])
    return Faces(np.array(list(maps)), stacked, images, plain)


def _simple_maps(rng):
    """One class all over (the eyes' own tests know what a map full of eye gives), or one pixel."""
    maps = {f"all {c}": np.full((SIZE, SIZE), c, np.uint8) for c in (0, 6, 8, 10)}
    maps["one pixel of each class"] = _blank()
    for c, place in enumerate(rng.integers(60, 140, (CLASSES, 2))):
        maps["one pixel of each class"][tuple(place)] = c
    return maps


def _awkward_maps(rng):
    """Eyes above each other, at one place, outside their windows; hair at the edges; thin noses."""
    maps = {"above": _blank(), "same place": _blank(), "outside": _blank(), "edges": _blank()}
    maps["above"][100:103, 90:99], maps["above"][120:123, 90:99] = 4, 5
    maps["same place"][100, 90:99:2], maps["same place"][100, 91:98:2] = 4, 5
    maps["outside"][80:90, 170:190], maps["outside"][80:90, 30:50] = 4, 5
    maps["edges"][112:, :20], maps["edges"][112:, 30:40], maps["edges"][112:, 205:] = 10, 10, 10
    maps["nose in a row"], maps["nose in a column"] = _blank(), _blank()
    maps["nose in a row"][120, 100:120], maps["nose in a column"][100:140, 111] = 6, 6
    for rows in (19, 20, 21):
        maps[f"{rows} hair pixels in the last row"] = _blank()
        maps[f"{rows} hair pixels in the last row"][180:, 102 : 102 + rows] = 10
    for number in (1, 2, 3, 19, 20, 21):
        maps[f"{number} pixels"] = _scatter(rng, _blank(), 0, number, slice(0, 112))
        maps[f"{number} pixels"] = _scatter(
            rng, maps[f"{number} pixels"], 10, number, slice(112, 224)
        )
    return maps


def _blank():
    return np.ones((SIZE, SIZE), np.uint8)


def _scatter(rng, parse_map, c, number, rows):
    places = rng.choice(SIZE * (rows.stop - rows.start), number, replace=False)
    parse_map[rows].flat[places] = c
    return parse_map


def _scene(rng):
    """Random discs and boxes of random classes: symmetric shapes have many equally far pixels."""
    parse_map = np.full((SIZE, SIZE), rng.choice([0, 1, 10]), np.uint8)
    y, x = np.mgrid[:SIZE, :SIZE]
    for c in rng.permutation([0, 0, 6, 7, 8, 9, 10, 10, 10, 4, 5, 4, 5]):
        small = c in (4, 5)
        middle = rng.integers(50, 170, 2) if small else rng.integers(0, SIZE, 2)
        radius = rng.integers(1, 12 if small else 70, 2)
        dy, dx = np.abs(y - middle[0]) / radius[0], np.abs(x - middle[1]) / radius[1]
        inside = (np.maximum(dy, dx) <= 1) if rng.random() < 0.5 else (dy**2 + dx**2 <= 1)
        parse_map[inside] = c
    return parse_map


def _noisy(rng, parse_map):
    """Some pixels of every class anywhere; few of eyes, as the loop compares all their pairs."""
    for share, first in ((0.03, 6), (0.01, 0)):
        noise = rng.integers(first, CLASSES, parse_map.shape, np.uint8)
        parse_map = np.where(rng.random(parse_map.shape) < share, noise, parse_map)
    return parse_map


def _image(rng, flat):
    """Any colors, or one color all over, where every difference is 0."""
    if flat:
        return np.broadcast_to(rng.integers(0, 256, 3, np.uint8), (SIZE, SIZE, 3)).copy()
    return rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
