"""The condition values of the training data: a person's labels of some faces, and regressors that
determine those of all others.

Labels are 0, 0.5 or 1: a person sees whether a mouth is closed, a little open or open. With the
`squared` loss a regressor learns the label itself, as the author's did; it saturates, because its
target has three levels. With the `ordinal` loss it learns a value v, of which the labels tell
whether it is above 1/3 and above 2/3: P(label ≥ 0.5) = sigmoid(k (v - 1/3)), and P(label = 1) with
2/3. So v goes on where labels stop.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import workers
from ohlora_lib.gai_p3.collect import Collection
from ohlora_lib.models.condition_cnn import TOWERS, ConditionCNN, ConditionCNNConfig
from ohlora_lib.models.conv_tower import SLOPE, ScoreTower
from ohlora_lib.models.nvae import CONDITIONS
from ohlora_lib.models.precision import fastest_device
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table, write_table
from ohlora_lib.store.work import keep_work
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.nvae import ConditionedFaces
from ohlora_lib.train.toy.loop import rate

LEVELS = (0.0, 0.5, 1.0)
BOUNDS = (1 / 3, 2 / 3)  # between the levels
CALIBRATION_SEED = 20_039  # of rendered women; no other stage renders these
FIRST_SHARPNESS, SHARPNESS_RATE = 12.0, 20.0  # its learning rate, times that of the weights
SLIPS = 0.02
AUTHOR = pd.DataFrame(
    {
        "author's validation MSE": [0.0191, 0.0329, 0.0213, 0.0325, 0.0406],
        "author's MSE of the mean": [0.0339, 0.2040, 0.0614, 0.0917, np.nan],
    },
    index=pd.Index(CONDITIONS, name="condition"),
)
"""From his training logs; on the last tenth of his labels, all of them men."""
AUTHOR_COUNTS = {
    0.0: (7, 796, 34, 360, 266),
    0.5: (289, 295, 544, 1266, 1470),
    1.0: (1704, 909, 1422, 374, 264),
}
"""His labels of each level, by condition: 1,000 women and 1,000 men."""


# Labels


def women_by_name(table: pd.DataFrame, count: int) -> np.ndarray:
    """Rows of the first `count` labeled women by name order, originals only."""
    women = table[(table["kind"] == "female") & (table["ratio"] == 1)]
    return women.sort_values("name").index.to_numpy()[:count]


def simulated_hand(truth: pd.DataFrame, seed: int = 0, slips: float = SLIPS) -> pd.DataFrame:
    """True conditions -> labels as a person's: the level of each third, and at random the next."""
    rng = np.random.default_rng([seed, 0])
    levels = sum((truth[list(CONDITIONS)].to_numpy() > bound).astype(int) for bound in BOUNDS)
    slipped = rng.random(levels.shape) < slips
    beside = np.where(levels == 1, rng.integers(0, 2, levels.shape) * 2, 1)
    labels = np.where(slipped, beside, levels) / 2
    return pd.DataFrame(labels, truth.index, list(CONDITIONS))


def write_labels(labels: pd.DataFrame, table: pd.DataFrame, folder: Path) -> None:
    """A CSV per condition, in the author's format; `labels` is indexed by rows of the table."""
    for name in CONDITIONS:
        about = table.loc[labels.index]
        rows = {"gender": about["kind"], "img_id": range(len(about)), "path": about["name"]}
        write_table(pd.DataFrame(rows | {"value": labels[name]}), folder / f"{name}.csv")


