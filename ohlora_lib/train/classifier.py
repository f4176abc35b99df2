"""The filter CNNs: for gender, quality, age and glass, one small network per fold.

As published, except for two slips of the original code: each fold keeps the weights of its best
epoch, and predicts in eval mode. Each fold is a job with files of its own, so an interrupted run
resumes with the next fold, and the same seed gives the same networks in any number of processes.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib import checkpoints
from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import parallel_map, processes
from ohlora_lib.faces.domain import Domain
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.measure.labels import auroc
from ohlora_lib.models.annotator import Annotations, AnnotatorConfig
from ohlora_lib.models.filter_cnn import FilterCNN, FilterCNNConfig, new_filter_cnn
from ohlora_lib.models.precision import fastest_device, place
from ohlora_lib.models.unet_parser import resize
from ohlora_lib.store.atomic import atomic_path, write_json
from ohlora_lib.store.work import keep_work

INFERENCE_BATCH = 256
IMAGES_PER_TASK = 200
"""Images that one process scores at a time."""
DECIMALS = 4
"""Of a score, as published: rounded after averaging the folds."""
FOLDS = 5
"""Of the published filter CNNs."""


@dataclass(frozen=True)
class FoldPlan:
    """How one fold is trained.

    The learning rate follows a cosine that falls to zero in `half_period` epochs and rises again.
    A training whose best validation loss (mean per image) stays above `max_loss` is repeated from
    another initialization, up to `max_tries` in all; the best one is kept.
    """

    learning_rate: float
    max_loss: float
    batch: int = 16
    half_period: int = 10
    patience: int = 20
    max_epochs: int = 1000
    max_tries: int = 10
    mirror: bool = False
    """Mirror every second image at random."""
    balance: bool = False
    """Weight the loss so that both classes count equally; afterwards `_calibrate`."""
    start: str = ""
    """Checkpoint to start from; empty: random weights."""


@dataclass(frozen=True)
class FilterTraining:
    """The network of one property, and how its folds are trained."""

    network: FilterCNNConfig
    plan: FoldPlan

    def shortened(self, epochs: int) -> "FilterTraining":
        """At most this many epochs, and one try: for a quick run."""
        plan = replace(self.plan, max_epochs=epochs, half_period=epochs, max_tries=1)
        return replace(self, plan=plan)


QUALITY_NETWORK = FilterCNNConfig(
    resolution=96,
    width=0.25,
    padding=1,
    conv_dropout=0.0,
    dense_dropout=0.2,
    filter="quality",
    tower_of="gender",
)
"""The toy world's quality CNN: defects can be anywhere, so it sees the whole face; below 96 px the
finest are invisible."""
_SMALL = {"width": 1 / 8, "padding": 1, "conv_dropout": 0.0, "dense_dropout": 0.2}
_PLAN = FoldPlan(1e-3, 0.5, half_period=5, max_epochs=5, max_tries=2, mirror=True)
_BALANCED = replace(_PLAN, max_loss=0.6, balance=True)

FILTER_TRAININGS = {
    "small": {
        "quality": FilterTraining(
            QUALITY_NETWORK,
            replace(
                _BALANCED, learning_rate=1e-4, half_period=2, max_epochs=2, start="quality-start"
            ),
        ),
        "gender": FilterTraining(FilterCNNConfig(resolution=48, filter="gender", **_SMALL), _PLAN),
        "age": FilterTraining(FilterCNNConfig(resolution=64, filter="age", **_SMALL), _BALANCED),
        "glass": FilterTraining(
            FilterCNNConfig(resolution=128, filter="glass", **_SMALL), _BALANCED
        ),
    },
    "published": {
        "gender": FilterTraining(FilterCNNConfig(), FoldPlan(5e-6, 0.35, start="gender-v1-0")),
        "quality": FilterTraining(
            FilterCNNConfig(filter="quality"), FoldPlan(5e-6, 0.13, start="quality-v1-0")
        ),
        "age": FilterTraining(FilterCNNConfig(filter="age"), FoldPlan(2.5e-5, 0.23)),
        "glass": FilterTraining(FilterCNNConfig(filter="glass"), FoldPlan(5e-5, 0.10)),
    },
}
"""By `Domain.networks`. small: for 128 px toy faces; five folds of each take less than a minute on
two CPU cores. published: Oh-LoRA v3's, 256 px, six million parameters per property and fold. The
order of the properties is part of the folds' seeds."""


