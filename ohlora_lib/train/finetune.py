"""Fine-tuning a StyleGAN toward a filtered set of faces: FineTune-v1, v8 and v9.

What is frozen costs nothing: the discriminator's front never changes, so the filtered faces are
read through it once, and one drawing serves a step of both networks. A label enters the
discriminator after its last bend: it moves the score, but tells nothing about what is in the face.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.compute.workers import map_row_blocks
from ohlora_lib.faces.properties import LABEL_PROPERTIES
from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.precision import autocast, place
from ohlora_lib.models.stylegan import Generator, mix_styles, to_uint8
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.finetune_forms import FORMS, start, trained

CACHED = 1 << 30  # bytes of front features to keep; more are computed anew for each batch
AT_ONCE = 32  # images, where nothing is learned


@dataclass(frozen=True)
class Plan:
    """How it is trained; the defaults are the published values.

    `mapping_factor` times the rate is what the mapping learns with: its layers multiply their
    weights by 0.01, so that 100 makes them as quick as the others. R1 (`gamma`) is taken every
    `penalty_every` steps, as much stronger. Once one network's loss is `ratio` times the other's,
    it may take `generator_steps` in a row (the discriminator: `Form.critic_steps`).
    """

    steps: int = 44_370  # 72 epochs of 4,930 faces
    batch: int = 8
    learning_rate: float = 1e-4
    mapping_factor: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    gamma: float = 10.0
    penalty_every: int = 1
    ratio: float = 2.0
    generator_steps: int = 4
    critic_alone: int = 0  # steps that the discriminator takes before the generator's first
    recalls: int = 0  # further steps of the discriminator's after each, on faces drawn lately
    memory: int = 16  # how many batches of them there are
    fade: float = 0.0  # the share of the steps, at the end, in which the rates fall to zero
    w_decay: float = 0.995  # of the average w that truncation pulls to


@dataclass(frozen=True)
class Networks:
    """A generator and the discriminator that was trained with it."""

    generator: Generator
    discriminator: Discriminator


@dataclass(frozen=True)
class Target:
    """The filtered faces (M, R, R, 3) uint8, and their 7 normalized scores (M, 7) float32."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.labels.shape != (len(self.images), len(LABEL_PROPERTIES)) or not len(self.images):
            raise ValueError(
                f"{len(self.images)} faces with labels {self.labels.shape}: every face needs its "
                f"{len(LABEL_PROPERTIES)} scores ({', '.join(LABEL_PROPERTIES)}), "
                "and there must be a face"
            )


class Memory:
    """The front features and labels of the latest batches, which the discriminator may see again.

    To learn from them costs it next to nothing: nothing needs to be drawn.
    """

    def __init__(self, batches: int, device: torch.device):
        self.batches, self.device = batches, device
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def add(self, fronts: torch.Tensor, labels: torch.Tensor) -> None:
        """Keep a batch; the oldest makes room."""
        self.kept = [*self.kept, (fronts.detach(), labels)][-self.batches :]

    def pick(self, n: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """n of them at random."""
        fronts, labels = (torch.cat(part) for part in zip(*self.kept, strict=True))
        rows = torch.from_numpy(rng.integers(len(labels), size=n))
        return fronts[rows], labels[rows]

    def state_dict(self) -> dict:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict) -> None:
        self.kept = [tuple(part.to(self.device) for part in batch) for batch in state["kept"]]


