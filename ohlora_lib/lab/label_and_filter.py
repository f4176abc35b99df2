"""What notebook 02 does: labels, filter CNNs, scores of all images, and which of them are kept."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from ohlora_lib import checkpoints
from ohlora_lib.compute.workers import parallel_map
from ohlora_lib.faces.concept import ALL, Cutoffs, concept_fitness, fits_concept, passes
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.measure.labels import INDEX, Labels, SimulatedAnnotator, auroc, read_labels
from ohlora_lib.models import precision
from ohlora_lib.models.filter_cnn import FilterCNNConfig
from ohlora_lib.runner.settings import Between, OneOf, Settings, SettingsError
from ohlora_lib.steering.generate import generate_images
from ohlora_lib.steering.sampling import latents, load_sampler
from ohlora_lib.store import inside_root
from ohlora_lib.store.atomic import atomic_path
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import write_table
from ohlora_lib.toyworld.attributes import filter_truth
from ohlora_lib.toyworld.face_sets import LABEL_SEED, TEST_SEED, FaceSet, load_faces
from ohlora_lib.train.classifier import PUBLISHED, FoldPlan, Recipe, train_folds, vote
from ohlora_lib.train.toy import quality

_SMALL = {"width": 1 / 8, "padding": 1, "conv_dropout": 0.0, "dense_dropout": 0.2}
_PLAN = FoldPlan(1e-3, 0.5, half_period=5, most_epochs=5, tries=2, mirror=True)
_BALANCED = replace(_PLAN, accept=0.6, balance=True)

SMALL = {
    "quality": Recipe(
        quality.CONFIG,
        replace(_BALANCED, learning_rate=1e-4, half_period=2, most_epochs=2, start="quality-start"),
    ),
    "gender": Recipe(FilterCNNConfig(resolution=48, filter="gender", **_SMALL), _PLAN),
    "age": Recipe(FilterCNNConfig(resolution=64, filter="age", **_SMALL), _BALANCED),
    "glass": Recipe(FilterCNNConfig(resolution=128, filter="glass", **_SMALL), _BALANCED),
}
"""For 128 px faces on two CPU cores: the networks of five folds in less than a minute."""
NETWORKS = {"small": SMALL, "published": PUBLISHED}
CHUNK = 1000  # images that are held in memory at once
PART = 200  # of these, what a process looks at at a time
TRUTH, ANNOTATOR = "the truth of rendered faces", "the annotator network"  # who judges
DECIMALS = 4
"""Of a score, as published: rounded after averaging."""


@dataclass(frozen=True)
class LabelSettings(Settings):
    """Which images are labeled and by whom, which networks learn it, and where the cutoffs lie.

    `images` is the folder of notebook 01's images; empty, a few are made first. `labels` is a CSV
    (idx,gender,quality,age,glass) by `labeled_by`; empty, the simulated annotator labels the first
    `labeled` images, and `extra` rendered faces among which rare things are frequent. `rendered`
    faces of known truth test the result (0: the images are no toy faces, nothing can test it).
    `epochs` cuts trainings short (0: not). An image is kept if gender and quality are at least, age
    and glass at most their `cutoffs`; if fewer than `least` are, the best-ranked.
    """

    images: str
    labels: str
    labeled_by: str
    labeled: Annotated[int, Between(20, 1_000_000)]
    extra: Annotated[int, Between(0, 100_000)]
    rendered: Annotated[int, Between(0, 100_000)]
    networks: Annotated[str, OneOf(tuple(NETWORKS))]
    folds: Annotated[int, Between(2, 20)]
    epochs: Annotated[int, Between(0, 100_000)]
    cutoffs: list[float]
    least: Annotated[int, Between(1, 1_000_000)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.cutoffs) != len(FILTER_PROPERTIES) or not all(
            0 <= cut <= 1 for cut in self.cutoffs
        ):
            raise SettingsError(
                f"cutoffs = {self.cutoffs}: must be four numbers from 0 to 1, of "
                f"{', '.join(FILTER_PROPERTIES)}"
            )

    @property
    def limits(self) -> Cutoffs:
        """The cutoffs by name."""
        return Cutoffs(*self.cutoffs)

    @property
    def recipes(self) -> dict[str, Recipe]:
        """By property; shorter trainings if so wished."""
        recipes = NETWORKS[self.networks]
        if not self.epochs:
            return recipes
        most = {"most_epochs": self.epochs, "half_period": self.epochs, "tries": 1}
        return {k: replace(r, plan=replace(r.plan, **most)) for k, r in recipes.items()}


@dataclass(frozen=True)
class Labeled:
    """Labels of generated images and, if any, of extra rendered faces.

    `faces` (.npy) holds all of their pictures, the generated ones first.
    """

    labels: Labels
    extra: Labels | None
    faces: Path

    @property
    def table(self) -> pd.DataFrame:
        """A row for each of the faces, in their order."""
        parts = [self.labels.table] + ([self.extra.table] if self.extra else [])
        return pd.concat(parts, ignore_index=True)


def open_images(settings: LabelSettings, folder: Path) -> ImageSet:
    """Notebook 01's images, or a few of the embedded generator's where none are named."""
    if settings.images:
        return ImageSet(inside_root(settings.images))
    sampler = load_sampler("original")
    w = sampler.vectors(latents(settings.seed, np.arange(2 * settings.labeled)))
    return generate_images(sampler, w, folder / "generated")


def label(settings: LabelSettings, folder: Path, images: ImageSet) -> Labeled:
    """Have the images labeled, and the extra faces with them; leaves labels.csv, labeled.npy."""
    annotator, extra = SimulatedAnnotator(seed=settings.seed), None
    if settings.labels:
        labels = read_labels(inside_root(settings.labels), settings.labeled_by)
        _expect_images(settings, labels, images)
        pictures = images.read(labels.table[INDEX])
    else:
        numbers = images.table["index"].to_numpy()[: settings.labeled]
        pictures = images.read(numbers)
        labels = annotator.label(numbers, _read(pictures))
    if not len(_unlabeled(images, labels)):
        raise SettingsError(
            f"labeled = {len(labels.table)}: all images are labeled, none is left to filter; "
            "label fewer, or make more images in notebook 01"
        )
    labels.write(folder / "labels.csv")
    if settings.extra:
        faces = load_faces(FaceSet(LABEL_SEED, settings.extra, rare=True)).images
        extra = annotator.label(np.arange(settings.extra), _read(faces))
        extra.write(folder / "extra_labels.csv")
        pictures = np.concatenate([pictures, faces])
    with atomic_path(folder / "labeled.npy") as temporary:
        np.save(temporary, pictures)
    return Labeled(labels, extra, folder / "labeled.npy")


def _unlabeled(images: ImageSet, labels: Labels) -> np.ndarray:
    """The numbers of the images that nobody labeled."""
    numbers = images.table["index"]
    return numbers[~numbers.isin(labels.table[INDEX])].to_numpy()


def _read(faces: np.ndarray) -> dict[str, np.ndarray]:
    return checkpoints.load("annotator").annotate(faces).probabilities


def _expect_images(settings: LabelSettings, labels: Labels, images: ImageSet) -> None:
    unknown = set(labels.table[INDEX]) - set(images.table["index"])
    if unknown:
        raise SettingsError(
            f"labels = {settings.labels!r}: it labels image {min(unknown)}, which {images.folder} "
            "does not have"
        )


def train(settings: LabelSettings, folder: Path, labeled: Labeled) -> pd.DataFrame:
    """Train the folds that are not there yet; a row for each (see `classifier.train_folds`)."""
    return train_folds(
        folder / "cnns",
        labeled.faces,
        labeled.table,
        settings.recipes,
        settings.folds,
        settings.seed,
        precision.fastest_device().type,
    )


def votes(settings: LabelSettings, folder: Path, pictures: np.ndarray) -> pd.DataFrame:
    """Pictures (N, H, W, 3) -> a column for each property: the mean of the folds' probabilities."""
    device = precision.fastest_device()
    work = partial(_votes, folder / "cnns", settings.folds, device.type)
    parts = [pictures[at : at + PART] for at in range(0, len(pictures), PART)]
    return pd.concat(parallel_map(device, work, parts), ignore_index=True)