@dataclass(frozen=True)
class FoldTask:
    """One fold: labeled images (.npy, (M, H, W, 3) uint8), their answers, the validation rows."""

    training: FilterTraining
    images: Path
    answers: tuple[int, ...]
    held_out: tuple[int, ...]
    seed: tuple[int, ...]
    weights: Path
    device: str = "cpu"


@dataclass(frozen=True)
class Try:
    """One training from one initialization: mean losses after each epoch."""

    losses: list[float]
    """On the held-out images."""
    training_losses: list[float]

    @property
    def best_epoch(self) -> int:
        return int(np.argmin(self.losses))

    @property
    def best(self) -> float:
        return min(self.losses)


def stratified_folds(answers: np.ndarray, count: int, seed: Sequence[int]) -> list[np.ndarray]:
    """(M,) answers of 0 and 1 -> `count` sets of rows, each with its share of both answers."""
    rng = np.random.default_rng(list(seed))
    shuffled = rng.permutation(len(answers))
    dealt = shuffled[np.argsort(answers[shuffled], kind="stable")]
    return [np.sort(dealt[fold::count]) for fold in range(count)]


def train_folds(
    folder: Path,
    images: np.ndarray,
    labels: pd.DataFrame,
    trainings: Mapping[str, FilterTraining],
    folds: int = FOLDS,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
) -> pd.DataFrame:
    """Train the CNNs of all properties by K-fold cross-validation.

    `images` (M, H, W, 3) uint8; `labels` has a row per image and a column of 0 and 1 per property.
    Writes `{property}_fold{k}.safetensors` and `.json` into `folder`, which must contain nothing
    else; finished folds with the same images and labels are not trained again. Returns a row per
    fold: property, fold, tries (their losses), kept (which try), best_epoch, loss, accepted, auroc
    (of the held-out images), shift (`_calibrate`).
    """
    made_from = {"images": images, "labels": labels, "trainings": trainings, "folds": folds}
    made_from["starts"] = [checkpoints.load(one.plan.start).state_dict()
                           for one in trainings.values() if one.plan.start]  # fmt: skip
    keep_work(folder, "filter CNNs", __name__, made_from | {"seed": seed})
    faces = folder / "labeled.npy"
    with atomic_path(faces) as temporary:
        np.save(temporary, images)
    jobs = []
    for at, (name, training) in enumerate(trainings.items()):
        answers = labels[name].to_numpy()
        for fold, held_out in enumerate(stratified_folds(answers, folds, (seed, at))):
            path, rows = folder / f"{name}_fold{fold}", tuple(map(int, held_out))
            given = (training, faces, tuple(map(int, answers)), rows, (seed, at, fold))
            task = FoldTask(*given, path.with_suffix(".safetensors"), device)
            jobs.append(Job(path.with_suffix(".json"), task))
    alone = workers == 1 or device != "cpu"
    with contextlib.nullcontext() if alone else processes(workers) as executor:
        files = run_jobs(train_fold, jobs, "folds", executor)
    notes = [json.loads(file.read_text()) for file in files]
    which = [{"property": name, "fold": fold} for name in trainings for fold in range(folds)]
    return pd.DataFrame([one | note for one, note in zip(which, notes, strict=True)])


def save_published_folds(folder: Path) -> None:
    """Save the original project's filter CNNs under the names of those that `train_folds` makes."""
    for name in FILTER_PROPERTIES:
        for fold in range(FOLDS):
            network = checkpoints.load(f"{name}-{fold}")
            checkpoints.save(network, folder / f"{name}_fold{fold}.safetensors")


def train_fold(task: FoldTask, record: Path) -> None:
    """Train one fold until a try is accepted; write its weights, then `record` (JSON)."""
    with _one_thread():
        write_json(record, _train(task))


def _train(task: FoldTask) -> dict[str, object]:
    """The losses of all tries, which one was kept, and its AUROC on the held-out images."""
    data, plan, tries, kept = _Data.of(task), task.training.plan, [], None
    while not tries or (kept[1].best > plan.max_loss and len(tries) < plan.max_tries):
        network, curve = _try(task, data, len(tries))
        tries.append(curve)
        if kept is None or curve.best < kept[1].best:
            kept = network, curve
    network, curve = kept
    shift = _calibrate(network, data.share) if plan.balance else 0.0
    checkpoints.save(network, task.weights)
    predicted = probabilities(network, data.images[data.held_out])
    return {
        "tries": [asdict(each) for each in tries],
        "kept": tries.index(curve),
        "best_epoch": curve.best_epoch,
        "loss": curve.best,
        "accepted": curve.best <= plan.max_loss,
        "auroc": auroc(predicted, data.answers[data.held_out].numpy()),
        "shift": shift,
    }


