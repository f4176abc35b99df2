"""Fine-tuning a StyleGAN toward a filtered set of faces: FineTune-v1, v8 and v9.

A GAN training in which most of both networks is frozen (`finetune_variants`). The frozen front of
the discriminator never changes, so its features of the filtered faces are computed once, and one
batch of generated images serves a step of both networks. The label enters the discriminator at its
last layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ohlora_lib.compute.progress import progress
from ohlora_lib.compute.workers import map_row_blocks, parallel_map
from ohlora_lib.faces.properties import LABEL_PROPERTIES
from ohlora_lib.measure.labels import auroc
from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.precision import autocast, place
from ohlora_lib.models.stylegan import Generator, mix_styles, to_uint8
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.work import keep_work
from ohlora_lib.train.checkpoint import load_checkpoint, save_checkpoint, stream
from ohlora_lib.train.finetune_variants import VARIANTS, start, trainable

FEATURE_CACHE = 1 << 30
"""Bytes of front features to keep in memory; larger sets are computed again for each batch."""
INFERENCE_BATCH = 32
CHECKPOINT = "checkpoint.pt"
SAME_Z = "same_z"


@dataclass(frozen=True)
class FinetunePlan:
    """Optimization settings; the defaults are the published values.

    When one network's loss reaches `catch_up_ratio` times the other's, it may take several steps in
    a row: the generator up to `max_generator_steps`, the discriminator up to the variant's
    `max_discriminator_steps`.
    """

    steps: int = 44_370
    """72 epochs of 4,930 faces in batches of 8."""
    batch: int = 8
    learning_rate: float = 1e-4
    mapping_lr_factor: float = 1.0
    """Times `learning_rate` for the mapping: its layers scale their weights by 0.01, so a factor of
    100 makes them as fast as the others."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    r1_gamma: float = 10.0
    r1_interval: int = 1
    """R1 is computed every this many steps, and multiplied by it (lazy regularization)."""
    catch_up_ratio: float = 2.0
    max_generator_steps: int = 4
    discriminator_warmup: int = 0
    """Steps at the start in which only the discriminator trains."""
    replay_steps: int = 0
    """Extra discriminator steps after each step, on features of recently generated images."""
    replay_batches: int = 16
    """Size of the replay buffer."""
    decay_fraction: float = 0.0
    """Final fraction of the steps in which the learning rates decay linearly to zero."""
    w_avg_decay: float = 0.995
    """Of the moving average of w that truncation uses."""
    preserving_start: bool = False
    """Start from exactly the old images: see `finetune_variants.start`."""


@dataclass(frozen=True)
class FilteredFaces:
    """The discriminator's real data: images (M, R, R, 3) uint8 and labels (M, 7) float32.

    A label is the face's normalized scores of `LABEL_PROPERTIES`.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.labels.shape != (len(self.images), len(LABEL_PROPERTIES)) or not len(self.images):
            raise ValueError(
                f"{len(self.images)} faces with labels {self.labels.shape}: every face needs its "
                f"{len(LABEL_PROPERTIES)} scores ({', '.join(LABEL_PROPERTIES)}), "
                "and there must be at least one face"
            )

    @classmethod
    def of(cls, images: np.ndarray, scores: pd.DataFrame) -> "FilteredFaces":
        """Images and their normalized scores, a row each; a missing score becomes 0, the mean."""
        return cls(images, np.array(scores[list(LABEL_PROPERTIES)].fillna(0.0), np.float32))


class ReplayBuffer:
    """Discriminator features and labels of the latest generated batches.

    Training on them again is cheap: nothing has to be generated.
    """

    def __init__(self, batches: int, device: torch.device):
        self.batches, self.device = batches, device
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def add(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Append a batch and drop the oldest one if the buffer is full."""
        self.kept = [*self.kept, (features.detach(), labels)][-self.batches :]

    def sample(self, n: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """n random rows of the buffer."""
        features, labels = (torch.cat(part) for part in zip(*self.kept, strict=True))
        rows = torch.from_numpy(rng.integers(len(labels), size=n))
        return features[rows], labels[rows]

    def state_dict(self) -> dict:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict) -> None:
        self.kept = [tuple(part.to(self.device) for part in batch) for batch in state["kept"]]


