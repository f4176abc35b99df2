"""Directions that differ from latent to latent: the gradients of a small MLP's scores.

As in FineTune-v9: an MLP regresses the scores from the vector, and the direction of a property is
its gradient at the latent, of length 1. With `controlled` scores it does at each latent what ridge
does everywhere: the shortest step in whitened vectors that moves one score by 1 and no other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load, save
from torch import nn

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import FittedDirections, checked_samples
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.ridge import moments, whitening
from ohlora_lib.store.atomic import write_bytes

BATCH = 64


@dataclass(frozen=True)
class GradientConfig:
    """A small MLP and its training; `controlled` None controls nothing, as published."""

    hidden: int = 256
    epochs: int = 40
    batch: int = 256
    rate: float = 3e-3
    decay: float = 1e-2
    controlled: tuple[str, ...] | None = None
    seed: int = 2025

    def __post_init__(self):
        if min(self.hidden, self.epochs, self.batch) < 1:
            raise VectorError("hidden, epochs and batch must be 1 or more")


class Regressor(nn.Module):
    """Vectors (N, D) -> scores (N, P): a linear part and one hidden layer on whitened vectors."""

    def __init__(self, hidden: int, size: int, white: int, scores: int, seed: int = 0):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("whiten", torch.zeros(size, white))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden = nn.Linear(white, hidden)
            self.bent = nn.Linear(hidden, scores)
            self.straight = nn.Linear(white, scores)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        white = (vectors - self.mean) @ self.whiten
        return self.straight(white) + self.bent(torch.tanh(self.hidden(white)))


@dataclass(frozen=True, eq=False)
class GradientDirections:
    """Directions from the gradients of `network`: (N, D) -> scores (N, P), the first 3 EXPRESSION.

    Without `unwhiten` each direction is the property's unit gradient; with it (D, R) the other
    P - 1 scores are controlled.
    """

    network: nn.Module
    unwhiten: np.ndarray | None = None
    damping: float = 0.02  # of the mean squared gradient: for scores that always change together

    def step(
        self, vectors: np.ndarray, request: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """What to add to each vector, float32; repeated latents are computed once."""
        unique, places = np.unique(vectors, axis=0, return_inverse=True)
        batches = torch.tensor(unique, dtype=torch.float32).split(BATCH)
        directions = np.concatenate([self._directions(batch) for batch in batches])
        return np.einsum("np,npd->nd", request, directions[places.ravel()]).astype(np.float32)

    def _directions(self, vectors: torch.Tensor) -> np.ndarray:
        """(N, D) -> (N, 3, D)."""
        gradients = gradients_of(self.network, vectors).double().numpy()
        if self.unwhiten is None:
            own = gradients[:, : len(EXPRESSION)]
            return own / np.maximum(np.linalg.norm(own, axis=2, keepdims=True), 1e-12)
        white = gradients @ self.unwhiten  # (N, P, R)
        gram = white @ white.swapaxes(1, 2)
        ridge = self.damping * np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
        gram += ridge[:, None, None] * np.eye(gram.shape[1])
        wanted = np.eye(gram.shape[1])[:, : len(EXPRESSION)]
        steps = white.swapaxes(1, 2) @ np.linalg.solve(gram, wanted[None])  # (N, R, 3)
        return (self.unwhiten @ steps).swapaxes(1, 2)


def gradients_of(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Gradients (N, P, D) of a function (N, D) -> (N, P) at x."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        scores = function(x)
        last = scores.shape[1] - 1
        rows = [
            torch.autograd.grad(scores[:, p].sum(), x, retain_graph=p < last)[0]
            for p in range(last + 1)
        ]
    return torch.stack(rows, dim=1)


def fit_gradient(
    vectors: np.ndarray, scores: pd.DataFrame, config: GradientConfig | None = None
) -> FittedDirections:
    """Vectors (N, D), scores of their images -> directions, R² of the MLP on a held-out fifth."""
    config = config or GradientConfig()
    columns = checked_samples(vectors, scores, config.controlled or ())
    targets = columns.to_numpy(dtype=float)
    train = np.random.default_rng(config.seed).random(len(targets)) < 0.8
    fit = moments(vectors, targets, np.flatnonzero(train))
    whiten, unwhiten = whitening(fit)
    network = Regressor(config.hidden, *whiten.shape, targets.shape[1], config.seed)
    network.mean.copy_(torch.tensor(fit.vector))
    network.whiten.copy_(torch.tensor(whiten))
    _train(network, vectors, targets, np.flatnonzero(train), config)
    directions = GradientDirections(network, None if config.controlled is None else unwhiten)
    rest = np.flatnonzero(~train)
    with torch.inference_mode():
        predicted = network(torch.tensor(np.asarray(vectors[rest]))).numpy()
    r2 = 1 - np.square(predicted - targets[rest]).mean(axis=0) / targets[rest].var(axis=0)
    return FittedDirections(directions, pd.DataFrame({"property": columns.columns, "r2": r2}))


def _train(network: Regressor, vectors, targets, rows: np.ndarray, config: GradientConfig) -> None:
    """Least squares in units of each score's deviation; the learning rate falls along a cosine."""
    optimizer = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=config.decay)
    steps = config.epochs * max(1, len(rows) // config.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    random = np.random.default_rng(config.seed)
    spread = torch.tensor(targets.std(axis=0), dtype=torch.float32)
    for _ in range(config.epochs):
        shuffled = random.permutation(rows)
        for batch in np.array_split(shuffled, max(1, len(rows) // config.batch)):
            batch.sort()  # memory-mapped vectors are read in order
            predicted = network(torch.tensor(np.asarray(vectors[batch])))
            wanted = torch.tensor(targets[batch], dtype=torch.float32)
            loss = ((predicted - wanted) / spread).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def save_gradient(directions: GradientDirections, path: str | Path) -> None:
    """Write as .safetensors, atomically."""
    tensors = {name: array.numpy() for name, array in directions.network.state_dict().items()}
    if directions.unwhiten is not None:
        tensors["unwhiten"] = np.ascontiguousarray(directions.unwhiten)
    write_bytes(path, save(tensors))


def load_gradient(path: str | Path) -> GradientDirections:
    """Read what `save_gradient` wrote."""
    tensors = load(Path(path).read_bytes())
    unwhiten = tensors.pop("unwhiten", None)
    hidden, white = tensors["hidden.weight"].shape
    network = Regressor(hidden, len(tensors["mean"]), white, len(tensors["bent.bias"]))
    network.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()})
    return GradientDirections(network.eval(), unwhiten)
