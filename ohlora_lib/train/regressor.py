"""The property CNN: reads the normalized scores off a face's pixels.

Its branches share nothing but the picture, so each is trained for itself: a job with a file of its
own. A killed run goes on from the finished branches, and within one from its last checkpoint; the
same seed gives the same network, whoever trains which branch. Of every branch the best epoch is
kept, by its loss on images that it does not learn from.
"""

import math
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.models.conv_tower import SLOPE
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig, property_input
from ohlora_lib.models.unet_parser import resize
from ohlora_lib.store.atomic import atomic_path

BRANCHES = {
    "hairstyle_score_cnn": ("hairstyle",),
    "hair_length_score_cnn": ("hair_length",),
    "background_score_cnn": ("background_mean", "background_std"),
    "eyes_score_cnn": ("eyes",),
    "hair_color_score_cnn": ("hair_color",),
    "pose_score_cnn": ("pose",),
    "mouth_score_cnn": ("mouth",),
}
"""The network's branches and what they tell, those that take longest first."""

PREDICTED_AT_ONCE = 64
LEAST_IMAGES = 20
CHECKPOINT_EVERY = 5  # epochs


@dataclass(frozen=True)
class RegressorPlan:
    """A network and how it is trained: mean squared error, AdamW, `validation` of the images apart.

    From `outlying` on (deviations) an error counts in proportion, no longer as its square: a face
    with a few strands of hair can have an original hairstyle of twenty. The rate falls to zero
    along a cosine, or, with `decay`, by that factor an epoch. `mirror` turns every second batch
    around: scores stay, but a head turned to its right is turned to its left.
    """

    network: PropertyCNNConfig
    epochs: int
    learning_rate: float
    decay: float | None = None
    patience: int | None = None
    batch: int = 16
    validation: float = 0.1
    mirror: bool = False
    outlying: float = math.inf


PUBLISHED = RegressorPlan(
    PropertyCNNConfig(), epochs=1000, learning_rate=5e-5, decay=0.95, patience=45
)
"""As the third version's hairstyle CNN was trained; 256 px, 20 million values."""

SMALL = RegressorPlan(
    PropertyCNNConfig(
        resolution=128,
        width=1 / 4,
        padding=1,
        conv_dropout=0.0,
        dense_dropout=0.0,
        hairstyle_dropout=0.25,
        crop_pixels=2048,
    ),
    epochs=8,
    learning_rate=3e-3,
    mirror=True,
    outlying=1.0,
)
"""For two cores and 2,000 images in half a minute: so few passes forgive no dropout, but for the
hairstyle branch, which would learn the images by heart."""


@dataclass(frozen=True)
class BranchTask:
    """One branch: images (.npy, (N, H, W, 3) uint8), what it shall say of them (N, outputs).

    `front` is the score of a head that is not turned; NaN among the scores is learnt from nowhere.
    """

    branch: str
    plan: RegressorPlan
    images: Path
    scores: np.ndarray
    front: float
    seed: int
    device: str


class Trained(NamedTuple):
    """The network in eval mode; a row for each branch and epoch: losses, and which was kept."""

    network: PropertyCNN
    curves: pd.DataFrame


def train_property_cnn(
    images: Path,
    scores: pd.DataFrame,
    folder: Path,
    plan: RegressorPlan,
    seed: int = 0,
    front: float = 0.0,
    device: str = "cpu",
    executor: Executor | None = None,
) -> Trained:
    """Images (.npy, (N, H, W, 3) uint8) and their normalized scores -> the property CNN.

    `front` is the normalized pose of a head that is not turned. `folder`, this training's own,
    takes the branches; what a killed run left there is gone on with.
    """
    _check(scores, plan)
    jobs = []
    for name, told in BRANCHES.items():
        if set(told) <= set(plan.network.properties):
            wanted = scores[list(told)].to_numpy(np.float32)
            task = BranchTask(name, plan, images, wanted, front, seed, device)
            jobs.append(Job(folder / f"{name}.pt", task))
    run_jobs(train_branch, jobs, "branches of the property CNN", executor)
    return _joined(plan.network, {job.task.branch: job.output for job in jobs})


def _check(scores: pd.DataFrame, plan: RegressorPlan) -> None:
    """Every property needs some scores."""
    for name in plan.network.properties:
        known = int(np.isfinite(scores[name]).sum())
        if known < LEAST_IMAGES:
            raise ValueError(
                f"{known} of {len(scores)} images have a score of {name}: at least {LEAST_IMAGES} "
                "are needed; generate more, or see in notebook 03 why no faces are found"
            )


def _joined(config: PropertyCNNConfig, files: dict[str, Path]) -> Trained:
    """The branches put together."""
    network, curves = PropertyCNN(config), []
    for name, file in files.items():
        content = torch.load(file, map_location="cpu", weights_only=True)
        network.get_submodule(name).load_state_dict(content["branch"])
        curve = pd.DataFrame(content["curve"]).rename_axis("epoch").reset_index()
        curve.insert(0, "branch", name.removesuffix("_score_cnn"))
        curves.append(curve.assign(kept=curve.index == curve["validation"].idxmin()))
    return Trained(network.eval(), pd.concat(curves, ignore_index=True))


