"""The training loop of all embedded models: limited in time or steps, resumed when interrupted.

A step's random numbers come from `checkpoint.stream`: a resumed run equals an uninterrupted one.
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
    """What `fit` trains. `parts`: networks and optimizers, saved by their `state_dict`."""

    identity: dict[str, object]  # a checkpoint is resumed only if this is equal
    parts: Mapping[str, object]

    def step(self, step: int, progress: float) -> dict[str, float]:
        """One update; `progress` goes from 0 to 1 over the budget. Returns losses by name."""


@dataclass(frozen=True)
class Budget:
    """A training ends after these minutes, or (the same on every machine) after these steps."""

    minutes: float = 10
    steps: int | None = None

    def progress(self, reached: "Reached") -> float:
        """The fraction of the budget that is used, 0 to 1."""
        if self.steps is not None:
            return min(reached.steps / self.steps, 1.0) if self.steps else 1.0
        return min(reached.seconds / (60 * self.minutes), 1.0) if self.minutes else 1.0


@dataclass
class Reached:
    """Steps and seconds of a training, over all its runs."""

    steps: int = 0
    seconds: float = 0.0


def fit(training: Training, checkpoint: Path, budget: Budget, say=print) -> Reached:
    """Train until the budget is used, resuming from `checkpoint` if it is this training's."""
    reached = resume(training, checkpoint)
    if reached.steps:
        say(f"resumes from step {reached.steps} ({reached.seconds / 60:.1f} minutes)")
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
    """Identifies a training: its class, seed, plan, network configuration and faces."""
    names = [each.name for each in sets if each is not None]
    about = {"plan": repr(training.plan), "network": repr(config), "faces": names}
    return {"what": type(training).__name__, "seed": training.seed} | about


def rate(progress: float, warm_up: float = 0.03) -> float:
    """The factor of the learning rate: a short warm-up, then a cosine decay to zero."""
    return min(progress / warm_up, 1.0) * (0.5 + 0.5 * math.cos(math.pi * progress)) + 1e-3


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def _line(reached: Reached, progress: float, losses: dict[str, float]) -> str:
    shown = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
    return f"{progress:4.0%}  step {reached.steps}  {reached.seconds:.0f} s  {shown}"