@torch.no_grad()
def _calibrate(network: FilterCNN, share: float) -> float:
    """Make the outputs probabilities again after a training that counted both classes equally.

    Such a network answers as if half of the images had the property. Its log odds are too high by
    the log odds of one half minus those of the true `share`; the last bias takes that back. Without
    it a cutoff far from 0.5 rejects images that are only a little unusual. Returns the change.
    """
    shift = math.log(share / (1 - share))
    network.fc_final[0].bias += shift
    return shift


@dataclass(frozen=True)
class _Data:
    """A fold's images (M, 3, R, R) uint8 at the network's resolution, answers, and rows."""

    images: torch.Tensor
    answers: torch.Tensor
    trained_on: torch.Tensor
    held_out: torch.Tensor
    weight: torch.Tensor  # of each image in the loss
    share: float  # of the trained images with the property, within 0.02 to 0.98

    @classmethod
    def of(cls, task: FoldTask) -> "_Data":
        answers = torch.tensor(task.answers, dtype=torch.float32)
        held_out = torch.tensor(task.held_out)
        trained_on = torch.ones(len(answers), dtype=torch.bool)
        trained_on[held_out] = False
        weight = torch.ones_like(answers)
        share = answers[trained_on].mean().clamp(0.02, 0.98)
        if task.training.plan.balance:
            weight = torch.where(answers > 0.5, 0.5 / share, 0.5 / (1 - share))
        images = np.load(task.images, mmap_mode="r")
        images = at_resolution(images, task.training.network.resolution).to(task.device)
        rows = trained_on.nonzero().flatten()
        return cls(images, answers, rows, held_out, weight, float(share))


def at_resolution(images: np.ndarray, resolution: int) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, R, R) uint8 as a network of that resolution expects them."""
    parts = [
        resize(torch.tensor(images[at : at + 256]).permute(0, 3, 1, 2).float(), resolution)
        for at in range(0, len(images), 256)
    ]
    return torch.cat([part.round().to(torch.uint8) for part in parts])


def _try(task: FoldTask, data: _Data, number: int) -> tuple[FilterCNN, Try]:
    """One training from its own initialization: the best epoch's network, and the losses."""
    plan, seed = task.training.plan, (*task.seed, number)
    rng = torch.Generator().manual_seed(_one_number(seed))
    dropout = torch.Generator(task.device).manual_seed(_one_number((*seed, 2)))
    network = _start(task, seed).to(task.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate)
    curve, best = Try([], []), None
    while len(curve.losses) < plan.max_epochs:
        epoch = len(curve.losses)
        rate = plan.learning_rate * (1 + math.cos(math.pi * epoch / plan.half_period)) / 2
        optimizer.param_groups[0]["lr"] = rate
        curve.training_losses.append(_epoch(network, optimizer, data, plan, rng, dropout))
        curve.losses.append(_validation_loss(network, data))
        if best is None or curve.best_epoch == epoch:
            best = {key: value.clone() for key, value in network.state_dict().items()}
        if epoch - curve.best_epoch > plan.patience:
            break
    network.load_state_dict(best)
    return network, curve


def _start(task: FoldTask, seed: Sequence[int]) -> FilterCNN:
    start = task.training.plan.start
    return (
        checkpoints.load(start)
        if start
        else new_filter_cnn(task.training.network, _one_number((*seed, 1)))
    )


def _one_number(seed: Sequence[int]) -> int:
    return int(np.random.SeedSequence(list(seed)).generate_state(1)[0])