def train_branch(task: BranchTask, path: Path) -> None:
    """Train one branch; leaves its best epoch's weights and the losses after every epoch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network gains nothing from two, and stays the same
    try:
        training = _BranchTraining(task)
        training.run(path.with_name(f"{task.branch}.checkpoint.pt"))
    finally:
        torch.set_num_threads(threads)
    torch.save({"branch": training.best, "curve": training.curve}, path)


class _BranchTraining:
    """A branch on its way: network, optimizer, the best epoch's weights, losses so far."""

    def __init__(self, task: BranchTask):
        self.task, self.plan = task, task.plan
        self.images = np.load(task.images, mmap_mode="r")
        self.scores = torch.tensor(task.scores)
        known = np.flatnonzero(np.isfinite(task.scores).any(1))
        rows = np.random.default_rng([task.seed, 0]).permutation(known)
        apart = max(1, round(self.plan.validation * len(rows)))
        self.held_out, self.learnt = rows[:apart], rows[apart:]
        self.branch = _started(task).to(task.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.branch.parameters(), self.plan.learning_rate)
        self.curve: list[dict[str, float]] = []
        self.best = _copied(self.branch)

    def run(self, checkpoint: Path) -> None:
        """Epoch after epoch; from the checkpoint, where there is one."""
        if checkpoint.exists():
            self._restore(torch.load(checkpoint, map_location="cpu", weights_only=True))
        while len(self.curve) < self.plan.epochs and not self._is_stuck():
            losses = {"training": self._epoch(), "validation": self._validation_loss()}
            if losses["validation"] < min((c["validation"] for c in self.curve), default=math.inf):
                self.best = _copied(self.branch)
            self.curve.append(losses)
            if len(self.curve) % CHECKPOINT_EVERY == 0:
                with atomic_path(checkpoint) as temporary:
                    torch.save(self._state(), temporary)
        checkpoint.unlink(missing_ok=True)

    def _is_stuck(self) -> bool:
        losses = [epoch["validation"] for epoch in self.curve]
        patience = self.plan.patience
        return bool(losses and patience and len(losses) - 1 - int(np.argmin(losses)) >= patience)

    def _epoch(self) -> float:
        """One pass over the images to learn from; the mean of its batches' losses."""
        number = len(self.curve)
        # Of its own epoch: a resumed run draws what an uninterrupted one would have drawn.
        rng = np.random.default_rng([self.task.seed, 1, number])
        dropout = torch.Generator(self.task.device).manual_seed(int(rng.integers(2**63)))
        self.branch.train()
        cuts = range(self.plan.batch, len(self.learnt), self.plan.batch)
        batches = np.split(rng.permutation(self.learnt), cuts)
        losses = []
        for step, rows in enumerate(batches):
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(number + step / len(batches))
            turned = self.plan.mirror and rng.random() < 0.5
            loss = self._loss(np.sort(rows), bool(turned), dropout)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    def _rate(self, epoch: float) -> float:
        """The learning rate at that (fractional) epoch."""
        plan = self.plan
        if plan.decay is not None:
            return plan.learning_rate * plan.decay ** int(epoch)
        warm_up = min(1.0, (epoch + 0.01) / (0.05 * plan.epochs))
        return plan.learning_rate * warm_up * (1 + math.cos(math.pi * epoch / plan.epochs)) / 2

    def _loss(self, rows: np.ndarray, turned: bool, dropout: torch.Generator) -> torch.Tensor:
        wanted = self.scores[rows].to(self.task.device)
        images = self._pixels(rows)
        if turned:
            images = images.flip(3)
            if self.task.branch == "pose_score_cnn":
                wanted = 2 * self.task.front - wanted
        return error(self.branch(images, dropout), wanted, self.plan.outlying)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        self.branch.eval()
        cuts = range(PREDICTED_AT_ONCE, len(self.held_out), PREDICTED_AT_ONCE)
        parts = np.split(self.held_out, cuts)
        said = torch.cat([self.branch(self._pixels(rows)).cpu() for rows in parts])
        return float(error(said, self.scores[self.held_out], self.plan.outlying))

    def _pixels(self, rows: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(self.images[rows]).to(self.task.device)
        return resize(property_input(pixels), self.plan.network.resolution)

    def _state(self) -> dict[str, object]:
        return {
            "branch": self.branch.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "curve": self.curve,
        }

    def _restore(self, state: dict) -> None:
        self.branch.load_state_dict(state["branch"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.curve = state["best"], state["curve"]


def error(said: torch.Tensor, wanted: torch.Tensor, outlying: float = math.inf) -> torch.Tensor:
    """Mean square over what is wanted (a NaN is no wish); from `outlying` on a straight line."""
    known = torch.isfinite(wanted)
    apart = (said - wanted)[known].abs()
    near = apart.clamp(max=outlying)
    return (near * (2 * apart - near)).mean()


def _started(task: BranchTask) -> nn.Module:
    """The branch with random weights that carry the signal through.

    With torch's own it fades from layer to layer, and a small branch learns nothing for epochs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([task.seed, 2]).generate_state(1)[0]))
        branch = PropertyCNN(task.plan.network).get_submodule(task.branch)
        for convolution in branch.modules():
            if isinstance(convolution, nn.Conv2d):
                nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
                nn.init.zeros_(convolution.bias)
    return branch


def _copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


@torch.no_grad()
def predict(network: PropertyCNN, images: np.ndarray) -> pd.DataFrame:
    """Images (N, H, W, 3) uint8 -> the normalized scores that the network reads off them.

    In eval mode, and at the network's own resolution.
    """
    device = next(network.parameters()).device
    network.eval()
    parts = []
    for at in range(0, len(images), PREDICTED_AT_ONCE):
        pixels = property_input(np.asarray(images[at : at + PREDICTED_AT_ONCE])).to(device)
        parts.append(network(resize(pixels, network.config.resolution)).cpu())
    return pd.DataFrame(torch.cat(parts).double().numpy(), columns=network.config.properties)
