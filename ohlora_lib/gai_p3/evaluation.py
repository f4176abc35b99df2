"""Evaluation of the conditional NVAE by meters that took no part in its training.

The annotator reads conditions; where it is installed, the external judge reads eyes, mouth and
head, too. Rendered faces, whose conditions are known, give the ceiling of both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from ohlora_lib.compute.workers import parallel_map
from ohlora_lib.gai_p3.judges import BLOCK
from ohlora_lib.measure.conditions import FROM_ATTRIBUTES, conditions_of
from ohlora_lib.measure.intervals import Interval, bootstrap, mean_interval
from ohlora_lib.measure.similarity import features, frechet_distance, neighborhoods
from ohlora_lib.models.nvae import CONDITIONS, NVAE
from ohlora_lib.models.stylegan import to_uint8
from ohlora_lib.toyworld import render, sample_attributes, texture_seed
from ohlora_lib.toyworld.face_sets import FaceSet, load_faces
from ohlora_lib.train.nvae import ConditionedFaces, likelihood
from ohlora_lib.train.toy.nvae import enlarged, women

SIZE = 64
FACES_SEED, EVALUATION_SEED = 20_041, 20_042
"""Rendered faces that D1 and D2 are trained and tested on, and those that everything generated is
compared with; no other network sees them."""
LOW, HIGH = 0.1, 0.9
JUDGED = {"eyes": ("ear", 1), "mouth": ("mar", 1), "head": ("yaw", -1)}
"""Condition -> the external judge's reading, and its sign."""


def rendered_women(count: int, seed: int) -> ConditionedFaces:
    """The first `count` women among the rendered faces of a seed, with their true conditions."""
    drawn = round(count / 0.55 + 4 * count**0.5)  # 55 % are women
    while len((found := women(load_faces(FaceSet(seed, drawn, SIZE)))).images) < count:
        drawn *= 2
    return ConditionedFaces(found.images[:count], found.conditions[:count], found.name)


# Requested and measured


def read_conditions(annotator, images: np.ndarray) -> np.ndarray:
    """(N, 64, 64, 3) uint8 -> (N, 5) conditions as the annotator reads them."""
    return conditions_of(annotator.annotate(enlarged(images)).attributes)


def read_by_judge(judge, images: np.ndarray) -> dict[str, np.ndarray]:
    """Condition -> (N,) readings of the external judge, larger for larger conditions."""
    table = judge.measure(enlarged(images))
    return {name: sign * table[column].to_numpy() for name, (column, sign) in JUDGED.items()}


def correlation(asked: np.ndarray, measured: np.ndarray, seed: int = 0) -> Interval:
    """Pearson's r of (N,) values; faces that the meter did not read are left out, and r is NaN if
    it read fewer than three."""
    read = np.isfinite(measured)
    if read.sum() < 3:
        return Interval(np.nan, np.nan, np.nan)
    x, y = asked[read], measured[read]
    return bootstrap(lambda rows: _pearson(x[rows], y[rows]), len(x), seed=seed)


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's r along the first axis."""
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).sum(0) / np.maximum(np.sqrt((x * x).sum(0) * (y * y).sum(0)), 1e-12)


def mean_correlation(asked: np.ndarray, measured: np.ndarray) -> Interval:
    """Mean Pearson's r of the conditions (N, 5)."""
    return bootstrap(lambda rows: _pearson(asked[rows], measured[rows]).mean(), len(asked))


def shares_of_ceiling(
    asked: np.ndarray, measured: np.ndarray, true: np.ndarray, read: np.ndarray
) -> dict[str, Interval]:
    """Per condition r of generated faces (N, 5), divided by r of rendered ones (M, 5)."""

    def share(column, rows, others):
        generated = _pearson(asked[rows, column], measured[rows, column])
        return generated / _pearson(true[others, column], read[others, column])

    sizes = len(asked), len(true)
    return {name: bootstrap(partial(share, at), *sizes) for at, name in enumerate(CONDITIONS)}


def requested_and_measured(
    asked: np.ndarray, measured: np.ndarray, true: np.ndarray, read: np.ndarray
) -> pd.DataFrame:
    """Conditions asked and measured (N, 5) of generated faces, true and read (M, 5) of rendered
    ones -> per condition r, slope and mean absolute error; the ceiling is the r of rendered."""
    shares = shares_of_ceiling(asked, measured, true, read)
    rows = {}
    for column, name in enumerate(CONDITIONS):
        x, y = asked[:, column], measured[:, column]
        rows[name] = {
            "r": f"{correlation(x, y):.2f}",
            "ceiling": _pearson(true[:, column], read[:, column]),
            "r / ceiling": f"{shares[name]:.2f}",
            "slope": np.polyfit(x, y, 1)[0],
            "mean absolute error": np.abs(x - y).mean(),
            "the same, rendered": np.abs(true[:, column] - read[:, column]).mean(),
        }
    return pd.DataFrame(rows).T.rename_axis("condition")


