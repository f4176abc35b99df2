"""Latents whose scores follow planted directions, other ones in every group."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering.groups import Grouping, median_grouping
from ohlora_lib.steering.meters import MeterSet, Reading, StandardizedMeter, score_table
from ohlora_lib.steering.sampling import Sampler, latents

SIZE = 24


class Planted(NamedTuple):
    vectors: np.ndarray  # (N, D)
    scores: pd.DataFrame  # hair and background along the first axes, the expression along the rest
    grouping: Grouping
    truth: np.ndarray  # (8, 3, D), unit length


@pytest.fixture(scope="session")
def planted() -> Planted:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((12_000, SIZE)).astype(np.float32)
    scores = pd.DataFrame(vectors[:, : len(V7)].astype(float), columns=list(V7))
    grouping = median_grouping(scores, V7)
    truth = np.zeros((8, 3, SIZE))
    for group in truth:
        group[:, len(V7) :] = np.linalg.qr(rng.standard_normal((SIZE - len(V7), 3)))[0].T
    followed = np.einsum("nd,npd->np", vectors, truth[grouping.indices(scores)])
    scores[list(EXPRESSION)] = followed + 0.5 * rng.standard_normal(followed.shape)
    return Planted(vectors, scores, grouping, truth)


def cosines(directions: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(…, D) and (…, D) -> (…)."""
    lengths = np.linalg.norm(directions, axis=-1) * np.linalg.norm(truth, axis=-1)
    return (directions * truth).sum(axis=-1) / lengths


PROPERTIES = (*EXPRESSION, *V7, "background_std", "hairstyle")


class PlantedSampler(Sampler):
    """Makes images that show their scores: a row of pixels for each, and the background below.

    Scores are read-outs of w that level off, so a latent at an end has no room left; `entangled`
    makes them go together, as in a real generator.
    """

    def __init__(self, entangled: float = 0.6, level: float = 2.5):
        small = GeneratorConfig(16, SIZE, SIZE, fmaps_base=16, fmaps_max=8)
        super().__init__(Generator(small, seed=2).eval())
        rng = np.random.default_rng(4)
        readouts = np.linalg.qr(rng.standard_normal((SIZE, len(PROPERTIES) + 1)))[0]
        mixed = readouts[:, :8] + entangled * rng.standard_normal((SIZE, 8)) / SIZE**0.5
        object.__setattr__(self, "readouts", np.concatenate([mixed, readouts[:, 8:]], axis=1))
        object.__setattr__(self, "level", level)

    def vectors(self, z, layer="w", label=None):
        return np.asarray(z, np.float32)

    def scores(self, vectors):
        return self.level * np.tanh(vectors @ self.readouts / self.level)

    def images(self, vectors, layer="w", unedited=None, styles=None):
        shown = np.repeat(self.scores(vectors), [1] * 8 + [8], axis=1)  # 16 rows
        return np.tile(
            (128 + 40 * shown).clip(0, 255).round().astype(np.uint8)[:, :, None, None], (16, 3)
        )


class Rows(NamedTuple):
    """A meter that reads the rows, and may misread them."""

    noise: float = 0.0
    properties: tuple[str, ...] = PROPERTIES

    def __call__(self, images):
        scores = (images[:, :8, 0, 0].astype(float) - 128) / 40
        wrong = np.random.default_rng(images[:, 8:].sum()).standard_normal(scores.shape)
        background = np.zeros(images.shape[:3], bool)
        background[:, 8:] = True
        return Reading(scores + self.noise * wrong, background)


class Bystander(NamedTuple):
    """An identity meter: the identity is the background; filters are read off the first rows."""

    filters: tuple[str, ...] = ("gender", "quality", "age", "glass")

    def __call__(self, images):
        filters = images[:, :4, 0, 0] / 255.0
        return filters, images[:, 8:, 0, 0] / 40.0


@pytest.fixture(scope="session")
def sampler() -> PlantedSampler:
    return PlantedSampler()


@pytest.fixture(scope="session")
def meters(sampler) -> MeterSet:
    images = sampler.images(latents(11, range(512), SIZE))
    return MeterSet(
        StandardizedMeter.fit(Rows(), Rows()(images).scores),
        StandardizedMeter.fit(Rows(0.3), Rows(0.3)(images).scores),
        Bystander(),
        background=60.0,
    )


@pytest.fixture(scope="session")
def sampled(sampler, meters) -> tuple[np.ndarray, pd.DataFrame]:
    """4,000 vectors and their scores."""
    vectors = sampler.vectors(latents(12, range(4000), SIZE))
    seen = meters.cnn(sampler.images(vectors))
    return vectors, score_table(meters.cnn, seen)