def _votes(cnns: Path, folds: int, device: str, pictures: np.ndarray) -> pd.DataFrame:
    means = {name: vote(cnns, name, pictures, folds, device).mean(1) for name in FILTER_PROPERTIES}
    return pd.DataFrame(means).round(DECIMALS)


def score(
    settings: LabelSettings, folder: Path, images: ImageSet, labeled: Labeled
) -> pd.DataFrame:
    """Score the images that nobody labeled; leaves scores.parquet (idx and the four scores).

    As published: of the labeled ones the answer is known, and the CNNs know them by heart.
    """
    numbers = _unlabeled(images, labeled.labels)
    parts = [numbers[at : at + CHUNK] for at in range(0, len(numbers), CHUNK)]
    scores = pd.concat(
        [votes(settings, folder, images.read(part)) for part in parts], ignore_index=True
    )
    scores.insert(0, INDEX, numbers)
    write_table(scores, folder / "scores.parquet")
    return scores


@dataclass(frozen=True)
class Kept:
    """Which images pass which cutoff (a row for each image), and the numbers of those kept."""

    passed: pd.DataFrame
    numbers: np.ndarray
    by_rank: bool
    """Whether too few passed, so that the best-ranked were taken instead."""


def keep(settings: LabelSettings, folder: Path, scores: pd.DataFrame) -> Kept:
    """The images that pass all cutoffs, or the best-ranked; leaves kept.parquet (idx)."""
    passed = passes(scores, settings.limits)
    numbers = scores.loc[passed[ALL], INDEX].to_numpy()
    by_rank = len(numbers) < min(settings.least, len(scores))
    if by_rank:
        best = fitness(scores).sort_values(ascending=False, kind="stable").index[: settings.least]
        numbers = np.sort(scores.loc[best, INDEX].to_numpy())
    write_table(pd.DataFrame({INDEX: numbers}), folder / "kept.parquet")
    return Kept(passed.assign(**{INDEX: scores[INDEX]}), numbers, by_rank)


