"""The loop of a fine-tuning: it is watched, resumed after a kill, and stopped when it diverges.

Every `Watch.every` steps a row joins the log, the same z are drawn, and a checkpoint is written. A
step's random numbers are named by its seed and number, so killed and resumed is uninterrupted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ohlora_lib.compute.progress import progress
from ohlora_lib.measure.labels import auroc
from ohlora_lib.store.images import ImageSet
from ohlora_lib.train.checkpoint import load_checkpoint, save_checkpoint, stream
from ohlora_lib.train.finetune import Diverged, FineTuning, faces, settle

Judge = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""(N, R, R, 3) uint8 faces -> name (gender, quality, age, glass) -> probability (N,)."""

CHECKPOINT = "checkpoint.pt"
SAME_Z = "same_z"


@dataclass(frozen=True)
class Watch:
    """How often a training is looked at, on how many fresh faces, and how many z are kept."""

    every: int = 100
    fresh: int = 100
    same: int = 8


@dataclass
class State:
    """How far a training came."""

    steps: int
    log: list[dict[str, float]]


def fit(
    training: FineTuning, folder: Path, judge: Judge | None = None, watch: Watch | None = None
) -> pd.DataFrame:
    """Train to the plan's last step, from the folder's checkpoint if there is one -> the log.

    Leaves checkpoint.pt, and the faces of the same z at every row of the log in same_z/.
    """
    watch = watch or Watch()
    path = folder / CHECKPOINT
    state = resume(training, path) or State(0, [])
    if not state.log:
        _look(training, folder, state, [], judge, watch)
    told = []
    for step in progress(range(state.steps, training.plan.steps), "fine-tuning"):
        told.append(_guarded(training, step, path, state))
        if (step + 1) % watch.every == 0 or step + 1 == training.plan.steps:
            _must_be_finite(training, step, path, state)
            state.steps = step + 1
            _look(training, folder, state, told, judge, watch)
            told = []
            save_checkpoint(training, path, **vars(state))
    settle(training.generator, training.labels, training.seed)
    return pd.DataFrame(state.log)


def _guarded(training, step, path, state):
    try:
        return training.step(step)
    except Diverged as error:
        raise Diverged(_stopped(f"{error}", step, path, state)) from error


def _must_be_finite(training, step, path, state) -> None:
    for name in ("generator", "discriminator"):
        for key, value in training.parts[name].state_dict().items():
            if not value.isfinite().all():
                raise Diverged(_stopped(f"the {name}'s {key} is not finite", step, path, state))


def _stopped(what: str, step: int, path: Path, state: State) -> str:
    kept = (
        f"the last good state, of step {state.steps}, is kept in {path}"
        if path.exists()
        else "there is no good state yet to keep"
    )
    return f"fine-tuning stopped at step {step + 1}, {what}; {kept}: lower the learning rate"


def _look(training, folder, state, told, judge, watch) -> None:
    """Add a row to the log, and the same z's faces to the folder."""
    row = {"step": state.steps} | _mean(told)
    if judge is not None:
        rng = stream(training.seed + 1, state.steps)
        said = judge(drawn(training, watch.fresh, rng))
        row |= {name: float(np.mean(values)) for name, values in said.items()}
    images = drawn(training, watch.same, stream(training.seed + 2, 0))
    first = len(state.log) * watch.same
    same = ImageSet(folder / SAME_Z)
    same.write(range(first, first + watch.same), images)
    state.log.append(row)
    steps = np.repeat([row["step"] for row in state.log], watch.same)
    same.finish(pd.DataFrame({"index": np.arange(len(steps)), "step": steps}))


def drawn(training: FineTuning, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, R, R, 3) uint8 faces of new z and labels, without mixing or truncation."""
    z = torch.from_numpy(rng.standard_normal((count, training.generator.config.z_size), np.float32))
    return faces(
        training.generator, z, training.labels[rng.integers(len(training.labels), size=count)]
    )


def _mean(told: list[dict]) -> dict[str, float]:
    """What the steps since the last row told, averaged; the discriminator's AUROC over them."""
    if not told:
        return {}
    real, fake = (np.concatenate([each[name] for each in told]) for name in ("real", "fake"))
    answers = np.repeat([1, 0], [len(real), len(fake)])
    losses = pd.DataFrame(told).drop(columns=["real", "fake"]).mean()
    return losses.to_dict() | {"auroc": auroc(np.concatenate([real, fake]), answers)}


def resume(training: FineTuning, path: Path) -> State | None:
    """Restore a checkpoint; None if there is none, or another training's."""
    reached = load_checkpoint(training, path)
    return State(**reached) if reached else None
