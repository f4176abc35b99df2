"""Training of the property CNN, which predicts the normalized scores from a face's pixels.

Its branches share nothing but the image, so each is trained on its own: a job with its own file. An
interrupted run keeps the finished branches and resumes the others at their last checkpoint. The
same seed gives the same network, in any process. Each branch keeps the epoch with the lowest loss
on validation images.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import local_workers
from ohlora_lib.models.conv_tower import SLOPE
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig, property_input
from ohlora_lib.models.unet_parser import resize
from ohlora_lib.store.atomic import atomic_path
from ohlora_lib.store.work import keep_work

BRANCHES = {
    "hairstyle_score_cnn": ("hairstyle",),
    "hair_length_score_cnn": ("hair_length",),
    "background_score_cnn": ("background_mean", "background_std"),
    "eyes_score_cnn": ("eyes",),
    "hair_color_score_cnn": ("hair_color",),
    "pose_score_cnn": ("pose",),
    "mouth_score_cnn": ("mouth",),
}
"""The network's branches and the properties they predict; the slowest first."""

BATCH = 64  # when predicting
MIN_IMAGES = 20
CHECKPOINT_EVERY = 5  # epochs


@dataclass(frozen=True)
class RegressorPlan:
    """A network and its training: mean squared error, AdamW, a fraction `validation` of the images.

    Errors above `huber` (in deviations) count linearly instead of quadratically: a face with a few
    strands of hair can have an original hairstyle score of twenty. The learning rate falls to zero
    along a cosine or, with `decay`, by that factor per epoch. `mirror` flips every second batch:
    scores stay, only the pose changes its side.
    """

    network: PropertyCNNConfig
    epochs: int
    learning_rate: float
    decay: float | None = None
    patience: int | None = None
    batch: int = 16
    validation: float = 0.1
    mirror: bool = False
    huber: float = math.inf


PUBLISHED_PLAN = RegressorPlan(
    PropertyCNNConfig(), epochs=1000, learning_rate=5e-5, decay=0.95, patience=45
)
"""As the hairstyle CNN of v3 was trained: 256 pixels, 20 million weights."""

SMALL_PLAN = RegressorPlan(
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
    huber=1.0,
)
"""For two cores: 2,000 images in half a minute. So few epochs leave no room for dropout, except in
the hairstyle branch, which would overfit."""

PLANS = {"small": SMALL_PLAN, "published": PUBLISHED_PLAN}
"""By `Domain.networks`."""


@dataclass(frozen=True)
class BranchTask:
    """One branch: images (.npy, (N, H, W, 3) uint8) and their scores (M, outputs) for the first M.

    `front` is the normalized pose of a frontal face. NaN scores are not trained on.
    """

    branch: str
    plan: RegressorPlan
    images: Path
    scores: np.ndarray
    front: float
    seed: int
    device: str


class TrainedPropertyCNN(NamedTuple):
    """The network in eval mode; losses per branch and epoch, with the epoch that was kept."""

    network: PropertyCNN
    curves: pd.DataFrame


def train_property_cnn(
    images: Path,
    scores: pd.DataFrame,
    folder: Path,
    plan: RegressorPlan,
    seed: int = 0,
    front: float = 0.0,
    device: torch.device | str = "cpu",
) -> TrainedPropertyCNN:
    """Images (.npy, (N, H, W, 3) uint8), normalized scores of the first M -> the property CNN.

    `front` is the normalized pose of a frontal face: mirroring maps a pose p to 2 * front - p.
    `folder` keeps the branches and checkpoints, from which an interrupted training with the same
    images, scores and plan resumes. It must contain nothing else.
    """
    _check(scores, plan)
    made_from = {"images": images, "scores": scores, "plan": plan, "seed": seed, "front": front}
    keep_work(folder, "property CNN", __name__, made_from)
    jobs = []
    for name, properties in BRANCHES.items():
        if set(properties) <= set(plan.network.properties):
            targets = scores[list(properties)].to_numpy(np.float32)
            task = BranchTask(name, plan, images, targets, front, seed, str(device))
            jobs.append(Job(folder / f"{name}.pt", task))
    with local_workers(torch.device(device)) as pool:
        run_jobs(train_branch, jobs, "branches of the property CNN", pool)
    return _joined(plan.network, {job.task.branch: job.output for job in jobs})


def _check(scores: pd.DataFrame, plan: RegressorPlan) -> None:
    """Every property needs enough scores."""
    for name in plan.network.properties:
        known = int(np.isfinite(scores[name]).sum())
        if known < MIN_IMAGES:
            raise ValueError(
                f"{known} of {len(scores)} images have a score of {name}: at least {MIN_IMAGES} "
                "are needed; generate more, or check in notebook 03 why no faces are found"
            )


def _joined(config: PropertyCNNConfig, files: dict[str, Path]) -> TrainedPropertyCNN:
    """The network from the files of its branches."""
    network, curves = PropertyCNN(config), []
    for name, file in files.items():
        content = torch.load(file, map_location="cpu", weights_only=True)
        network.get_submodule(name).load_state_dict(content["branch"])
        curve = pd.DataFrame(content["curve"]).rename_axis("epoch").reset_index()
        curve.insert(0, "branch", name.removesuffix("_score_cnn"))
        curves.append(curve.assign(kept=curve.index == curve["validation"].idxmin()))
    return TrainedPropertyCNN(network.eval(), pd.concat(curves, ignore_index=True))