# Interventions: one condition is changed, everything else stays

Draw = Callable[[np.ndarray], np.ndarray]
"""Conditions (N, 5) of N faces, whose everything else is fixed -> their images (N, R, R, 3)."""


def interventions(
    draw: Draw, read: Callable[[np.ndarray], np.ndarray], conditions: np.ndarray
) -> np.ndarray:
    """Slopes (N, 5, 5) of each measured condition (last axis) while one (middle axis) goes from LOW
    to HIGH, per unit."""
    slopes = np.empty((len(conditions), len(CONDITIONS), len(CONDITIONS)))
    for column in range(len(CONDITIONS)):
        ends = []
        for level in (LOW, HIGH):
            changed = conditions.copy()
            changed[:, column] = level
            ends.append(read(draw(changed)))
        slopes[:, column] = (ends[1] - ends[0]) / (HIGH - LOW)
    return slopes


def intervention_matrix(slopes: np.ndarray) -> pd.DataFrame:
    """Slopes (N, 5, 5) -> their means; rows are what was changed."""
    names = list(CONDITIONS)
    return pd.DataFrame(slopes.mean(0), index=pd.Index(names, name="changed"), columns=names)


def diagonal(slopes: np.ndarray) -> Interval:
    """Mean slope of the condition that was changed."""
    return mean_interval(np.einsum("nii->ni", slopes).mean(1))


def off_diagonal(slopes: np.ndarray) -> Interval:
    """Mean of the |mean slopes| of the others."""
    others = ~np.eye(slopes.shape[1], dtype=bool)
    return bootstrap(lambda rows: np.abs(slopes[rows].mean(0)[others]).mean(), len(slopes))


def rendered_draw(count: int, seed: int = EVALUATION_SEED) -> tuple[Draw, np.ndarray]:
    """A `Draw` of the first women of a seed, and their conditions (count, 5)."""
    people, index = [], 0
    while len(people) < count:
        attributes = sample_attributes(seed, index)
        if attributes.is_female:
            people.append((attributes, texture_seed(seed, index)))
        index += 1

    def draw(conditions: np.ndarray) -> np.ndarray:
        rows = zip(people, conditions, strict=True)
        return np.stack([_rendered(*person, values) for person, values in rows])

    true = {n: np.array([getattr(p, n) for p, _ in people]) for n, *_ in FROM_ATTRIBUTES.values()}
    return draw, conditions_of(true)


def _rendered(attributes, texture: int, conditions: np.ndarray) -> np.ndarray:
    """A face with the attributes that these conditions (5,) stand for."""
    values = {}
    for value, condition in zip(conditions, CONDITIONS, strict=True):
        name, factor, added = FROM_ATTRIBUTES[condition]
        values[name] = float((value - added) / factor)
    return render(replace(attributes, **values), texture, SIZE).image


# Likelihood


@dataclass(frozen=True)
class Bits:
    """Bits per dimension of N faces."""

    true: np.ndarray  # (N,) with their own condition
    shuffled: np.ndarray  # (N,) with that of another face
    kl: np.ndarray  # (groups, latents), nats: mean over the faces


