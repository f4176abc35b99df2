"""What notebook 05 does: moves a generator toward the faces that fit the concept, and judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch

from ohlora_lib import checkpoints
from ohlora_lib.compute.workers import parallel_map
from ohlora_lib.faces.concept import FITS, concept_conditions, concept_fitness
from ohlora_lib.faces.properties import FILTER_PROPERTIES, LABEL_PROPERTIES
from ohlora_lib.measure.normalize import z_scores
from ohlora_lib.models.annotator import Annotations
from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.precision import fastest_device, place
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.runner.settings import Between, OneOf, Settings, SettingsError
from ohlora_lib.store import inside_root
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import read_table, write_table
from ohlora_lib.train.classifier import fitted, probabilities
from ohlora_lib.train.finetune import AT_ONCE, FineTuning, Networks, Plan, Target, faces
from ohlora_lib.train.finetune_forms import FORMS
from ohlora_lib.train.finetune_loop import Watch

FILES = (".safetensors", ".pth", ".pt")
OWN = 240
"""Faces that the notebook makes and filters itself when it is given none."""
SHOWN = 8
"""z whose faces are followed through the training."""


@dataclass(frozen=True)
class Recipe:
    """How a training begins (`keep`: see `train.gan_forms.start`), and the rest of its plan."""

    plan: Plan
    keep: bool


RECIPES = {
    "published": Recipe(Plan(), keep=False),
    "quick": Recipe(
        Plan(
            mapping_factor=3.0,
            betas=(0.5, 0.99),
            weight_decay=0.0,
            penalty_every=16,
            critic_alone=10,
            recalls=1,
            fade=0.5,
        ),
        keep=True,
    ),
}
"""The published training takes a day on a GPU. The quick one, a minute on two cores, begins where
the old generator stood. The discriminator must lead: it begins alone and learns fast. At the end
the rates fall to zero, for a generator that moves on until the last step leaves variety behind."""


@dataclass(frozen=True)
class FinetuneSettings(Settings):
    """What trains, on which faces, for how long, and how many faces judge it.

    `generator` and `discriminator` are names of ohlora_lib.checkpoints.registry, or files. Without
    `images` the notebook makes some faces and filters them itself. `steps` 0 takes `epochs`.
    """

    generator: str
    discriminator: str
    images: str
    kept: str
    scores: str
    form: Annotated[str, OneOf(tuple(FORMS))]
    recipe: Annotated[str, OneOf(tuple(RECIPES))]
    steps: Annotated[int, Between(0, 10_000_000)]
    epochs: Annotated[int, Between(1, 10_000)]
    batch: Annotated[int, Between(2, 1024)]
    learning_rate: Annotated[float, Between(1e-7, 1)]
    looks: Annotated[int, Between(1, 1000)]
    judged: Annotated[int, Between(16, 100_000)]

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [bool(path) for path in (self.images, self.kept, self.scores)]
        if any(given) and not all(given):
            raise SettingsError("images, kept and scores belong together: give all three, or none")


@dataclass(frozen=True)
class Judged:
    """What the judge says of N faces."""

    probabilities: pd.DataFrame  # gender, quality, age, glass
    features: np.ndarray

    @property
    def fits(self) -> pd.DataFrame:
        """A bool column per condition of the concept, and one for all of them."""
        return concept_conditions(self.probabilities)


CONCEPT = FITS


class Judge:
    """Who says what a face shows.

    The embedded annotator network, which lent the simulated labels that taught the filter; of
    photographs, which it has never seen, the published CNNs.
    """

    def __init__(self, published: bool = False):
        self.annotator = place(checkpoints.load("annotator"), "float32", fastest_device())
        self.name = "the published filter CNNs" if published else "the annotator network"
        folds = {name: [f"{name}-{fold}" for fold in range(5)] for name in FILTER_PROPERTIES}
        self.folds = (
            {k: [checkpoints.load(n) for n in v] for k, v in folds.items()} if published else {}
        )

    def annotate(self, images: np.ndarray) -> Annotations:
        """(N, R, R, 3) uint8 -> all that the judge says of them; features are the annotator's."""
        said = self.annotator.annotate(images)
        if not self.folds:
            return said
        device = next(self.annotator.parameters()).device
        votes = {}
        for name, folds in self.folds.items():
            faces = fitted(images, folds[0].config.resolution)
            votes[name] = np.mean([probabilities(n.to(device), faces) for n in folds], axis=0)
        return said._replace(probabilities=votes)

    def judge(self, images: np.ndarray) -> Judged:
        """The same as tables."""
        said = self.annotate(images)
        return Judged(
            pd.DataFrame(said.probabilities)[list(FILTER_PROPERTIES)], said.features.astype(float)
        )

    def probabilities(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        """gender, quality, age and glass of (N, R, R, 3) uint8 faces, (N,) each."""
        return self.annotate(images).probabilities


def open_judge(settings: FinetuneSettings) -> Judge:
    """The judge that the recipe's faces need."""
    return Judge(published=settings.recipe == "published")


def origin(settings: FinetuneSettings) -> str:
    """Where the page's data come from, in words."""
    faces = (
        f"the faces that {settings.kept} keeps"
        if settings.kept
        else "faces that it filtered itself"
    )
    return f"generator '{settings.generator}', discriminator '{settings.discriminator}', {faces}"


def open_networks(settings: FinetuneSettings) -> Networks:
    """The two networks that the settings name."""
    names = {"generator": Generator, "discriminator": Discriminator}
    networks = {}
    for name, kind in names.items():
        given = getattr(settings, name)
        network = checkpoints.load(inside_root(given) if given.endswith(FILES) else given)
        if not isinstance(network, kind):
            raise SettingsError(f"{name} = {given!r}: it holds a {type(network).__name__}")
        networks[name] = network
    return Networks(**networks)


def open_target(settings: FinetuneSettings, networks: Networks, judge: Judge) -> Target:
    """The filtered faces and their scores: the earlier stages', or some of its own."""
    if not settings.images:
        return _own_target(settings, networks, judge)
    numbers = read_table(inside_root(settings.kept), ["idx"])["idx"]
    scores = read_table(inside_root(settings.scores), ["idx", *LABEL_PROPERTIES]).set_index("idx")
    images = ImageSet(inside_root(settings.images)).read(numbers)
    return Target(images, _labels(scores.reindex(numbers)))


def _own_target(settings: FinetuneSettings, networks: Networks, judge: Judge) -> Target:
    images = fresh(networks.generator, OWN, settings.seed, stream=1)
    said = judge.annotate(images)
    best = np.sort(np.argsort(-concept_fitness(said.probabilities))[: OWN // 3])
    raw = pd.DataFrame({name: said.attributes[name] for name in LABEL_PROPERTIES})
    return Target(images[best], _labels(z_scores(raw)(raw).iloc[best]))


def _labels(scores: pd.DataFrame) -> np.ndarray:
    """Normalized scores -> (M, 7); the mean, 0, stands in for a score that could not be taken."""
    return scores[list(LABEL_PROPERTIES)].fillna(0.0).to_numpy(np.float32)


def open_training(settings: FinetuneSettings, networks: Networks, target: Target) -> FineTuning:
    """The training as it stands before its first step."""
    recipe = RECIPES[settings.recipe]
    steps = settings.steps or -(-settings.epochs * len(target.images) // settings.batch)
    plan = replace(
        recipe.plan,
        steps=steps,
        critic_alone=min(recipe.plan.critic_alone, steps // 4),
        batch=settings.batch,
        learning_rate=settings.learning_rate,
    )
    device = fastest_device()
    return FineTuning(settings.form, networks, target, plan, settings.seed, device, recipe.keep)


def watch(settings: FinetuneSettings, training: FineTuning) -> Watch:
    """So many looks at the training, at equal distances."""
    return Watch(every=max(1, training.plan.steps // settings.looks), same=SHOWN)


def fresh(generator: Generator, count: int, seed: int, stream: int, labels=None) -> np.ndarray:
    """(count, R, R, 3) uint8 faces of the z of (seed, stream), with labels drawn from `labels`."""
    rng = np.random.default_rng([seed, stream, 5])
    z = torch.from_numpy(rng.standard_normal((count, generator.config.z_size), np.float32))
    given = [z]
    if generator.config.label_size:
        given.append(torch.as_tensor(labels)[rng.integers(len(labels), size=count)])
    parts = [each.split(AT_ONCE) for each in given]
    device = next(generator.parameters()).device
    return np.concatenate(parallel_map(device, partial(faces, generator), *parts))


def save(training: FineTuning, log: pd.DataFrame, folder: Path) -> None:
    """Leave generator.safetensors, discriminator.safetensors and log.parquet."""
    checkpoints.save(training.generator, folder / "generator.safetensors")
    checkpoints.save(training.discriminator, folder / "discriminator.safetensors")
    write_table(log, folder / "log.parquet")


@dataclass(frozen=True)
class Effect:
    """The judge's word on the filtered faces, and on the same z's faces before and after."""

    target: Judged
    before: Judged
    after: Judged
    judge: str


def effect(
    settings: FinetuneSettings, networks: Networks, training: FineTuning, judge: Judge
) -> Effect:
    """Judge `judged` new faces of the generator as it came and as it is now."""
    before = networks.generator.to(training.device)
    came = fresh(before, settings.judged, settings.seed, 2, training.target.labels)
    now = fresh(training.generator, settings.judged, settings.seed, 2, training.labels)
    shown = training.target.images[: settings.judged]
    return Effect(*(judge.judge(images) for images in (shown, came, now)), judge.name)