class FineTuning:
    """A training in progress: `generator` and `discriminator`, and all that a checkpoint holds.

    The networks passed in are copied, not changed.
    """

    def __init__(
        self,
        variant: str,
        generator: Generator,
        discriminator: Discriminator,
        faces: FilteredFaces,
        plan: FinetunePlan | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ):
        self.variant, self.plan = VARIANTS[variant], plan or FinetunePlan()
        self.seed, self.device = seed, torch.device(device)
        pair = start(self.variant, generator, discriminator, seed, self.plan.preserving_start)
        self.generator, self.discriminator = (place(each, device=self.device) for each in pair)
        self.level = self.variant.level(self.discriminator)
        self.faces = faces
        labels = faces.labels if self.variant.labeled else np.zeros_like(faces.labels)
        self.labels = torch.tensor(labels)
        self.identity = repr((self.variant, self.plan, seed, self.generator.config))
        networks = {"generator": generator, "discriminator": discriminator}
        self.made_from = networks | {"faces": faces, "identity": self.identity}
        self.generator_optimizer = self._optimizer(self._generator_groups())
        self.discriminator_optimizer = self._optimizer([{"params": trainable(self.discriminator)}])
        self.replay = ReplayBuffer(self.plan.replay_batches, self.device)
        self.parts = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "replay": self.replay,
        }
        self._real_features = self._cache_real_features()

    def step(self, step: int) -> dict[str, float | np.ndarray]:
        """One step of both networks, and catch-up steps -> losses and scores by name.

        All randomness comes from `stream(seed, step)`.
        """
        rng = stream(self.seed, step)
        self._set_learning_rates(step)
        warmup = step < self.plan.discriminator_warmup
        with torch.set_grad_enabled(not warmup):
            fake = self._generate(rng)
        losses = self._train_discriminator(fake, rng, step)
        self._train_on_replay(fake, rng)
        if warmup:
            return losses
        losses |= self._train_generator(*fake)
        return losses | self._catch_up(losses, rng)

    def _train_on_replay(self, fake, rng):
        if self.plan.replay_steps:
            self.replay.add(*fake)
        for _ in range(self.plan.replay_steps):
            self._train_discriminator(self.replay.sample(self.plan.batch, rng), rng)

    def _set_learning_rates(self, step):
        left, decaying = self.plan.steps - step, self.plan.decay_fraction * self.plan.steps
        factor = min(1.0, left / decaying) if decaying else 1.0
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = factor * group["full_rate"]

    def _catch_up(self, losses, rng):
        """More steps of the network whose loss is far above the other's."""
        ratio = self.plan.catch_up_ratio
        generator, discriminator = losses["generator"], losses["discriminator"]
        generator_steps = discriminator_steps = 1
        while (
            generator >= ratio * discriminator and generator_steps < self.plan.max_generator_steps
        ):
            generator = self._train_generator(*self._generate(rng))["generator"]
            generator_steps += 1
        while (
            discriminator >= ratio * generator
            and discriminator_steps < self.variant.max_discriminator_steps
        ):
            with torch.no_grad():
                fake = self._generate(rng)
            discriminator = self._train_discriminator(fake, rng)["discriminator"]
            discriminator_steps += 1
        return {"generator": generator, "generator steps": generator_steps}

    def _generate(self, rng: np.random.Generator):
        """Front features and labels of a batch of new images; moves the average w."""
        n, layers = self.plan.batch, self.generator.config.layers
        noise_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        z = torch.randn(2, n, self.generator.config.z_size, generator=noise_rng)
        labels = self.labels[rng.integers(len(self.labels), size=n)].to(self.device)
        w = self.generator.mapping(z[0].to(self.device), labels)
        self.generator.truncation.update(w.detach(), self.plan.w_avg_decay)
        wp = self.generator.truncation(w)
        if self.variant.style_mixing:
            first = rng.integers(1, layers, size=n)
            first = np.where(rng.random(n) < self.variant.style_mixing, first, layers)
            other = self.generator.mapping(z[1].to(self.device), labels)[:, None]
            wp = mix_styles(wp, other, torch.from_numpy(first))
        noise = self.generator.synthesis.random_noise(n, noise_rng)
        with autocast(device=self.device):
            images = self.generator.from_wp(wp, noise=noise)
            return self.discriminator.front(images, self.level), labels

    def _train_discriminator(self, fake, rng, step=None):
        """One update; with R1 if `step` is a multiple of its interval."""
        features, labels = fake
        count, n = len(self.labels), self.plan.batch
        rows = np.sort(rng.choice(count, n, replace=count < n))
        real = self._score(self._features_of(rows), self.labels[rows].to(self.device))
        fake = self._score(features.detach(), labels)
        loss = F.softplus(fake).mean() + F.softplus(-real).mean()
        losses = {"discriminator": _finite(loss, "discriminator")}
        if self.plan.r1_gamma and step is not None and step % self.plan.r1_interval == 0:
            penalty = self._r1(rows)
            loss = loss + self.plan.r1_gamma / 2 * self.plan.r1_interval * penalty
            losses["penalty"] = _finite(penalty, "R1 penalty")
        _update(self.discriminator_optimizer, loss)
        return losses | {"real": _to_numpy(real), "fake": _to_numpy(fake)}

    def _train_generator(self, features, labels):
        parameters = trainable(self.discriminator)
        for parameter in parameters:
            parameter.requires_grad_(False)  # its gradient would be computed for nothing
        loss = F.softplus(-self._score(features, labels)).mean()
        losses = {"generator": _finite(loss, "generator")}
        _update(self.generator_optimizer, loss)
        for parameter in parameters:
            parameter.requires_grad_(True)
        return losses

    def _score(self, features, labels):
        with autocast(device=self.device):
            return self.discriminator.head(features, self.level, labels).float()

    def _r1(self, rows):
        """The mean squared gradient of the score at real images, in float32."""
        images = self._images(rows).requires_grad_(True)
        score = self.discriminator(images, self.labels[rows].to(self.device)).sum()
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()

    def _images(self, rows):
        return channels_first(self.faces.images[rows]).to(self.device).float() / 127.5 - 1

    @torch.no_grad()
    def _front(self, rows):
        with autocast(device=self.device):
            return self.discriminator.front(self._images(rows), self.level)

    def _cache_real_features(self):
        """Front features of all filtered faces, or None if they would not fit into memory."""
        count = len(self.labels)
        one = self._front(np.arange(1))
        if one.nbytes * count > FEATURE_CACHE:
            return None
        parts = np.array_split(np.arange(count), -(-count // INFERENCE_BATCH))
        return torch.cat([self._front(rows) for rows in parts])

    def _features_of(self, rows):
        return self._front(rows) if self._real_features is None else self._real_features[rows]

    def _generator_groups(self):
        mapping, rest = trainable(self.generator.mapping), trainable(self.generator.synthesis)
        rate = self.plan.learning_rate * self.plan.mapping_lr_factor
        groups = [{"params": mapping, "full_rate": rate}]
        return [*groups, *([{"params": rest}] if rest else [])]

    def _optimizer(self, groups):
        plan = self.plan
        groups = [{"full_rate": plan.learning_rate} | group for group in groups]
        return torch.optim.AdamW(groups, betas=plan.betas, weight_decay=plan.weight_decay)


Evaluate = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""(N, R, R, 3) uint8 faces -> name (gender, quality, age, glass) -> probabilities (N,)."""


@dataclass(frozen=True)
class EvalSchedule:
    """An evaluation every `every` steps, on `images` new images; `same_z` fixed z are drawn too."""

    every: int = 100
    images: int = 100
    same_z: int = 8


@dataclass
class Progress:
    """The number of finished steps, and the log's rows so far."""

    steps: int
    log: list[dict[str, float]]


def fit(
    training: FineTuning,
    folder: Path,
    evaluate: Evaluate | None = None,
    schedule: EvalSchedule | None = None,
) -> pd.DataFrame:
    """Train to the plan's last step and return the log, a row per evaluation (the first: step 0).

    A row has the mean losses since the row before, the discriminator's AUROC on real and fake, and
    the mean evaluation of new images. At every row a checkpoint goes to checkpoint.pt, and images
    of the same z go to same_z/; an interrupted training resumes from there, and a finished one is
    not repeated.
    """
    schedule = schedule or EvalSchedule()
    made_from = training.made_from | {"schedule": schedule}
    keep_work(folder, "fine-tuning", __name__, made_from, (CHECKPOINT, SAME_Z))
    path = folder / CHECKPOINT
    state = resume(training, path) or Progress(0, [])
    if not state.log:
        _evaluate(training, folder, state, [], evaluate, schedule)
    losses = []
    for step in progress(range(state.steps, training.plan.steps), "fine-tuning"):
        losses.append(_checked_step(training, step, path, state))
        if (step + 1) % schedule.every == 0 or step + 1 == training.plan.steps:
            _check_weights(training, step, path, state)
            state.steps = step + 1
            _evaluate(training, folder, state, losses, evaluate, schedule)
            losses = []
            save_checkpoint(training, path, **vars(state))
    reset_average_w(training.generator, training.labels, training.seed)
    return pd.DataFrame(state.log)


def resume(training: FineTuning, path: Path) -> Progress | None:
    """Restore a checkpoint; None if there is none, or it is another training's."""
    reached = load_checkpoint(training, path)
    return Progress(**reached) if reached else None


def _checked_step(training, step, path, state):
    try:
        return training.step(step)
    except Diverged as error:
        raise Diverged(_stopped(f"{error}", step, path, state)) from error


def _check_weights(training, step, path, state) -> None:
    for name in ("generator", "discriminator"):
        for key, value in training.parts[name].state_dict().items():
            if not value.isfinite().all():
                raise Diverged(_stopped(f"the {name}'s {key} is not finite", step, path, state))


def _stopped(what: str, step: int, path: Path, state: Progress) -> str:
    kept = (
        f"the last good checkpoint, of step {state.steps}, is {path}"
        if path.exists()
        else "no checkpoint has been written yet"
    )
    return f"fine-tuning stopped at step {step + 1}, {what}; {kept}: lower the learning rate"


def _evaluate(training, folder, state, losses, evaluate, schedule) -> None:
    """Append a row to the log, and images of the same z to the folder."""
    row = {"step": state.steps} | _summary(losses)
    if evaluate is not None:
        images = _sample(training, schedule.images, stream(training.seed + 1, state.steps))
        row |= {name: float(np.mean(values)) for name, values in evaluate(images).items()}
    images = _sample(training, schedule.same_z, stream(training.seed + 2, 0))
    first = len(state.log) * schedule.same_z
    same = ImageSet(folder / SAME_Z)
    same.write(range(first, first + schedule.same_z), images)
    state.log.append(row)
    steps = np.repeat([row["step"] for row in state.log], schedule.same_z)
    same.finish(pd.DataFrame({"index": np.arange(len(steps)), "step": steps}))


def _summary(losses: list[dict]) -> dict[str, float]:
    """Mean losses over some steps, and the discriminator's AUROC on their real and fake scores."""
    if not losses:
        return {}
    real, fake = (np.concatenate([each[name] for each in losses]) for name in ("real", "fake"))
    answers = np.repeat([1, 0], [len(real), len(fake)])
    means = pd.DataFrame(losses).drop(columns=["real", "fake"]).mean()
    return means.to_dict() | {"auroc": auroc(np.concatenate([real, fake]), answers)}


def _sample(training: FineTuning, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, R, R, 3) uint8 images of new z with labels of the filtered faces."""
    z = torch.from_numpy(rng.standard_normal((count, training.generator.config.z_size), np.float32))
    labels = training.labels[rng.integers(len(training.labels), size=count)]
    return generate(training.generator, z, labels)


def generate(
    generator: Generator, z: torch.Tensor, labels: torch.Tensor | None = None
) -> np.ndarray:
    """z (N, z_size), labels (N, 7) for a conditional generator -> (N, R, R, 3) uint8 images.

    Without style mixing or truncation.
    """
    given = (z, labels) if labels is not None else (z,)
    return map_row_blocks(
        next(generator.parameters()).device, partial(_generate, generator), *given
    )


@torch.no_grad()
def _generate(generator, *given):
    device = next(generator.parameters()).device
    parts = zip(*(each.to(device).split(INFERENCE_BATCH) for each in given), strict=True)
    with autocast(device=device):
        return np.concatenate([to_uint8(generator(*part)) for part in parts])


def sample_images(
    generator: Generator, count: int, seed: int, purpose: int, labels: np.ndarray | None = None
) -> np.ndarray:
    """(count, R, R, 3) uint8 images; (seed, purpose) identify the z, whatever the count.

    A conditional generator gets labels drawn from the rows of `labels` (M, 7).
    """
    rng = np.random.default_rng([seed, purpose, 5])
    z = torch.from_numpy(rng.standard_normal((count, generator.config.z_size), np.float32))
    given = [z]
    if generator.config.label_size:
        given.append(torch.as_tensor(labels)[rng.integers(len(labels), size=count)])
    parts = [each.split(INFERENCE_BATCH) for each in given]
    device = next(generator.parameters()).device
    return np.concatenate(parallel_map(device, partial(generate, generator), *parts))


def before_and_after(
    generator: Generator, training: FineTuning, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images of the same `count` new z by the generator as it was and as fine-tuned.

    Both get labels of the same filtered faces: a conditional generator from an earlier fine-tuning
    their scores, the fine-tuned one what its variant trains with.
    """
    generator = generator.to(training.device)
    before = sample_images(generator, count, seed, 2, training.faces.labels)
    return before, sample_images(training.generator, count, seed, 2, training.labels)


@torch.no_grad()
def reset_average_w(
    generator: Generator, labels: torch.Tensor | None, seed: int, count: int = 4096
) -> None:
    """Set the average w to the mean over `count` new z of the mapping as it is now."""
    rng = torch.Generator().manual_seed(seed)
    device = next(generator.parameters()).device
    z = torch.randn(count, generator.config.z_size, generator=rng).to(device)
    if labels is not None:
        labels = labels[torch.randint(len(labels), (count,), generator=rng)].to(device)
    generator.truncation.w_avg.copy_(generator.mapping(z, labels).mean(0))


class Diverged(ArithmeticError):
    """A loss or a weight that is not finite."""


def _finite(loss: torch.Tensor, name: str) -> float:
    value = loss.item()
    if not np.isfinite(value):
        raise Diverged(f"the {name}'s loss is {value}")
    return value


def _to_numpy(scores: torch.Tensor) -> np.ndarray:
    return scores.detach().flatten().cpu().numpy()


def _update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