def paired_bits(network: NVAE, faces: ConditionedFaces, samples: int, seed: int = 0) -> Bits:
    """Bits per dimension of faces by importance sampling, on all cores."""
    other = np.roll(faces.conditions, 1, axis=0)
    blocks = [slice(at, at + BLOCK // 2) for at in range(0, len(faces.images), BLOCK // 2)]
    tasks = [
        (faces.images[rows], conditions[rows])
        for conditions in (faces.conditions, other)
        for rows in blocks
    ]
    work = partial(_likelihood, network, samples, seed)
    if len(blocks) < 2:
        found = [work(*task) for task in tasks]
    else:
        found = parallel_map(network.prior_ftr0.device, work, *zip(*tasks, strict=True))
    halves = found[: len(blocks)], found[len(blocks) :]
    true, shuffled = (np.concatenate([each.bits for each in half]) for half in halves)
    sizes = [len(faces.images[rows]) for rows in blocks]
    kl = np.average([each.kl for each in halves[0]], axis=0, weights=sizes)
    return Bits(true, shuffled, kl)


def _likelihood(network, samples, seed, images, conditions):
    return likelihood(network, images, conditions, samples, batch=BLOCK // 2, seed=seed)


@torch.no_grad()
def posterior_noise(
    network: NVAE, faces: ConditionedFaces, seed: int = 0, batch: int = BLOCK
) -> list[np.ndarray]:
    """Noise of encoded faces, one array (N, latents, H, W) per group: `decode` draws them again."""
    parts = []
    for at in range(0, len(faces.images), batch):
        x = network.as_input(faces.images[at : at + batch])
        rngs = (np.random.default_rng([seed, at + i]) for i in range(len(x)))
        inner = network.noise_of([rng.integers(2**62) for rng in rngs])
        parts.append(network(x, faces.conditions[at : at + batch], inner).noise)
    return [torch.cat(group).cpu().numpy() for group in zip(*parts, strict=True)]


@torch.no_grad()
def draw_noise(network: NVAE, noise: Sequence[np.ndarray], conditions: np.ndarray) -> np.ndarray:
    """Noise as of `posterior_noise`, and conditions (N, 5) -> images (N, R, R, 3) uint8."""
    parts = []
    for at in range(0, len(conditions), BLOCK):
        rows = slice(at, at + BLOCK)
        some = [torch.from_numpy(each[rows]) for each in noise]
        parts.append(to_uint8(network.decode(some, conditions[rows]).mean()))
    return np.concatenate(parts)


def probe_r2(values: np.ndarray, conditions: np.ndarray, seed: int = 0) -> np.ndarray:
    """(5,) R² of a ridge regression of the conditions (N, 5) on values (N, F), on faces that it
    was not fitted on: five folds. Low if the values do not know the condition."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(5, shuffle=True, random_state=seed)
    ridge = RidgeCV(np.logspace(0, 6, 13))
    predicted = cross_val_predict(ridge, values, conditions, cv=folds)
    error = np.square(conditions - predicted).sum(0)
    return 1 - error / np.square(conditions - conditions.mean(0)).sum(0)


# Similarity to rendered faces


def features_of(annotator, images: np.ndarray) -> np.ndarray:
    """(N, 64, 64, 3) uint8 -> the annotator's features (N, F)."""
    return features(annotator, enlarged(images))


def frechet_ratio(made: np.ndarray, real: np.ndarray, others: np.ndarray) -> float:
    """Features (N, F) of generated and of two sets of rendered faces -> the Fréchet distance of the
    first to the second, divided by that of the third."""
    return frechet_distance(real, made) / frechet_distance(real, others)


def similarity_row(
    made: np.ndarray, real: np.ndarray, others: np.ndarray, draws: int = 200
) -> dict[str, Interval | float]:
    """Fréchet ratio with its interval (over the generated faces), precision and recall."""
    ratio = bootstrap(
        lambda rows: frechet_ratio(made[rows], real, others),
        len(made),
        draws=draws,
        method="basic",  # a resampled set is less varied, and so farther from the real one
    )
    near = neighborhoods(real, made)
    return {"Fréchet ratio": ratio, "precision": near["precision"], "recall": near["recall"]}


# Published figures


@dataclass(frozen=True)
class Anchor:
    """A published figure; not `checked` means quoted from memory."""

    model: str
    figure: str
    source: str
    checked: bool = True


PUBLISHED = (
    Anchor("NVAE, CelebA 64 px", "2.03 bits per dimension", "arXiv 2007.03898", False),
    Anchor("NVAE, CelebA-HQ 256 px, 5 bits", "0.70 bits per dimension", "arXiv 2007.03898"),
    Anchor("NVAE, CIFAR-10", "2.91 bits per dimension", "arXiv 2007.03898"),
    Anchor("NVAE, CelebA 64 px, a user's 50 epochs", "2.13 bits per dimension", "NVAE issue 7"),
    Anchor("NVAE, CelebA 64 px, a user's batches of 2", "2.28 bits per dimension", "NVAE issue 7"),
    Anchor("Efficient-VDVAE, CelebA 64 px", "1.83 bits per dimension", "its README"),
    Anchor("VDVAE, FFHQ 256 px, 5 bits", "0.61 bits per dimension", "its README"),
    Anchor("NVAE, CelebA-HQ 256 px, mixture output", "FID 29.76", "NVAE issue 30"),
    Anchor("NVAE, CelebA-HQ 256 px, Gaussian output", "FID 40.26", "NVAE issue 30"),
    Anchor("NVAE → NCP-VAE, CelebA 64 px", "FID 13.48 → 5.25", "arXiv 2010.02917", False),
    Anchor("NVAE → VAEBM, CelebA 64 px", "FID 14.74 → 5.31", "arXiv 2010.00654", False),
    Anchor("VLAE, small network, CelebA 64 px", "FID 44.05", "arXiv 2310.09604"),
    Anchor("RAE, small network, CelebA 64 px", "FID 40.95", "arXiv 2310.09604"),
    Anchor("NCP-VAE, small network, CelebA 64 px", "FID 42.07", "arXiv 2310.09604"),
    Anchor("BIVA, small network, CelebA 64 px", "FID 33.58", "arXiv 2310.09604"),
    Anchor("plain VAE, CelebA 64 px", "FID 97.06", "Hugging Face, vae-vs-ddpm-celeba"),
    Anchor("DDPM, CelebA 64 px", "FID 26.42", "Hugging Face, vae-vs-ddpm-celeba"),
)


def published_table() -> pd.DataFrame:
    """PUBLISHED as a table."""
    rows = [
        (each.model, each.figure, each.source, "yes" if each.checked else "no, from memory")
        for each in PUBLISHED
    ]
    return pd.DataFrame(rows, columns=["model", "figure", "source", "checked"]).set_index("model")
