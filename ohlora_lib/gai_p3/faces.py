"""Faces by their conditions: `NvaeFaces.load().image(eyes=0.9, mouth=0.1, head=0.3, seed=7)`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from ohlora_lib import checkpoints
from ohlora_lib.models.nvae import CONDITIONS, NVAE
from ohlora_lib.store import ROOT, StoreError

EMBEDDED_NETWORK = Path(checkpoints.EMBEDDED) / "nvae.safetensors"
"""Part of the package."""
RUN_NETWORKS = tuple(
    ROOT / "data" / "gai_p3" / scale / "04_generator" / "nvae.safetensors"
    for scale in ("paper", "quick")
)
"""Where notebook 04 writes its network in a checkout, the larger scale first."""
MIDDLE = 0.5  # of a condition that is not given
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, eq=False, repr=False)
class NvaeFaces:
    """A conditional NVAE. A seed is an identity; the conditions, 0 to 1, are the rest."""

    network: NVAE
    source: str = "memory"  # the file it comes from

    def __post_init__(self):
        names = getattr(getattr(self.network, "config", None), "conditions", ())
        if not isinstance(self.network, NVAE) or tuple(names) != CONDITIONS:
            raise StoreError(
                f"{self.source} is not an NVAE with the conditions {', '.join(CONDITIONS)}: "
                "give the nvae.safetensors that notebook gai_p3/04 writes"
            )

    def __repr__(self) -> str:
        side = self.network.config.resolution
        return f"NvaeFaces({side}x{side}, {', '.join(CONDITIONS)}, from {self.source})"

    @classmethod
    def load(cls, path: str | Path | None = None) -> "NvaeFaces":
        """The network in `path`; by default that of the last gai_p3 run in this checkout, or, if
        there was none, the one that comes with the package."""
        candidates = [Path(path)] if path else [*RUN_NETWORKS, EMBEDDED_NETWORK]
        for candidate in candidates:
            if candidate.is_file():
                return cls(checkpoints.load(candidate), str(candidate))
        raise StoreError(
            f"no network in {' or '.join(map(str, candidates))}: run ./run_all.sh gai_p3, whose "
            "notebook 04 writes it"
        )

    def image(
        self,
        eyes: float = MIDDLE,
        mouth: float = MIDDLE,
        hair_color: float = MIDDLE,
        background: float = MIDDLE,
        head: float = MIDDLE,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> Image.Image:
        """One image. 1 means eyes and mouth open, dark hair, bright background, and a head turned
        to the image's right (0.5: ahead). The same seed is the same woman."""
        row = (eyes, mouth, hair_color, background, head)
        return Image.fromarray(self.images([row], [seed], temperature)[0])

    def strip(
        self,
        name: str = "eyes",
        levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
        seed: int = 0,
        **others: float,
    ) -> Image.Image:
        """Images side by side; the condition `name` takes these levels."""
        for given in (name, *others):
            if given not in CONDITIONS:
                raise ValueError(f"no condition {given!r}: choose from {', '.join(CONDITIONS)}")
        if name in others:
            raise ValueError(f"cannot fix {name!r} while it varies")
        rows = [[(others | {name: x}).get(n, MIDDLE) for n in CONDITIONS] for x in levels]
        return Image.fromarray(np.concatenate(self.images(rows, [seed] * len(rows)), axis=1))

    def images(
        self, conditions: ArrayLike, seeds: Sequence[int], temperature: float = 1.0
    ) -> np.ndarray:
        """Images (N, R, R, 3) uint8 of conditions (N, 5), in the order of the arguments of `image`,
        and of N seeds."""
        rows = np.array(conditions, np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(CONDITIONS) or len(rows) != len(seeds):
            raise ValueError(
                f"conditions are {rows.shape} for {len(seeds)} seeds: must be "
                f"({len(seeds)}, {len(CONDITIONS)}), {', '.join(CONDITIONS)}"
            )
        for row in rows:
            for name, value in zip(CONDITIONS, row, strict=True):
                if not 0 <= value <= 1:  # NaN, too
                    raise ValueError(f"{name} {value:g}: must be from 0 to 1")
        for seed in seeds:
            if int(seed) != seed or not 0 <= seed <= LARGEST_SEED:
                raise ValueError(f"seed {seed}: must be a whole number from 0 to {LARGEST_SEED}")
        if not 0 <= temperature <= 2:
            raise ValueError(f"temperature {temperature:g}: must be from 0 to 2")
        return self.network.generate(seeds, rows.astype(np.float32), temperature)
