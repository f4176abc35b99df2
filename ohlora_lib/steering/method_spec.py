"""The specification of a steering method: which directions, and what is added to them.

Given in YAML as a mapping, saved as JSON, named for display:

    {directions: ridge, calibrated: true, layers: [0, 5]}  ->  "ridge, calibrated, layers 0-5"
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from ohlora_lib.steering.groups import VectorError

DIRECTIONS = {
    "svm": "as published: an SVM per group, unit length, nothing controlled",
    "svm all": "one SVM per property on all images",
    "svm controlled": "as svm, made orthogonal to the normals of all other properties",
    "ridge": "one linear regression of all scores; the shortest step, in vectors scaled to equal "
    "spread, that moves one score and keeps the others",
    "ridge scene": "as ridge, with the colors around the face controlled too",
    "ridge natural": "as ridge, with the colors around the face controlled too; the head turns as "
    "a whole, the mouth opens without a smile",
    "ridge groups": "a ridge per group, shrunk toward that of all images",
    "gradient": "as v9: unit gradients of a small MLP at each latent",
    "gradient controlled": "the MLP's gradients at each latent, other properties controlled",
    "mixed": "as v9: gradient for eyes, svm for mouth and pose",
}
"""The kinds of directions and how each is fitted (`fit.fit_directions`)."""
DirectionName = Literal[tuple(DIRECTIONS)]
"""The annotation of a notebook parameter that names one."""


@dataclass(frozen=True)
class MethodSpec:
    """`directions`, one of DIRECTIONS, and what is done with them.

    `calibrated`: step sizes by the common rule, instead of the directions' own length.
    `per_latent`: directions corrected at each latent by measuring trial edits; ridge only.
    `recentered`: latents first move to the population's mean expression.
    `layers`: the first and the last generator layer that the edit enters; None: all.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}

    directions: str
    calibrated: bool = False
    per_latent: bool = False
    recentered: bool = False
    layers: tuple[int, int] | None = None

    def __post_init__(self):
        if self.directions not in DIRECTIONS:
            raise VectorError(
                f"directions = {self.directions!r}: must be one of {', '.join(DIRECTIONS)}"
            )
        if self.per_latent and not self.directions.startswith("ridge"):
            raise VectorError(
                f"per_latent needs a ridge, which knows a step for every score; "
                f"directions = {self.directions!r}"
            )
        if self.layers is not None and not 0 <= self.layers[0] <= self.layers[1]:
            raise VectorError(f"layers = {self.layers}: must be the first and the last, from 0 on")

    @property
    def name(self) -> str:
        """The display name, which lists the components."""
        parts = [self.directions]
        parts += ["per latent"] * self.per_latent
        parts += ["calibrated"] * self.calibrated
        parts += ["recentered"] * self.recentered
        parts += [f"layers {self.layers[0]}-{self.layers[1]}"] if self.layers else []
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Fields that `from_json` reads."""
        fields = asdict(self)
        return fields | {"layers": self.layers and list(self.layers)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "MethodSpec":
        """A specification from what `to_json` gave."""
        layers = fields.get("layers")
        return cls(**fields | {"layers": None if layers is None else tuple(layers)})
