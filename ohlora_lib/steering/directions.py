"""Directions: how to move a latent so that eyes, mouth and pose change as requested."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.groups import Grouping, VectorError, checked_scores
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_bytes


class Directions(Protocol):
    """What every steering method implements; calibration and the control test use nothing else."""

    def step(
        self, vectors: np.ndarray, request: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Vectors (N, D), request (N, 3) of eyes, mouth, pose, groups (N,) -> what to add (N, D).

        `groups` is needed where directions differ by group: `Grouping.indices` of the scores of
        the unedited images.
        """
        ...


@dataclass(frozen=True, eq=False)
class LinearDirections:
    """Directions that are the same for every latent, or for every latent of a group.

    Fits that control other scores also know the directions that move those (`controlled`).
    """

    vectors: np.ndarray  # (G, 3, D) float32: what one unit of eyes, mouth, pose adds
    grouping: Grouping | None = None  # None: no groups, G = 1
    controlled: np.ndarray | None = None  # (G, H, D) float32: of each other score
    names: tuple[str, ...] = EXPRESSION  # eyes, mouth, pose, then the H controlled scores
    effects: np.ndarray | None = None  # (3, 3 + H): what one unit should change; None: its own by 1

    def __post_init__(self):
        groups = len(self.grouping.names) if self.grouping else 1
        if self.vectors.ndim != 3 or self.vectors.shape[:2] != (groups, len(EXPRESSION)):
            raise VectorError(
                f"directions are {self.vectors.shape}: {groups} groups need ({groups}, 3, D)"
            )
        if not np.isfinite(self.vectors).all():
            raise VectorError("directions are not finite: check the vectors they were fitted on")
        count = self.every(0).shape[1]
        if len(self.names) != count:
            raise VectorError(f"{count} directions per group need {count} names: {self.names}")

    def step(
        self, vectors: np.ndarray, request: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """What to add to each vector, float32."""
        request = np.asarray(request, np.float32)
        if vectors.shape[1:] != self.vectors.shape[2:]:
            raise VectorError(f"vectors are {vectors.shape}: need (N, {self.vectors.shape[2]})")
        if request.shape != (len(vectors), len(EXPRESSION)):
            raise VectorError(f"request is {request.shape}: need ({len(vectors)}, 3)")
        return np.einsum("np,npd->nd", request, self.vectors[self._groups(len(vectors), groups)])

    def every(self, count: int, groups: np.ndarray | None = None) -> np.ndarray:
        """Directions of `count` latents, controlled scores after the three: (count, 3 + H, D)."""
        known = self.vectors
        if self.controlled is not None:
            known = np.concatenate([known, self.controlled], axis=1)
        return known[self._groups(count, groups)] if count else known[:0]

    def _groups(self, count: int, groups: np.ndarray | None) -> np.ndarray:
        if self.grouping is None:
            return np.zeros(count, int)
        if groups is None:
            raise VectorError("these directions differ by group: pass the group of each latent")
        groups = np.asarray(groups)
        fits = groups.shape == (count,) and groups.dtype.kind in "ui"
        if not fits or (count and not 0 <= groups.min() <= groups.max() < len(self.vectors)):
            raise VectorError(
                f"groups are {groups.dtype} {groups.shape}: need ({count},) integers from 0 to "
                f"{len(self.vectors) - 1}"
            )
        return groups


@dataclass(frozen=True)
class ScaledDirections:
    """Directions with other step sizes: each column of a request is multiplied by a factor."""

    directions: Directions
    factors: tuple[float, float, float]

    def step(
        self, vectors: np.ndarray, request: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        return self.directions.step(vectors, request * np.array(self.factors, np.float32), groups)


@dataclass(frozen=True)
class PerPropertyDirections:
    """Different directions for each property: v9's `mixed` is gradient for eyes, else SVM."""

    eyes: Directions
    mouth: Directions
    pose: Directions

    def step(
        self, vectors: np.ndarray, request: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        return sum(
            getattr(self, name).step(vectors, request * np.eye(3, dtype=np.float32)[at], groups)
            for at, name in enumerate(EXPRESSION)
        )


class FittedDirections(NamedTuple):
    """Directions and the quality of the fit: a row per property (and group)."""

    directions: Directions
    report: pd.DataFrame


def checked_samples(
    vectors: np.ndarray, scores: pd.DataFrame, controlled: Sequence[str]
) -> pd.DataFrame:
    """Vectors (N, D), N rows of scores -> columns of eyes, mouth, pose and the controlled scores.

    A controlled score that never varies is left out; anything else that is wrong raises an error.
    """
    if vectors.ndim != 2 or len(vectors) != len(scores):
        raise VectorError(f"vectors are {vectors.shape}: {len(scores)} scores need (N, D) of them")
    chosen = checked_scores(scores, dict.fromkeys((*EXPRESSION, *controlled)))
    varied = chosen.loc[:, chosen.nunique() > 1]
    if constant := set(EXPRESSION).difference(varied):
        raise VectorError(
            f"the score of {min(constant)!r} is the same in all rows: no direction can be fitted"
        )
    for rows in pieces(np.arange(len(vectors))):
        bad = ~np.isfinite(vectors[rows]).all(axis=1)
        if bad.any():
            raise VectorError(f"vector {rows[bad][0]} is not finite: sample it again")
    return varied


def pieces(rows: np.ndarray, size: int = 8192) -> list[np.ndarray]:
    """Row numbers in chunks whose vectors fit into memory."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def save_linear(directions: LinearDirections, path: str | Path) -> None:
    """Write as .safetensors, atomically, with the grouping in the metadata."""
    grouping = directions.grouping
    about = {
        "grouping": json.dumps(grouping and [grouping.properties, grouping.medians]),
        "names": json.dumps(directions.names),
    }
    tensors = {"directions": directions.vectors, "controlled": directions.controlled,
               "effects": directions.effects}  # fmt: skip
    tensors = {
        name: np.ascontiguousarray(tensor, np.float32)
        for name, tensor in tensors.items()
        if tensor is not None
    }
    write_bytes(path, save(tensors, about))


def load_linear(path: str | Path) -> LinearDirections:
    """Read what `save_linear` wrote."""
    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            grouping, names = (json.loads(file.metadata()[key]) for key in ("grouping", "names"))
            vectors = tensors["directions"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} holds no directions: {error}") from error
    grouping = Grouping(*map(tuple, grouping)) if grouping else None
    controlled, effects = (tensors.get(name) for name in ("controlled", "effects"))
    return LinearDirections(vectors, grouping, controlled, tuple(names), effects)
