"""The filter CNNs: one network per property and fold, trained on labeled faces, voting together.

As published, minus the reference's two slips: what predicts here is each fold's best epoch, and it
predicts in eval mode. Every fold is a job with files of its own, so a killed run goes on from the
finished ones, and the same seed gives the same networks whoever trains which fold.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ohlora_lib import checkpoints
from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import processes
from ohlora_lib.measure.labels import auroc
from ohlora_lib.models.filter_cnn import FilterCNN, FilterCNNConfig, new_filter_cnn
from ohlora_lib.models.unet_parser import resize
from ohlora_lib.store.atomic import write_json

PREDICTED_AT_ONCE = 256


@dataclass(frozen=True)
class FoldPlan:
    """How a fold is trained. The rate falls to zero in `half_period` epochs, and rises again.

    A try whose best validation loss (mean per face) is above `accept` is followed by another.
    """

    learning_rate: float
    accept: float
    batch: int = 16
    half_period: int = 10
    patience: int = 20
    most_epochs: int = 1000
    tries: int = 10
    mirror: bool = False  # every second face, at random
    balance: bool = False  # the rarer answer counts as much as the other
    start: str = ""  # weights that each try starts from; without: random ones


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained."""

    network: FilterCNNConfig
    plan: FoldPlan


PUBLISHED = {
    "gender": Recipe(FilterCNNConfig(), FoldPlan(5e-6, 0.35, start="gender-v1-0")),
    "quality": Recipe(
        FilterCNNConfig(filter="quality"), FoldPlan(5e-6, 0.13, start="quality-v1-0")
    ),
    "age": Recipe(FilterCNNConfig(filter="age"), FoldPlan(2.5e-5, 0.23)),
    "glass": Recipe(FilterCNNConfig(filter="glass"), FoldPlan(5e-5, 0.10)),
}
"""The third version's: 256 px, one network of about six million values per property and fold."""


@dataclass(frozen=True)
class FoldTask:
    """One fold: labeled faces (.npy, (M, H, W, 3) uint8), their answers, rows that validate."""

    recipe: Recipe
    faces: Path
    answers: tuple[int, ...]
    held_out: tuple[int, ...]
    seed: tuple[int, ...]
    weights: Path
    device: str = "cpu"


@dataclass(frozen=True)
class Try:
    """One training from a start: validation loss after each epoch, and the best one."""

    losses: list[float]
    training_losses: list[float]

    @property
    def best_epoch(self) -> int:
        return int(np.argmin(self.losses))

    @property
    def best(self) -> float:
        return min(self.losses)


def folds(answers: np.ndarray, count: int, seed: Sequence[int]) -> list[np.ndarray]:
    """(M,) answers of 0 and 1 -> `count` sets of rows, each with its share of both answers."""
    rng = np.random.default_rng(list(seed))
    shuffled = rng.permutation(len(answers))
    dealt = shuffled[np.argsort(answers[shuffled], kind="stable")]
    return [np.sort(dealt[fold::count]) for fold in range(count)]


def train_folds(
    folder: Path,
    faces: Path,
    labels: pd.DataFrame,
    recipes: Mapping[str, Recipe],
    count: int = 5,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
) -> pd.DataFrame:
    """Train what is not there yet: `{property}_fold{k}.safetensors` and `.json` for each recipe.

    `labels` has a column of 0 and 1 for each property, a row for each labeled face. Gives a row
    for each fold: property, fold, and what `train_fold` noted. More than one worker: in processes.
    """
    jobs = []
    for at, (name, recipe) in enumerate(recipes.items()):
        answers = labels[name].to_numpy()
        for fold, held_out in enumerate(folds(answers, count, (seed, at))):
            path, rows = folder / f"{name}_fold{fold}", tuple(map(int, held_out))
            given = (recipe, faces, tuple(map(int, answers)), rows, (seed, at, fold))
            task = FoldTask(*given, path.with_suffix(".safetensors"), device)
            jobs.append(Job(path.with_suffix(".json"), task))
    alone = workers == 1 or device != "cpu"
    with contextlib.nullcontext() if alone else processes(workers) as executor:
        files = run_jobs(train_fold, jobs, "folds", executor)
    notes = [json.loads(file.read_text()) for file in files]
    who = [{"property": name, "fold": fold} for name in recipes for fold in range(count)]
    return pd.DataFrame([one | note for one, note in zip(who, notes, strict=True)])


def train_fold(task: FoldTask, record: Path) -> None:
    """Train one fold until a try is accepted; leaves its weights, then `record` (JSON)."""
    with _one_thread():
        write_json(record, _train(task))