def read_labels(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """A person's CSVs, eyes.csv … head.csv with the columns path and value -> labels, indexed by
    rows of the collection's table."""
    rows = pd.Series(table.index, table["name"])
    found = {}
    for name in CONDITIONS:
        path = folder / f"{name}.csv"
        given = read_table(path, ["path", "value"]).set_index("path")["value"]
        if given.index.duplicated().any():
            twice = given.index[given.index.duplicated()][0]
            raise StoreError(f"{path}: {twice} is labeled twice: keep one of its rows")
        if len(unknown := given.index.difference(rows.index)):
            raise StoreError(f"{path}: {unknown[0]} is no image of the collection: remove its row")
        if len(wrong := given.index[~given.isin(LEVELS)]):
            raise StoreError(f"{path}: {wrong[0]} has {given[wrong[0]]}: must be 0, 0.5 or 1")
        found[name] = given.rename(rows)
    labels = pd.DataFrame(found)
    if labels.isna().any(axis=None):
        row, name = next((r, c) for r, c in labels.isna().stack()[lambda x: x].index)
        raise StoreError(f"{folder / name}.csv: {table['name'][row]} has no value: add its row")
    return labels


# Regressors


@dataclass(frozen=True)
class ValuesPlan:
    """How the regressors are trained; every second image is mirrored, and its head label."""

    loss: Literal["ordinal", "squared"] = "ordinal"
    epochs: int = 30
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    validation: float = 0.1  # fraction of the labeled images, random
    network: ConditionCNNConfig = field(default_factory=ConditionCNNConfig)


@dataclass(frozen=True)
class ValuesTask:
    """One regressor: images (N, R, R, 3) uint8 and labels (N,), and which rows are held out."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    plan: ValuesPlan
    seed: int
    device: str


def train_regressors(
    folder: Path,
    images: np.ndarray,
    labels: pd.DataFrame,
    plan: ValuesPlan | None = None,
    seed: int = 0,
) -> tuple[ConditionCNN, pd.DataFrame]:
    """Images (N, R, R, 3) uint8 and labels (N, 5) -> the five regressors, and their losses.

    The table has the losses after each epoch: condition, epoch, training, validation. `folder`
    keeps the finished regressors, and must contain nothing else.
    """
    plan = plan or ValuesPlan()
    if len(images) != len(labels) or len(images) < 20:
        raise ValueError(f"{len(images)} images, {len(labels)} labels: 20 or more pairs are needed")
    keep_work(
        folder,
        "regressors",
        __name__,
        {"images": images, "labels": labels, "plan": plan, "seed": seed},
    )
    device, held_out = fastest_device(), held_out_rows(len(images), plan, seed)
    jobs = [
        Job(
            folder / f"{name}.pt",
            ValuesTask(
                name,
                np.asarray(images),
                labels[name].to_numpy(np.float32),
                held_out,
                plan,
                seed,
                device.type,
            ),
        )
        for name in CONDITIONS
    ]
    with workers(device) as pool:
        files = run_jobs(train_regressor, jobs, "regressors", pool)
    network, curves = ConditionCNN(plan.network), []
    for at, (name, file) in enumerate(zip(CONDITIONS, files, strict=True)):
        content = torch.load(file, map_location="cpu", weights_only=True)
        network.towers[name].load_state_dict(content["tower"])
        network.sharpness[at] = content["sharpness"]
        curve = pd.DataFrame(content["curve"]).rename_axis("epoch").reset_index()
        curves.append(curve.assign(condition=name))
    return network.eval(), pd.concat(curves, ignore_index=True)


def held_out_rows(count: int, plan: ValuesPlan, seed: int) -> np.ndarray:
    """(N,) bool: which labeled images are for validation."""
    held_out = np.zeros(count, bool)
    rows = np.random.default_rng([seed, 1]).permutation(count)
    held_out[rows[: max(1, round(plan.validation * count))]] = True
    return held_out


def train_regressor(task: ValuesTask, path: Path) -> None:
    """Train one regressor; saves its weights and losses."""
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # five regressors share the cores, and one gives the same bits anywhere
    try:
        torch.save(_Training(task).run(), path)
    finally:
        torch.set_num_threads(threads)


class _Training:
    def __init__(self, task: ValuesTask):
        self.task, self.plan = task, task.plan
        self.images = torch.from_numpy(np.array(task.images)).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(task.labels)
        self.tower = _new_tower(task).to(task.device)
        self.log_sharpness = nn.Parameter(
            torch.tensor(math.log(FIRST_SHARPNESS), device=task.device)
        )
        self.optimizer = torch.optim.AdamW(
            [
                {"params": self.tower.parameters(), "scale": 1.0},
                {"params": [self.log_sharpness], "weight_decay": 0.0, "scale": SHARPNESS_RATE},
            ],
            weight_decay=self.plan.weight_decay,
        )

    def run(self) -> dict[str, object]:
        rows, held_out = np.flatnonzero(~self.task.held_out), np.flatnonzero(self.task.held_out)
        curve = []
        for epoch in range(self.plan.epochs):
            training = self._epoch(epoch, rows)
            curve.append({"training": training, "validation": self._validation(held_out)})
        ordinal = self.plan.loss == "ordinal"
        return {
            "tower": self.tower.cpu().state_dict(),
            "sharpness": self.log_sharpness.exp().item() if ordinal else 0.0,
            "curve": curve,
        }

    def _epoch(self, epoch: int, rows: np.ndarray) -> float:
        self.tower.train()
        plan, rng = self.plan, stream(self.task.seed, epoch)
        dropout = torch.Generator(self.task.device).manual_seed(int(rng.integers(2**62)))
        order = rng.permutation(rows)
        batches = np.array_split(order, max(1, len(order) // plan.batch))
        losses = []
        for at, some in enumerate(batches):
            progress = (epoch + at / len(batches)) / plan.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = group["scale"] * plan.learning_rate * rate(progress)
            mirrored = torch.from_numpy(rng.random(len(some)) < 0.5)
            loss = self._loss(some, mirrored, dropout)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    @torch.no_grad()
    def _validation(self, rows: np.ndarray) -> float:
        self.tower.eval()
        return self._loss(rows, torch.zeros(len(rows), dtype=torch.bool)).item()

    def _loss(self, rows, mirrored, dropout=None) -> torch.Tensor:
        images = self.images[rows].float() / 127.5 - 1
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        labels = self.labels[rows]
        if self.task.name == "head":
            labels = torch.where(mirrored, 1 - labels, labels)
        values = self.tower(images.to(self.task.device), dropout)[:, 0]
        labels = labels.to(values)
        if self.plan.loss == "squared":
            return F.mse_loss(values, labels)
        return ordinal_loss(values, labels, self.log_sharpness.exp())


def ordinal_loss(values: torch.Tensor, labels: torch.Tensor, sharpness) -> torch.Tensor:
    """Cross-entropy of "the label is above the bound", the mean over faces and both bounds; of all
    labels, a fraction SLIPS is taken to be wrong."""
    total = 0.0
    for bound in BOUNDS:
        above = SLIPS / 2 + (1 - SLIPS) * torch.sigmoid(sharpness * (values - bound))
        total = total + F.binary_cross_entropy(above, (labels > bound).to(values))
    return total / len(BOUNDS)


def expected_labels(values: np.ndarray, sharpness: np.ndarray) -> np.ndarray:
    """Values (N, 5) of the regressors -> the mean label (N, 5) that a person would give."""
    above = [1 / (1 + np.exp(-sharpness * (values - bound))) for bound in BOUNDS]
    return np.where(sharpness > 0, sum(above) / len(BOUNDS), values)


def calibrate(network: ConditionCNN, images: np.ndarray, truth: np.ndarray) -> None:
    """Scale and shift the values so that they are the best linear estimate of the true conditions
    (N, 5) of these images (N, R, R, 3); those that do not rise with the truth stay as they are."""
    values = network.measure(images, clip=False)
    for at in range(len(CONDITIONS)):
        if values[:, at].std() < 1e-6:
            continue
        slope, shift = np.polyfit(values[:, at], truth[:, at], 1)
        if slope <= 0:
            continue
        network.scale[at] *= float(slope)
        network.offset[at] = float(slope) * network.offset[at] + float(shift)


def _new_tower(task: ValuesTask) -> ScoreTower:
    """Kaiming initialization: with torch's default the signal fades from layer to layer."""
    place = CONDITIONS.index(task.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([task.seed, 2, place]).generate_state(1)[0]))
        tower = ScoreTower(TOWERS[task.name], task.plan.network, hidden=128)
        for convolution in tower.modules():
            if isinstance(convolution, nn.Conv2d):
                nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
                nn.init.zeros_(convolution.bias)
    with torch.no_grad():
        tower.fc_final.bias.fill_(0.5)
    return tower


# The training data


def training_faces(
    collection: Collection, values: pd.DataFrame, variants: bool = False
) -> ConditionedFaces:
    """The kept images, with or without brightness variants, with their conditions; `values` has the
    column row, and CONDITIONS."""
    if not variants:
        original = collection.table["ratio"].to_numpy() == 1
        values = values[original[values["row"]]]
    rows = values["row"].to_numpy()
    conditions = values[list(CONDITIONS)].to_numpy(np.float32)
    return ConditionedFaces(collection.images[rows], conditions, str(collection.folder))


def agreement(values: np.ndarray, truth: Mapping[str, np.ndarray] | pd.DataFrame) -> pd.DataFrame:
    """Values (N, 5) and true conditions -> r, slope of values over truth, mean absolute error."""
    rows = {}
    for at, name in enumerate(CONDITIONS):
        true, value = np.asarray(truth[name], float), values[:, at].astype(float)
        covariance = np.cov(true, value)
        rows[name] = {
            "r": np.corrcoef(true, value)[0, 1] if value.std() > 1e-9 else np.nan,
            "slope": covariance[0, 1] / covariance[0, 0],
            "mean absolute error": np.abs(value - true).mean(),
        }
    return pd.DataFrame(rows).T.rename_axis("condition")
