"""Directions: how far a latent has to move for the eyes, mouth and pose that one asks for."""

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
    """Whatever steers: published, better or learned, the control test sees nothing else of it."""

    def step(
        self, vectors: np.ndarray, request: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Vectors (N, D), request (N, 3) of eyes, mouth, pose, groups (N,) -> what to add (N, D).

        Where directions differ by group, `groups` has each latent's, as `Grouping.indices` of the
        scores of its unedited image.
        """
        ...


@dataclass(frozen=True, eq=False)
class LinearDirections:
    """Directions that do not depend on the latent, but perhaps on its group.

    Who found them may also know steps that move the other scores, `held` ones, alone.
    """

    vectors: np.ndarray  # (G, 3, D) float32: what one unit of eyes, mouth, pose adds
    grouping: Grouping | None = None  # None: the same everywhere, G = 1
    held: np.ndarray | None = None  # (G, H, D) float32: what one unit of each held score adds
    names: tuple[str, ...] = EXPRESSION  # the expression's, then those of the held scores

    def __post_init__(self):
        groups = len(self.grouping.names) if self.grouping else 1
        if self.vectors.ndim != 3 or self.vectors.shape[:2] != (groups, len(EXPRESSION)):
            raise VectorError(
                f"arrows are {self.vectors.shape}: {groups} groups need ({groups}, 3, D)"
            )
        if not np.isfinite(self.vectors).all():
            raise VectorError("arrows are not finite: were the vectors they were found from?")
        known = len(EXPRESSION) + (0 if self.held is None else self.held.shape[1])
        if len(self.names) != known:
            raise VectorError(f"{known} arrows a group need as many names, not {len(self.names)}")

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
        """So many latents' arrows, those of held scores after the three: (N, P, D)."""
        known = self.vectors if self.held is None else np.concatenate([self.vectors, self.held], 1)
        return known[self._groups(count, groups)]

    def _groups(self, count: int, groups: np.ndarray | None) -> np.ndarray:
        if self.grouping is None:
            return np.zeros(count, int)
        if groups is None:
            raise VectorError("these directions differ by group: give each latent's group")
        groups = np.asarray(groups)
        fits = groups.shape == (count,) and groups.dtype.kind in "ui"
        if not fits or (count and not 0 <= groups.min() <= groups.max() < len(self.vectors)):
            raise VectorError(
                f"groups are {groups.dtype} {groups.shape}: need ({count},) whole numbers from 0 "
                f"to {len(self.vectors) - 1}"
            )
        return groups


@dataclass(frozen=True)
class ScaledDirections:
    """Any directions, with other lengths: a request is multiplied before it is passed on."""

    directions: Directions
    factors: tuple[float, float, float]

    def step(
        self, vectors: np.ndarray, request: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        return self.directions.step(vectors, request * np.array(self.factors, np.float32), groups)


@dataclass(frozen=True)
class PerPropertyDirections:
    """Each property by its own directions: v9's `mixed` is gradient for eyes, SVM for the rest."""

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


class Found(NamedTuple):
    """Directions, and what is known of each: a row per group and property."""

    directions: LinearDirections
    report: pd.DataFrame


def checked_samples(vectors: np.ndarray, scores: pd.DataFrame, held: Sequence[str]) -> pd.DataFrame:
    """Vectors (N, D), N rows of scores -> the expression's scores and after them those held.

    A held score that never varies is left out; whatever else is wrong, the error names it.
    """
    if vectors.ndim != 2 or len(vectors) != len(scores):
        raise VectorError(f"vectors are {vectors.shape}: {len(scores)} scores need (N, D) of them")
    chosen = checked_scores(scores, dict.fromkeys((*EXPRESSION, *held)))
    varied = chosen.loc[:, chosen.nunique() > 1]
    if constant := set(EXPRESSION).difference(varied):
        raise VectorError(f"the score of {min(constant)!r} is the same everywhere: no way leads up")
    for rows in pieces(np.arange(len(vectors))):
        bad = ~np.isfinite(vectors[rows]).all(axis=1)
        if bad.any():
            raise VectorError(f"vector {rows[bad][0]} is not finite: sample it again")
    return varied


def pieces(rows: np.ndarray, size: int = 8192) -> list[np.ndarray]:
    """Rows in pieces that fit into memory."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def write_directions(arrows: LinearDirections, path: str | Path) -> None:
    """Write as .safetensors, atomically, the grouping with it."""
    grouping = arrows.grouping and [arrows.grouping.properties, arrows.grouping.medians]
    tensors = {"arrows": np.ascontiguousarray(arrows.vectors, np.float32)}
    if arrows.held is not None:
        tensors["held"] = np.ascontiguousarray(arrows.held, np.float32)
    about = {"grouping": json.dumps(grouping), "names": json.dumps(arrows.names)}
    write_bytes(path, save(tensors, about))


def read_linear_directions(path: str | Path) -> LinearDirections:
    """Read what `write_directions` wrote."""
    if not Path(path).exists():
        raise StoreError(f"{path} is not there: run the stage that finds directions first")
    try:
        with safe_open(path, "numpy") as file:
            vectors = file.get_tensor("arrows")
            held = file.get_tensor("held") if "held" in file.keys() else None  # noqa: SIM118
            grouping, names = (json.loads(file.metadata()[key]) for key in ("grouping", "names"))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} holds no directions: {error}") from error
    grouping = Grouping(*map(tuple, grouping)) if grouping else None
    return LinearDirections(vectors, grouping, held, tuple(names))
