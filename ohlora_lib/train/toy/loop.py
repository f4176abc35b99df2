"""The loop that all trainings share: limited in time or steps, seeded, resumed after a kill.

A training's step `n` draws from a generator that (seed, n) name, so a resumed run needs no random
state and goes on as the uninterrupted one would have.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ohlora_lib.train.checkpoint import load_checkpoint, save_checkpoint

CHECKPOINT_EVERY = 60  # seconds


class Training(Protocol):
    """What the loop drives. `parts` (networks, optimizers) have a `state_dict` to save and load."""

    identity: dict[str, object]  # what must be the same for a checkpoint to be gone on with
    parts: Mapping[str, object]

    def step(self, step: int, progress: float) -> dict[str, float]:
        """One update; `progress` runs from 0 to 1 over the budget. Returns losses by name."""


@dataclass(frozen=True)
class Budget:
    """When a training ends: after minutes of work, or (the same on every machine) after steps."""

    minutes: float = 10
    steps: int | None = None

    def progress(self, reached: "Reached") -> float:
        """The share of the budget that is spent, 0 to 1."""
        if self.steps is not None:
            return min(reached.steps / self.steps, 1.0) if self.steps else 1.0
        return min(reached.seconds / (60 * self.minutes), 1.0) if self.minutes else 1.0


@dataclass
class Reached:
    """How far a training came, over all its runs."""

    steps: int = 0
    seconds: float = 0.0


def fit(training: Training, checkpoint: Path, budget: Budget, say=print) -> Reached:
    """Train until the budget is spent, from `checkpoint` if it holds this training's state."""
    reached = resume(training, checkpoint)
    if reached.steps:
        say(f"goes on from step {reached.steps} ({reached.seconds / 60:.1f} minutes)")
    saved = shown = time.monotonic()
    while (progress := budget.progress(reached)) < 1:
        start = time.monotonic()
        losses = training.step(reached.steps, progress)
        now = time.monotonic()
        reached.steps, reached.seconds = reached.steps + 1, reached.seconds + now - start
        if now - shown > 10 or reached.steps == 1:
            shown = now
            say(_line(reached, progress, losses))
        if now - saved > CHECKPOINT_EVERY:
            saved = now
            save_checkpoint(training, checkpoint, **vars(reached))
    save_checkpoint(training, checkpoint, **vars(reached))
    return reached


def resume(training: Training, path: Path) -> Reached:
    """Restore a checkpoint's state; without one, or with another training's, start from 0."""
    return Reached(**(load_checkpoint(training, path) or {}))


def identity(training, config, *sets) -> dict[str, object]:
    """What names a training: its kind, seed, plan, network's sizes and faces."""
    names = [each.name for each in sets if each is not None]
    about = {"plan": repr(training.plan), "network": repr(config), "faces": names}
    return {"what": type(training).__name__, "seed": training.seed} | about


def rate(progress: float, warm_up: float = 0.03) -> float:
    """The learning rate's factor: a short rise, then a cosine down to zero."""
    return min(progress / warm_up, 1.0) * (0.5 + 0.5 * math.cos(math.pi * progress)) + 1e-3


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def _line(reached: Reached, progress: float, losses: dict[str, float]) -> str:
    shown = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
    return f"{progress:4.0%}  step {reached.steps}  {reached.seconds:.0f} s  {shown}"
