"""The published scores, by simple direct formulas on the true maps, follow the attributes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ohlora_lib.faces.classes import (
    BACKGROUND,
    HAIR,
    INNER_MOUTH,
    LEFT_EYE,
    LOWER_LIP,
    NOSE,
    RIGHT_EYE,
    UPPER_LIP,
)
from ohlora_lib.toyworld import FaceAttributes, face, render

WOMAN = FaceAttributes(hair_length=0.7)
STEPS = np.linspace(0, 1, 6)


def eye_height(one):
    """Tallest column of either eye, in rows of a 224 map."""
    return max((_large(one)[0] == eye).sum(0).max() for eye in (LEFT_EYE, RIGHT_EYE))


def mouth_share(one):
    counts = [(_large(one)[0] == c).sum() for c in (UPPER_LIP, INNER_MOUTH, LOWER_LIP)]
    return counts[1] / max(sum(counts), 1)


def eye_slope(one):
    centers = [np.argwhere(_large(one)[0] == eye).mean(0) for eye in (LEFT_EYE, RIGHT_EYE)]
    dy, dx = centers[1] - centers[0]
    return dy / dx


def nose_lean(one):
    rows, columns = np.nonzero(_large(one)[0] == NOSE)
    return -np.corrcoef(columns, rows)[0, 1]


def hair_rows(one):
    """Rows below the top quarter with 20 hair pixels or more, and the width of the last row."""
    counts = (_large(one)[0] == HAIR).sum(1)
    return (counts[56:] >= 20).sum() + max(counts[223] - 20, 0) / 2


def hair_light(one):
    return np.median(one.image.mean(-1)[one.parse_map == HAIR])


def background_mean(one):
    upper = one.parse_map.shape[0] // 2
    return one.image[:upper].mean(-1)[one.parse_map[:upper] == BACKGROUND].mean()


def hairstyle(one):
    """Change down over change across, 8 pixels apart, over hair in the lower half of a 224 map."""
    parse_map, image = _large(one)
    light = cv2.boxFilter(image.mean(-1), -1, (4, 4))
    hair = cv2.erode((parse_map == HAIR).astype(np.uint8), np.ones((5, 5))) > 0
    y, x = np.mgrid[112:212, 8:212]
    offsets = ((0, 0), (8, 0), (0, -8), (0, 8))
    here, below, left, right = (light[y + dy, x + dx] for dy, dx in offsets)
    whole = np.logical_and.reduce([hair[y + dy, x + dx] for dy, dx in offsets])
    across = np.maximum(np.abs(here - left), np.abs(here - right)) + 5
    return (np.abs(here - below) / across)[whole].mean() if whole.any() else 0.45


def _large(one):
    large = cv2.resize(one.parse_map, (224, 224), interpolation=cv2.INTER_NEAREST)
    return large, cv2.resize(one.image, (224, 224)).astype(np.float32)


SCORES = {
    # name: (score, attribute, least correlation over random faces)
    "eyes": (eye_height, "eyes", 0.94),
    "mouth": (mouth_share, "mouth", 0.94),
    "pose": (eye_slope, "pose", 0.94),
    "pose, by the nose": (nose_lean, "pose", 0.85),
    "hair color": (hair_light, "hair_color", 0.95),
    "hair length": (hair_rows, "hair_length", 0.95),
    "background": (background_mean, "background_mean", 0.98),
    "hairstyle": (hairstyle, "curl", 0.75),
}


@pytest.fixture(scope="module")
def people():
    return [face(8, index, 128) for index in range(150)]


@pytest.mark.parametrize("name", SCORES)
def test_score_follows_its_attribute_over_random_faces(people, name):
    score, attribute, least = SCORES[name]
    truth = [getattr(one.attributes, attribute) for one in people]
    assert np.corrcoef([score(one) for one in people], truth)[0, 1] >= least


@pytest.mark.parametrize("name", [name for name in SCORES if name != "hairstyle"])
def test_score_rises_with_its_attribute_on_one_face(name):
    score, attribute, _ = SCORES[name]
    values = 2 * STEPS - 1 if attribute == "pose" else STEPS
    rising = [score(render(replace(WOMAN, **{attribute: v}), 3, 256)) for v in values]
    assert np.diff(rising).min() > 0, rising


def test_curlier_hair_scores_higher_on_average():
    means = [
        np.mean([hairstyle(render(replace(WOMAN, curl=v), seed, 128)) for seed in range(4)])
        for v in (0.0, 0.35, 0.7, 1.0)
    ]
    assert np.diff(means).min() > 0.03, means