def fitness(scores: pd.DataFrame) -> pd.Series:
    """How likely each face fits the concept in all four, as if they were independent."""
    return pd.Series(concept_fitness(scores), scores.index)


@dataclass(frozen=True)
class Judged:
    """Scores of faces and what is right about them, (N,) of 0 and 1 by property."""

    scores: pd.DataFrame
    answers: pd.DataFrame

    def aurocs(self) -> dict[str, float]:
        """By property; NaN where all answers are the same."""
        return {
            n: auroc(self.scores[n].to_numpy(), self.answers[n].to_numpy())
            for n in FILTER_PROPERTIES
        }

    @property
    def fits(self) -> pd.Series:
        """Which faces fit the concept."""
        return pd.Series(fits_concept(self.answers), self.answers.index)


def judges(
    settings: LabelSettings, folder: Path, images: ImageSet, scores: pd.DataFrame
) -> dict[str, Judged]:
    """Who can say whether the scores are right, by name; nobody if they are no toy faces."""
    if not settings.rendered:
        return {}
    return {
        TRUTH: _rendered(settings, folder),
        ANNOTATOR: _generated(images, scores),
    }


def _rendered(settings: LabelSettings, folder: Path) -> Judged:
    """Rendered faces that trained nothing, with the exact truth."""
    faces = load_faces(FaceSet(TEST_SEED, settings.rendered))
    return Judged(votes(settings, folder, faces.images), filter_truth(faces.attributes))


def _generated(images: ImageSet, scores: pd.DataFrame) -> Judged:
    """The scored images, and what the annotator network says of them."""
    said = [_read(images.read(part)) for _, part in scores[INDEX].groupby(scores.index // CHUNK)]
    answers = {n: np.concatenate([one[n] for one in said]) >= 0.5 for n in FILTER_PROPERTIES}
    return Judged(scores, pd.DataFrame(answers).astype(int))
