"""All directions that the search finds, by name, and the methods of steering made of them.

A method's name is a recipe: directions, then what is done with them, as in "svm", "svm, steps",
"ridge, steps, recenterd", "ridge, measured, steps", "ridge, steps, recenterd, layers 0-8".
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.steering.directions import (
    Directions,
    LinearDirections,
    PerPropertyDirections,
    read_linear_directions,
    write_directions,
)
from ohlora_lib.steering.groups import Grouping, VectorError
from ohlora_lib.steering.jacobian import GradientConfig, gradient, read_gradient, write_gradient
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.ridge import ridge
from ohlora_lib.steering.svm import SvmConfig, svm
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_json

DIRECTIONS = {
    "svm": "as published: per group, unit length, nothing held",
    "svm all": "one SVM per property over all images",
    "svm held": "as svm, with all other properties projected out",
    "ridge": "one regression of all scores on whitened vectors, its pseudo-inverse",
    "ridge scene": "as ridge, which also leaves the colors around the face alone",
    "ridge groups": "a ridge per group, drawn towards that of all images",
    "gradient": "as v9: unit gradients of a small MLP at each latent",
    "gradient held": "the MLP's slopes at each latent, other properties held",
    "mixed": "as v9: gradient for eyes, svm for mouth and pose",
}
"""What can be found, and how."""
ROUNDS = 2
"""Measured corrections of a recenterd method."""


@dataclass(frozen=True)
class Search:
    """Which directions to find, from vectors of which layer."""

    directions: tuple[str, ...] = ("svm", "ridge")
    layer: str = "w"
    svm: SvmConfig = field(default_factory=SvmConfig)
    gradient: GradientConfig = field(default_factory=GradientConfig)

    def __post_init__(self):
        for name in self.directions:
            if name not in DIRECTIONS:
                raise VectorError(f"no directions are called {name!r}: {', '.join(DIRECTIONS)}")


def find(
    search: Search,
    vectors: np.ndarray,
    scores: pd.DataFrame,
    grouping: Grouping,
    folder: Path,
    scene: np.ndarray | None = None,
) -> dict[str, pd.DataFrame]:
    """Vectors (N, D), scores -> directions as files in `folder`, and name -> report.

    `scene` (N, C), the colors around each face, is only for directions that leave them alone.
    """
    reports = {}
    write_json(folder / "search.json", {"layer": search.layer, "directions": search.directions})
    write_json(folder / "groups.json", dict(zip(grouping.properties, grouping.medians)))  # noqa: B905
    everything = tuple(name for name in PROPERTIES if name in scores)
    for name in _parts(search.directions):
        path = folder / f"{name.replace(' ', '_')}.safetensors"
        if name.startswith("gradient"):
            held = everything if name == "gradient held" else None
            found, reports[name] = gradient(vectors, scores, replace(search.gradient, held=held))
            write_gradient(found, path)
            continue
        held = everything if name == "svm held" else ()
        config = replace(search.svm, held=held)
        found, reports[name] = {
            "svm": lambda c=config: svm(vectors, scores, grouping, c),
            "svm all": lambda c=config: svm(vectors, scores, None, c),
            "svm held": lambda c=config: svm(vectors, scores, grouping, c),
            "ridge": lambda: ridge(vectors, scores),
            "ridge scene": lambda: ridge(vectors, scores, scene=_known(scene)),
            "ridge groups": lambda: ridge(vectors, scores, grouping),
        }[name]()
        write_directions(found, path)
    return reports


def _known(scene: np.ndarray | None) -> np.ndarray:
    if scene is None:
        raise VectorError("'ridge scene' needs the colors around each face: sample them")
    return scene


def read_grouping(folder: Path) -> Grouping:
    """The groups that `find` was given."""
    path = folder / "groups.json"
    if not path.exists():
        raise StoreError(f"{path} is not there: run the stage that finds directions first")
    medians = json.loads(path.read_text())
    return Grouping(tuple(medians), tuple(medians.values()))


def _parts(names: Sequence[str]) -> list[str]:
    """`mixed` is made of two others."""
    wanted = [part for name in names for part in
              (("gradient", "svm") if name == "mixed" else (name,))]  # fmt: skip
    return list(dict.fromkeys(wanted))


def read_directions(name: str, folder: Path) -> Directions:
    """Directions that `find` left."""
    if name == "mixed":
        eyes, others = (read_directions(part, folder) for part in ("gradient", "svm"))
        return PerPropertyDirections(eyes, others, others)
    path = folder / f"{name.replace(' ', '_')}.safetensors"
    if not path.exists():
        there = sorted(other.stem.replace("_", " ") for other in folder.glob("*.safetensors"))
        raise StoreError(f"{folder} has no directions {name!r}, only {', '.join(there)}")
    return read_gradient(path) if name.startswith("gradient") else read_linear_directions(path)


@dataclass(frozen=True)
class Recipe:
    """What a method's name asks for."""

    name: str
    directions: str
    steps: bool  # by the stated rule; else their own length
    recentering: int
    measured: bool  # at each latent: arrows of its own
    layers: str  # which styled layers it enters, both ends named; "" is all

    @classmethod
    def read(cls, name: str) -> "Recipe":
        """A name as it stands in a parameter or a table."""
        directions, *rest = [part.strip() for part in name.split(",")]
        if directions not in DIRECTIONS:
            raise VectorError(f"method {name!r}: its directions are one of {', '.join(DIRECTIONS)}")
        styles = [m for part in rest if (m := re.fullmatch(r"layers (\d+)-(\d+)", part))]
        wrong = [part for part in rest if part not in ("steps", "recenterd", "measured")
                 and not part.startswith("layers ")]  # fmt: skip
        if wrong or len(styles) != sum(part.startswith("layers") for part in rest):
            raise VectorError(
                f"method {name!r}: after the directions come 'measured', 'steps', 'recenterd', "
                "'layers 0-8'"
            )
        if "measured" in rest and not directions.startswith("ridge"):
            raise VectorError(f"method {name!r}: only what a ridge found can be measured")
        if styles and int(styles[0][1]) > int(styles[0][2]):
            raise VectorError(f"method {name!r}: layers are named from the first to the last")
        layers = styles[0][0] if styles else ""
        steps, measured = "steps" in rest, "measured" in rest
        return cls(name, directions, steps, ROUNDS * ("recenterd" in rest), measured, layers)

    @property
    def styles(self) -> tuple[int, int] | None:
        """The first styled layer that it enters, and the one after the last; None for all."""
        if not self.layers:
            return None
        first, last = self.layers.removeprefix("layers ").split("-")
        return int(first), int(last) + 1

    def method(self, folder: Path) -> Method:
        """The method, of what `find` left in `folder`; steps still of their own length."""
        found = read_directions(self.directions, folder)
        grouping = _grouping(found)
        layer = json.loads((folder / "search.json").read_text())["layer"]
        return Method(self.name, found, layer, grouping, self.recentering,
                      styles=self.styles, measured=self.measured)  # fmt: skip


def _grouping(directions: Directions) -> Grouping | None:
    if isinstance(directions, PerPropertyDirections):
        return _grouping(directions.mouth)
    return directions.grouping if isinstance(directions, LinearDirections) else None