def train_branch(task: BranchTask, path: Path) -> None:
    """Train one branch; saves the weights of its best epoch and the losses of all epochs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two gain nothing here, and one gives the same bits anywhere
    try:
        training = _BranchTraining(task)
        training.run(path.with_name(f"{task.branch}.checkpoint.pt"))
    finally:
        torch.set_num_threads(threads)
    torch.save({"branch": training.best, "curve": training.curve}, path)


class _BranchTraining:
    """A branch in training: network, optimizer, weights of the best epoch, losses so far."""

    def __init__(self, task: BranchTask):
        self.task, self.plan = task, task.plan
        self.images = np.load(task.images, mmap_mode="r")
        self.scores = torch.tensor(task.scores)
        known = np.flatnonzero(np.isfinite(task.scores).any(1))
        rows = np.random.default_rng([task.seed, 0]).permutation(known)
        count = max(1, round(self.plan.validation * len(rows)))
        self.held_out, self.training = rows[:count], rows[count:]
        self.branch = _started(task).to(task.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.branch.parameters(), self.plan.learning_rate)
        self.curve: list[dict[str, float]] = []
        self.best = _copied(self.branch)

    def run(self, checkpoint: Path) -> None:
        """Train to the last epoch, from the checkpoint if there is one."""
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
        """One pass over the training images; the mean of its batches' losses."""
        number = len(self.curve)
        # Seeded per epoch: a resumed run draws the same random numbers as an uninterrupted one.
        rng = np.random.default_rng([self.task.seed, 1, number])
        dropout = torch.Generator(self.task.device).manual_seed(int(rng.integers(2**63)))
        self.branch.train()
        cuts = range(self.plan.batch, len(self.training), self.plan.batch)
        batches = np.split(rng.permutation(self.training), cuts)
        losses = []
        for step, rows in enumerate(batches):
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(number + step / len(batches))
            mirrored = self.plan.mirror and rng.random() < 0.5
            loss = self._loss(np.sort(rows), bool(mirrored), dropout)
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

    def _loss(self, rows: np.ndarray, mirrored: bool, dropout: torch.Generator) -> torch.Tensor:
        targets = self.scores[rows].to(self.task.device)
        images = self._pixels(rows)
        if mirrored:
            images = images.flip(3)
            if self.task.branch == "pose_score_cnn":
                targets = 2 * self.task.front - targets
        return huber_error(self.branch(images, dropout), targets, self.plan.huber)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        self.branch.eval()
        cuts = range(BATCH, len(self.held_out), BATCH)
        parts = np.split(self.held_out, cuts)
        predicted = torch.cat([self.branch(self._pixels(rows)).cpu() for rows in parts])
        return float(huber_error(predicted, self.scores[self.held_out], self.plan.huber))

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


def huber_error(predicted: torch.Tensor, targets: torch.Tensor, huber: float = math.inf):
    """Mean squared error over the targets that are not NaN; above `huber` it grows linearly."""
    known = torch.isfinite(targets)
    error = (predicted - targets)[known].abs()
    small = error.clamp(max=huber)
    return (small * (2 * error - small)).mean()


def _started(task: BranchTask) -> nn.Module:
    """The branch with Kaiming initialization.

    With torch's default the signal fades from layer to layer, and a small branch learns nothing
    for several epochs.
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
    """Images (N, H, W, 3) uint8 -> normalized scores, in eval mode at the network's resolution."""
    device = next(network.parameters()).device
    network.eval()
    parts = []
    for at in range(0, len(images), BATCH):
        pixels = property_input(np.asarray(images[at : at + BATCH])).to(device)
        parts.append(network(resize(pixels, network.config.resolution)).cpu())
    return pd.DataFrame(torch.cat(parts).double().numpy(), columns=network.config.properties)


PUBLISHED_HAIRSTYLE_FIT = {"correlation": 0.7669, "mean error": 0.4144}
"""Of v3's hairstyle CNN on its validation images (its training log, epoch 18). The logs of the
other seven outputs were not published."""


def fit_table(predicted: pd.DataFrame, computed: pd.DataFrame) -> pd.DataFrame:
    """Predicted and computed scores (N, P) -> correlations and errors, one row per property."""
    error = predicted - computed
    return pd.DataFrame(
        {
            "correlation": predicted.corrwith(computed),
            "rank correlation": predicted.corrwith(computed, method="spearman"),
            "mean error": error.abs().mean(),
            "root mean square": (error**2).mean() ** 0.5,
        }
    ).rename_axis("property")


def worst_parsed(
    predicted: pd.DataFrame, computed: pd.DataFrame, exact: pd.DataFrame, fraction: float = 0.1
) -> pd.DataFrame:
    """The errors of parser and CNN on the faces that the parser reads worst, one row per property.

    `exact` (N, P) are the scores of the true class maps. For each property the worst faces are the
    `fraction` (at least 3) with the largest error of the computed score.
    """
    rows = {}
    for name in exact:
        parser = (computed[name] - exact[name]).abs()
        cnn = (predicted[name] - exact[name]).abs()
        order = parser.sort_values(ascending=False, kind="stable").index
        worst = order[: max(3, round(fraction * len(order)))]
        rows[name] = {
            "parser's error": parser[worst].mean(),
            "CNN's error": cnn[worst].mean(),
            "CNN nearer": (cnn[worst] < parser[worst]).mean(),
        }
    return pd.DataFrame(rows).T.rename_axis("property")