def _epoch(network, optimizer, data: _Data, plan: FoldPlan, rng, dropout) -> float:
    """One pass over the training images; returns their mean loss."""
    network.train()
    order, total = data.trained_on[torch.randperm(len(data.trained_on), generator=rng)], 0.0
    for rows in order.split(plan.batch):
        images = data.images[rows]
        if plan.mirror:
            chosen = (torch.rand(len(rows), generator=rng) < 0.5)[:, None, None, None]
            images = torch.where(chosen.to(images.device), images.flip(3), images)
        loss = _loss(network.logits(images / 255, dropout), data, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(order)


@torch.no_grad()
def _validation_loss(network, data: _Data) -> float:
    network.eval()
    total = sum(
        _loss(network.logits(data.images[rows] / 255), data, rows).item()
        for rows in data.held_out.split(INFERENCE_BATCH)
    )
    return float(np.nan_to_num(total / len(data.held_out), nan=np.inf))


def _loss(logits, data: _Data, rows) -> torch.Tensor:
    """Summed over the batch, as published."""
    answers, weight = (each[rows].to(logits) for each in (data.answers, data.weight))
    return F.binary_cross_entropy_with_logits(logits[:, 0], answers, weight, reduction="sum")


def filter_scores(
    folder: Path, images: np.ndarray, folds: int = FOLDS, device: torch.device | None = None
) -> pd.DataFrame:
    """Images (N, H, W, 3) uint8 -> a column per filter property: the mean of its folds.

    `folder` is the one that `train_folds` wrote. Averaging the folds' probabilities (soft voting)
    and rounding are as published. Images are distributed over processes.
    """
    device = device or fastest_device()
    work = partial(_filter_scores, folder, folds, device.type)
    parts = [images[at : at + IMAGES_PER_TASK] for at in range(0, len(images), IMAGES_PER_TASK)]
    return pd.concat(parallel_map(device, work, parts), ignore_index=True)


def _filter_scores(folder: Path, folds: int, device: str, images: np.ndarray) -> pd.DataFrame:
    means = {
        name: fold_probabilities(folder, name, images, folds, device).mean(1)
        for name in FILTER_PROPERTIES
    }
    return pd.DataFrame(means).round(DECIMALS)


def fold_probabilities(
    folder: Path, name: str, images: np.ndarray, folds: int = FOLDS, device: str = "cpu"
) -> np.ndarray:
    """Images (N, H, W, 3) uint8 -> (N, folds): the probabilities of each fold's network."""
    networks = [
        checkpoints.load(folder / f"{name}_fold{fold}.safetensors") for fold in range(folds)
    ]
    inputs = at_resolution(images, networks[0].config.resolution)
    return np.stack([probabilities(network.to(device), inputs) for network in networks], 1)


@torch.no_grad()
def probabilities(network: FilterCNN, images: torch.Tensor) -> np.ndarray:
    """(N, 3, R, R) uint8 images -> (N,) the network's probabilities, without dropout."""
    network.eval()
    device = next(network.parameters()).device
    parts = [network(part.to(device) / 255)[:, 0] for part in images.split(INFERENCE_BATCH)]
    return torch.cat(parts).double().cpu().numpy()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Small networks gain nothing from two threads, and results must not depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class PublishedRater(nn.Module):
    """The original project's filter CNNs, which rate photographs as the annotator rates toy faces.

    Probabilities are the mean of `folds` networks, five as published. Features are the dense layers
    of the first folds: trained to tell gender, quality, age and glasses, not identities.
    """

    def __init__(self, folds: int = FOLDS):
        super().__init__()
        self.config = AnnotatorConfig(attributes=())
        self.folds = nn.ModuleDict(
            {
                name: nn.ModuleList(checkpoints.load(f"{name}-{fold}") for fold in range(folds))
                for name in FILTER_PROPERTIES
            }
        )

    @torch.no_grad()
    def annotate(self, images: np.ndarray, batch: int = INFERENCE_BATCH) -> Annotations:
        """(N, R, R, 3) uint8 faces -> their probabilities and features (N, F); no attributes."""
        device, means, features = next(self.parameters()).device, {}, []
        for name, networks in self.folds.items():
            inputs = at_resolution(images, networks[0].config.resolution)
            means[name] = np.mean([probabilities(one, inputs) for one in networks], axis=0)
            parts = [networks[0].hidden(part.to(device) / 255) for part in inputs.split(batch)]
            features.append(torch.cat(parts).float().cpu().numpy())
        return Annotations({}, means, np.concatenate(features, axis=1))


class FaceEvaluator:
    """Rates generated faces by a meter that knows the domain's faces; `meter` is its name.

    Toy faces: the annotator network. It also gave the simulated labels that the filter CNNs learn
    from, so it cannot reveal errors that they share. Photographs: the published filter CNNs.
    """

    def __init__(self, domain: Domain):
        self.meter = "the annotator network" if domain.has_truth else "the published filter CNNs"
        rater = checkpoints.load("annotator") if domain.has_truth else PublishedRater()
        self.rater = place(rater, "float32", fastest_device())

    def annotate(self, images: np.ndarray) -> Annotations:
        """(N, R, R, 3) uint8 faces -> probabilities and features by the meter."""
        return self.rater.annotate(images)

    def probabilities(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """(N, R, R, 3) uint8 faces -> gender, quality, age and glass, (N,) each."""
        return self.annotate(images).probabilities