class FineTuning:
    """`generator` and `discriminator` after some steps; `parts` is all that a checkpoint holds."""

    def __init__(
        self,
        form: str,
        networks: Networks,
        target: Target,
        plan: Plan | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        keep: bool = True,
    ):
        self.form, self.plan = FORMS[form], plan or Plan()
        self.seed, self.device = seed, torch.device(device)
        pair = start(self.form, networks.generator, networks.discriminator, seed, keep)
        self.generator, self.discriminator = (place(each, device=self.device) for each in pair)
        self.level = self.form.level(self.discriminator)
        self.target = target
        labels = target.labels if self.form.labeled else np.zeros_like(target.labels)
        self.labels = torch.tensor(labels)
        self.identity = repr((self.form, self.plan, seed, keep, self.generator.config))
        self.generator_optimizer = self._optimizer(self._generator_groups())
        self.discriminator_optimizer = self._optimizer([{"params": trained(self.discriminator)}])
        self.memory = Memory(self.plan.memory, self.device)
        self.parts = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "memory": self.memory,
        }
        self._fronts = self._read_target()

    def step(self, step: int) -> dict[str, float | np.ndarray]:
        """One step of both networks (and more, by the ratio rule) -> losses and scores by name.

        Draws from a stream that (seed, step) names: a resumed training needs no random state.
        """
        rng = stream(self.seed, step)
        self._set_rates(step)
        alone = step < self.plan.critic_alone
        with torch.set_grad_enabled(not alone):
            drawn = self._draw(rng)
        told = self._teach_critic(drawn, rng, step)
        self._recall(drawn, rng)
        if alone:
            return told
        told |= self._teach_generator(*drawn)
        return told | self._catch_up(told, rng)

    def _recall(self, drawn, rng):
        """The discriminator's further steps, on what the generator drew lately."""
        if self.plan.recalls:
            self.memory.add(*drawn)
        for _ in range(self.plan.recalls):
            self._teach_critic(self.memory.pick(self.plan.batch, rng), rng)

    def _set_rates(self, step):
        left, fading = self.plan.steps - step, self.plan.fade * self.plan.steps
        factor = min(1.0, left / fading) if fading else 1.0
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = factor * group["full_rate"]

    def _catch_up(self, told, rng):
        """More steps of the network that is far behind."""
        taken, most, ratio = 1, self.plan.generator_steps, self.plan.ratio
        generator, critic = told["generator"], told["discriminator"]
        while generator >= ratio * critic and taken < most:
            generator = self._teach_generator(*self._draw(rng))["generator"]
            taken += 1
        critic_taken = 1
        while critic >= ratio * generator and critic_taken < self.form.critic_steps:
            with torch.no_grad():
                drawn = self._draw(rng)
            critic = self._teach_critic(drawn, rng)["discriminator"]
            critic_taken += 1
        return {"generator": generator, "generator steps": taken}

    def _draw(self, rng: np.random.Generator):
        """Front features of a batch of new faces, and their labels."""
        n, layers = self.plan.batch, self.generator.config.layers
        noise_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        z = torch.randn(2, n, self.generator.config.z_size, generator=noise_rng)
        labels = self.labels[rng.integers(len(self.labels), size=n)].to(self.device)
        w = self.generator.mapping(z[0].to(self.device), labels)
        self.generator.truncation.update(w.detach(), self.plan.w_decay)
        wp = self.generator.truncation(w)
        if self.form.mixing:
            first = rng.integers(1, layers, size=n)
            first = np.where(rng.random(n) < self.form.mixing, first, layers)
            other = self.generator.mapping(z[1].to(self.device), labels)[:, None]
            wp = mix_styles(wp, other, torch.from_numpy(first))
        noise = self.generator.synthesis.random_noise(n, noise_rng)
        with autocast(device=self.device):
            images = self.generator.from_wp(wp, noise=noise)
            return self.discriminator.front(images, self.level), labels

    def _teach_critic(self, drawn, rng, step=None):
        fronts, labels = drawn
        count, n = len(self.labels), self.plan.batch
        rows = np.sort(rng.choice(count, n, replace=count < n))
        real = self._judge(self._real_fronts(rows), self.labels[rows].to(self.device))
        fake = self._judge(fronts.detach(), labels)
        loss = F.softplus(fake).mean() + F.softplus(-real).mean()
        told = {"discriminator": _finite(loss, "discriminator")}
        if self.plan.gamma and step is not None and step % self.plan.penalty_every == 0:
            penalty = self._penalty(rows)
            loss = loss + self.plan.gamma / 2 * self.plan.penalty_every * penalty
            told["penalty"] = _finite(penalty, "R1 penalty")
        _update(self.discriminator_optimizer, loss)
        return told | {"real": _scores(real), "fake": _scores(fake)}

    def _teach_generator(self, fronts, labels):
        parameters = trained(self.discriminator)
        for parameter in parameters:
            parameter.requires_grad_(False)  # no gradient is wanted for what does not learn now
        loss = F.softplus(-self._judge(fronts, labels)).mean()
        told = {"generator": _finite(loss, "generator")}
        _update(self.generator_optimizer, loss)
        for parameter in parameters:
            parameter.requires_grad_(True)
        return told

    def _judge(self, fronts, labels):
        with autocast(device=self.device):
            return self.discriminator.head(fronts, self.level, labels).float()

    def _penalty(self, rows):
        """R1: the squared gradient of the score at real images, in float32."""
        images = self._images(rows).requires_grad_(True)
        score = self.discriminator(images, self.labels[rows].to(self.device)).sum()
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()

    def _images(self, rows):
        return channels_first(self.target.images[rows]).to(self.device).float() / 127.5 - 1

    @torch.no_grad()
    def _front(self, rows):
        with autocast(device=self.device):
            return self.discriminator.front(self._images(rows), self.level)

    def _read_target(self):
        """The filtered faces as the frozen front sees them, if they fit into memory."""
        count = len(self.labels)
        one = self._front(np.arange(1))
        if one.nbytes * count > CACHED:
            return None
        parts = np.array_split(np.arange(count), -(-count // AT_ONCE))
        return torch.cat([self._front(rows) for rows in parts])

    def _real_fronts(self, rows):
        return self._front(rows) if self._fronts is None else self._fronts[rows]

    def _generator_groups(self):
        mapping, rest = trained(self.generator.mapping), trained(self.generator.synthesis)
        rate = self.plan.learning_rate * self.plan.mapping_factor
        groups = [{"params": mapping, "full_rate": rate}]
        return [*groups, *([{"params": rest}] if rest else [])]

    def _optimizer(self, groups):
        plan = self.plan
        groups = [{"full_rate": plan.learning_rate} | group for group in groups]
        return torch.optim.AdamW(groups, betas=plan.betas, weight_decay=plan.weight_decay)


def faces(generator: Generator, z: torch.Tensor, labels: torch.Tensor | None = None) -> np.ndarray:
    """z (N, z_size), labels (N, 7) where the generator takes any -> (N, R, R, 3) uint8 faces."""
    given = (z, labels) if labels is not None else (z,)
    return map_row_blocks(next(generator.parameters()).device, partial(_faces, generator), *given)


@torch.no_grad()
def _faces(generator, *given):
    device = next(generator.parameters()).device
    parts = zip(*(each.to(device).split(AT_ONCE) for each in given), strict=True)
    with autocast(device=device):
        return np.concatenate([to_uint8(generator(*part)) for part in parts])


@torch.no_grad()
def settle(generator: Generator, labels: torch.Tensor | None, seed: int, count: int = 4096) -> None:
    """Sets the average w to that of the mapping as it is now."""
    rng = torch.Generator().manual_seed(seed)
    device = next(generator.parameters()).device
    z = torch.randn(count, generator.config.z_size, generator=rng).to(device)
    if labels is not None:
        labels = labels[torch.randint(len(labels), (count,), generator=rng)].to(device)
    generator.truncation.w_avg.copy_(generator.mapping(z, labels).mean(0))


class Diverged(ArithmeticError):
    """A loss or a weight that is no number any more."""


def _finite(loss: torch.Tensor, name: str) -> float:
    value = loss.item()
    if not np.isfinite(value):
        raise Diverged(f"the {name}'s loss is {value}")
    return value


def _scores(scores: torch.Tensor) -> np.ndarray:
    return scores.detach().flatten().cpu().numpy()


def _update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
