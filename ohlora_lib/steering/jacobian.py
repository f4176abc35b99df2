"""Directions that differ from latent to latent: from the slopes of the scores at each one.

`gradient` is FineTune-v9's: a small MLP regresses the scores from the vector, and the direction of
a property is its gradient there, of length 1. With `held` it is what ridge does, at each latent:
the shortest step in whitened vectors that moves one property by 1 and no other score. `local`
takes the slopes through the generator and the property CNN themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load, save
from torch import nn

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.steering.directions import checked_samples
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.ridge import moments, whitening
from ohlora_lib.store.atomic import write_bytes

TOGETHER = 64


@dataclass(frozen=True, eq=False)
class JacobianDirections:
    """Directions from slopes: (N, D) tensor -> (N, P, D), the expression's first of the P.

    `unwhiten` (D, R) holds the P - 3 others still; None is each property's own unit gradient.
    """

    slopes: Callable[[torch.Tensor], torch.Tensor]
    unwhiten: np.ndarray | None = None
    damping: float = 0.02  # of the mean squared slope: where two scores always go together

    def step(
        self, vectors: np.ndarray, request: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """What to add to each vector, float32; latents that are there often are done once."""
        unique, places = np.unique(vectors, axis=0, return_inverse=True)
        pieces = torch.tensor(unique, dtype=torch.float32).split(TOGETHER)
        arrows = np.concatenate([self._arrows(piece) for piece in pieces])
        return np.einsum("np,npd->nd", request, arrows[places.ravel()]).astype(np.float32)

    def _arrows(self, vectors: torch.Tensor) -> np.ndarray:
        slopes = self.slopes(vectors).double().numpy()
        if self.unwhiten is None:
            own = slopes[:, : len(EXPRESSION)]
            return own / np.maximum(np.linalg.norm(own, axis=2, keepdims=True), 1e-12)
        white = slopes @ self.unwhiten  # (N, P, R)
        gram = white @ white.swapaxes(1, 2)
        ridge = self.damping * np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
        gram += ridge[:, None, None] * np.eye(gram.shape[1])
        wanted = np.eye(gram.shape[1])[:, : len(EXPRESSION)]
        steps = white.swapaxes(1, 2) @ np.linalg.solve(gram, wanted[None])  # (N, R, 3)
        return (self.unwhiten @ steps).swapaxes(1, 2)


def slopes_of(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Scores (N, P) as a function of vectors (N, D) -> (N, P, D)."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        scores = function(x)
        last = scores.shape[1] - 1
        rows = [
            torch.autograd.grad(scores[:, p].sum(), x, retain_graph=p < last)[0]
            for p in range(last + 1)
        ]
    return torch.stack(rows, dim=1)


@dataclass(frozen=True, eq=False)
class Gradient(JacobianDirections):
    """By the slopes of an MLP."""

    def __init__(self, network: "Regressor", unwhiten: np.ndarray | None = None):
        super().__init__(partial(slopes_of, network), unwhiten)  # it goes to other processes
        object.__setattr__(self, "network", network)


def write_gradient(directions: Gradient, path: str | Path) -> None:
    """Write as .safetensors, atomically."""
    tensors = {name: array.numpy() for name, array in directions.network.state_dict().items()}
    if directions.unwhiten is not None:
        tensors["unwhiten"] = np.ascontiguousarray(directions.unwhiten)
    write_bytes(path, save(tensors))


def read_gradient(path: str | Path) -> Gradient:
    """Read what `write_gradient` wrote."""
    tensors = load(Path(path).read_bytes())
    unwhiten = tensors.pop("unwhiten", None)
    hidden, white = tensors["hidden.weight"].shape
    network = Regressor(hidden, len(tensors["mean"]), white, len(tensors["bent.bias"]))
    network.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()})
    return Gradient(network.eval(), unwhiten)


@dataclass(frozen=True)
class GradientConfig:
    """A small MLP; `held` None holds nothing, as published."""

    hidden: int = 256
    epochs: int = 40
    batch: int = 256
    rate: float = 3e-3
    decay: float = 1e-2
    held: tuple[str, ...] | None = None
    seed: int = 2025

    def __post_init__(self):
        if min(self.hidden, self.epochs, self.batch) < 1:
            raise VectorError("hidden, epochs and batch must be 1 or more")


def gradient(
    vectors: np.ndarray, scores: pd.DataFrame, config: GradientConfig | None = None
) -> tuple[Gradient, pd.DataFrame]:
    """Vectors (N, D), their images' scores -> directions, R² of the MLP on a fifth held out."""
    config = config or GradientConfig()
    columns = checked_samples(vectors, scores, config.held or ())
    targets = columns.to_numpy(dtype=float)
    train = np.random.default_rng(config.seed).random(len(targets)) < 0.8
    fit = moments(vectors, targets, np.flatnonzero(train))
    whiten, unwhiten = whitening(fit)
    network = Regressor(config.hidden, *whiten.shape, targets.shape[1], config.seed)
    network.mean.copy_(torch.tensor(fit.vector))
    network.whiten.copy_(torch.tensor(whiten))
    _train(network, vectors, targets, np.flatnonzero(train), config)
    directions = Gradient(network, None if config.held is None else unwhiten)
    rest = np.flatnonzero(~train)
    with torch.inference_mode():
        said = network(torch.tensor(np.asarray(vectors[rest]))).numpy()
    r2 = 1 - np.square(said - targets[rest]).mean(axis=0) / targets[rest].var(axis=0)
    return directions, pd.DataFrame({"property": columns.columns, "r2": r2})


class Regressor(nn.Module):
    """Vectors (N, D) -> scores (N, P), by way of whitened vectors (N, R)."""

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


def _train(network: Regressor, vectors, targets, rows: np.ndarray, config: GradientConfig) -> None:
    """Least squares, with a rate that falls to zero."""
    optimizer = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=config.decay)
    steps = config.epochs * max(1, len(rows) // config.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    random = np.random.default_rng(config.seed)
    spread = torch.tensor(targets.std(axis=0), dtype=torch.float32)
    for _ in range(config.epochs):
        shuffled = random.permutation(rows)
        for batch in np.array_split(shuffled, max(1, len(rows) // config.batch)):
            batch.sort()  # memory-mapped vectors are read in order
            said = network(torch.tensor(np.asarray(vectors[batch])))
            wanted = torch.tensor(targets[batch], dtype=torch.float32)
            loss = ((said - wanted) / spread).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def local(
    generator: Generator,
    network: Callable[[torch.Tensor], torch.Tensor],
    properties: Sequence[str],
    vectors: np.ndarray,
) -> JacobianDirections:
    """At w, through the generator and a network from images to scores (N, P) of `properties`."""
    order = [*EXPRESSION, *(name for name in properties if name not in EXPRESSION)]
    places = [list(properties).index(name) for name in order]
    fit = moments(vectors, np.zeros((len(vectors), 1)), np.arange(len(vectors)))

    def slopes(w: torch.Tensor) -> torch.Tensor:
        parts = w.split(8)  # the maps of every layer are kept for the way back
        scored = lambda w: network(generator.from_w(w))[:, places]  # noqa: E731
        return torch.cat([slopes_of(scored, part) for part in parts])

    return JacobianDirections(slopes, whitening(fit)[1])
