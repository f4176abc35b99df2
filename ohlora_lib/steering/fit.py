"""All kinds of directions by name, fitted on one sample of latents and kept in one folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.steering.directions import (
    Directions,
    FittedDirections,
    PerPropertyDirections,
    load_linear,
    save_linear,
)
from ohlora_lib.steering.gradient import (
    GradientConfig,
    GradientDirections,
    fit_gradient,
    load_gradient,
    save_gradient,
)
from ohlora_lib.steering.groups import Grouping, VectorError
from ohlora_lib.steering.method_spec import DIRECTIONS
from ohlora_lib.steering.ridge import RidgeConfig, fit_ridge
from ohlora_lib.steering.svm import SvmConfig, fit_svm
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_json

MIXED = {"eyes": "gradient", "mouth": "svm", "pose": "svm"}
TURNING = (("pose", "turn"), ("pose", "asymmetry"))
"""What goes with a turn of the head: the nose moves, and the far eye looks smaller."""
INDEX = "directions.json"


def fit_directions(
    names: Sequence[str],
    vectors: np.ndarray,
    scores: pd.DataFrame,
    grouping: Grouping,
    scene: np.ndarray | None = None,
    svm: SvmConfig | None = None,
    gradient: GradientConfig | None = None,
) -> dict[str, FittedDirections]:
    """Vectors (N, D), scores of their images -> the named kinds of DIRECTIONS, fitted.

    `scene` (N, C), the colors around each face, is needed by 'ridge scene' only. 'mixed' is made of
    two others, which are fitted for it.
    """
    svm, gradient = svm or SvmConfig(), gradient or GradientConfig()
    controlled = tuple(name for name in PROPERTIES if name in scores)
    for name in names:
        if name not in DIRECTIONS:
            raise VectorError(f"no directions are called {name!r}: use {', '.join(DIRECTIONS)}")
    for name in ("ridge scene", "ridge natural"):
        if name in names and scene is None:
            raise VectorError(f"'{name}' needs the colors around each face: pass scene=")
    fits = {
        "svm": lambda: fit_svm(vectors, scores, grouping, svm),
        "svm all": lambda: fit_svm(vectors, scores, None, svm),
        "svm controlled": lambda: fit_svm(
            vectors, scores, grouping, replace(svm, controlled=controlled)
        ),
        "ridge": lambda: fit_ridge(vectors, scores),
        "ridge scene": lambda: fit_ridge(vectors, scores, scene=scene),
        "ridge natural": lambda: fit_ridge(
            vectors, scores, config=RidgeConfig(tuple(scores), ("pose",), TURNING), scene=scene
        ),
        "ridge groups": lambda: fit_ridge(vectors, scores, grouping),
        "gradient": lambda: fit_gradient(vectors, scores, gradient),
        "gradient controlled": lambda: fit_gradient(
            vectors, scores, replace(gradient, controlled=controlled)
        ),
    }
    parts = [part for name in names for part in _parts(name)]
    return {name: fits[name]() for name in dict.fromkeys(parts)}


def _parts(name: str) -> tuple[str, ...]:
    """What directions of this name consist of."""
    return tuple(MIXED.values()) if name == "mixed" else (name,)


@dataclass(frozen=True, eq=False)
class DirectionSet:
    """Directions by name, the layer whose vectors they move, and the groups of the sample."""

    layer: str
    grouping: Grouping
    directions: dict[str, Directions]

    def __getitem__(self, name: str) -> Directions:
        """Directions by their name in DIRECTIONS."""
        if missing := [part for part in _parts(name) if part not in self.directions]:
            raise StoreError(
                f"no directions {missing[0]!r} were fitted, only {', '.join(self.directions)}"
            )
        if name == "mixed":
            return PerPropertyDirections(**{one: self.directions[d] for one, d in MIXED.items()})
        return self.directions[name]

    def save(self, folder: str | Path) -> None:
        """Write a file per kind of directions and, last, the index."""
        for name, directions in self.directions.items():
            save = save_gradient if isinstance(directions, GradientDirections) else save_linear
            save(directions, _file(folder, name))
        medians = dict(zip(self.grouping.properties, self.grouping.medians, strict=True))
        index = {"layer": self.layer, "medians": medians, "directions": list(self.directions)}
        write_json(Path(folder) / INDEX, index)

    @classmethod
    def load(cls, folder: str | Path) -> "DirectionSet":
        """Read what `save` wrote."""
        path = Path(folder) / INDEX
        if not path.exists():
            raise StoreError(f"{path} does not exist: run notebook 07 first")
        index = json.loads(path.read_text())
        grouping = Grouping(tuple(index["medians"]), tuple(index["medians"].values()))
        loaded = {
            name: (load_gradient if name.startswith("gradient") else load_linear)(
                _file(folder, name)
            )
            for name in index["directions"]
        }
        return cls(index["layer"], grouping, loaded)


def _file(folder: str | Path, name: str) -> Path:
    return Path(folder) / f"{name.replace(' ', '_')}.safetensors"