def _train(task: FoldTask) -> dict[str, object]:
    """The tries' losses, which was kept and why; its AUROC on the faces that validate."""
    data, plan, tries, kept = _Data.of(task), task.recipe.plan, [], None
    while not tries or (kept[1].best > plan.accept and len(tries) < plan.tries):
        network, curve = _try(task, data, len(tries))
        tries.append(curve)
        if kept is None or curve.best < kept[1].best:
            kept = network, curve
    network, curve = kept
    checkpoints.save(network, task.weights)
    said = probabilities(network, data.faces[data.held_out])
    return {
        "tries": [asdict(each) for each in tries],
        "kept": tries.index(curve),
        "best_epoch": curve.best_epoch,
        "loss": curve.best,
        "accepted": curve.best <= plan.accept,
        "auroc": auroc(said, data.answers[data.held_out].numpy()),
    }


@dataclass(frozen=True)
class _Data:
    """A fold's faces (M, 3, R, R) uint8 at the network's size, answers, and rows."""

    faces: torch.Tensor
    answers: torch.Tensor
    learnt: torch.Tensor
    held_out: torch.Tensor
    weight: torch.Tensor  # what each face counts in the loss

    @classmethod
    def of(cls, task: FoldTask) -> "_Data":
        answers = torch.tensor(task.answers, dtype=torch.float32)
        held_out = torch.tensor(task.held_out)
        learnt = torch.ones(len(answers), dtype=torch.bool)
        learnt[held_out] = False
        weight = torch.ones_like(answers)
        if task.recipe.plan.balance:
            share = answers[learnt].mean().clamp(0.02, 0.98)
            weight = torch.where(answers > 0.5, 0.5 / share, 0.5 / (1 - share))
        faces = np.load(task.faces, mmap_mode="r")
        faces = fitted(faces, task.recipe.network.resolution).to(task.device)
        return cls(faces, answers, learnt.nonzero().flatten(), held_out, weight)


def fitted(images: np.ndarray, resolution: int) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, R, R) uint8 as a network of that resolution reads them."""
    parts = [
        resize(torch.tensor(images[at : at + 256]).permute(0, 3, 1, 2).float(), resolution)
        for at in range(0, len(images), 256)
    ]
    return torch.cat([part.round().to(torch.uint8) for part in parts])


def _try(task: FoldTask, data: _Data, number: int) -> tuple[FilterCNN, Try]:
    """One training from a start of its own: the best epoch's network, and how it went."""
    plan, seed = task.recipe.plan, (*task.seed, number)
    rng = torch.Generator().manual_seed(_one_number(seed))
    dropout = torch.Generator(task.device).manual_seed(_one_number((*seed, 2)))
    network = _start(task, seed).to(task.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate)
    curve, best = Try([], []), None
    while len(curve.losses) < plan.most_epochs:
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
    start = task.recipe.plan.start
    if start:
        return checkpoints.load(start)
    return new_filter_cnn(task.recipe.network, _one_number((*seed, 1)))


def _one_number(seed: Sequence[int]) -> int:
    return int(np.random.SeedSequence(list(seed)).generate_state(1)[0])


def _epoch(network, optimizer, data: _Data, plan: FoldPlan, rng, dropout) -> float:
    """One pass over the faces to learn from; their mean loss."""
    network.train()
    order, total = data.learnt[torch.randperm(len(data.learnt), generator=rng)], 0.0
    for rows in order.split(plan.batch):
        faces = data.faces[rows]
        if plan.mirror:
            turned = torch.rand(len(rows), generator=rng) < 0.5
            faces = torch.where(turned[:, None, None, None].to(faces.device), faces.flip(3), faces)
        loss = _loss(network.logits(faces / 255, dropout), data, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(order)


@torch.no_grad()
def _validation_loss(network, data: _Data) -> float:
    network.eval()
    total = sum(
        _loss(network.logits(data.faces[rows] / 255), data, rows).item()
        for rows in data.held_out.split(PREDICTED_AT_ONCE)
    )
    return float(np.nan_to_num(total / len(data.held_out), nan=np.inf))


def _loss(logits, data: _Data, rows) -> torch.Tensor:
    """Summed over the batch, as published."""
    place = {"device": logits.device, "dtype": logits.dtype}
    return F.binary_cross_entropy_with_logits(
        logits[:, 0], data.answers[rows].to(**place), data.weight[rows].to(**place), reduction="sum"
    )


def vote(
    folder: Path, name: str, images: np.ndarray, count: int = 5, device: str = "cpu"
) -> np.ndarray:
    """Images (N, H, W, 3) uint8 -> (N, count): what each fold's network of this property says.

    Their mean is the score, as published (soft voting).
    """
    said = []
    for fold in range(count):
        network = checkpoints.load(folder / f"{name}_fold{fold}.safetensors").to(device)
        if fold == 0:
            faces = fitted(images, network.config.resolution)
        said.append(probabilities(network, faces))
    return np.stack(said, 1)


@torch.no_grad()
def probabilities(network: FilterCNN, faces: torch.Tensor) -> np.ndarray:
    """(N, 3, R, R) uint8 faces -> (N,) what the network says, without dropout."""
    network.eval()
    device = next(network.parameters()).device
    parts = [network(part.to(device) / 255)[:, 0] for part in faces.split(PREDICTED_AT_ONCE)]
    return torch.cat(parts).double().cpu().numpy()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Small networks gain nothing from two, and the result shall not depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
