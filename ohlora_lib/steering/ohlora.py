"""Oh-LoRA's face for people: `ohlora_lib.OhLora.load().image(eyes=1.2, mouth=0.9, pose=-0.6)`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ohlora_lib.checkpoints import registry as weights
from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.models.stylegan import Generator, to_uint8
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.responses import EYES, MIDDLE, MOUTH, POSE
from ohlora_lib.store import ROOT, StoreError
from ohlora_lib.store.atomic import write_bytes

FILE = "oh_lora.safetensors"
EMBEDDED = Path(weights.EMBEDDED) / FILE
MADE = tuple(
    ROOT / "data" / "ohlora_v3" / scale / "09_select_final_vectors" / FILE
    for scale in ("paper", "quick")
)
"""Where notebook 09 leaves the file, the larger scale first."""
LEVELS = {
    "eyes": np.linspace(*EYES, 5),
    "mouth": np.array(MOUTH),
    "pose": np.array(POSE) - MIDDLE[2],
}
"""The levels of the test, around the population's mean."""
DRAWING = "synthesis."
"""The half of the generator that a chosen w still needs."""


@dataclass(frozen=True, eq=False)
class OhLora:
    """K chosen faces and what steers each: eyes, mouth and pose in deviations of the population."""

    generator: Generator
    w: np.ndarray  # (K, 512) float32 where all levels are 0
    arrows: np.ndarray  # (K, 3, 512) float32: what one unit of eyes, mouth, pose adds

    def __post_init__(self):
        size = self.generator.config.w_size
        if self.w.shape[1:] != (size,) or self.arrows.shape != (len(self.w), 3, size):
            raise VectorError(
                f"w is {self.w.shape} and arrows are {self.arrows.shape}: "
                f"need (K, {size}) and (K, 3, {size})"
            )

    @classmethod
    def load(cls, path: str | Path | None = None) -> "OhLora":
        """What notebook 09 left in data/ohlora_v3, or else the faces that the library carries."""
        places = [Path(path)] if path else [*MADE, EMBEDDED]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise StoreError(
                f"there are no chosen faces in {' or '.join(map(str, places))}: "
                "run ./run_all.sh ohlora_v3, whose notebook 09 leaves them"
            )
        return _read(found)

    def __len__(self) -> int:
        """How many faces there are to choose from."""
        return len(self.w)

    def image(
        self, eyes: float = 0.0, mouth: float = 0.0, pose: float = 0.0, face: int = 0
    ) -> Image.Image:
        """One picture; larger is wider open eyes and mouth, and a head turned to its right.

        0 is the mean of all faces. Tested are -1.2…1.2, -1.8…1.8 and -1.2…1.2: far beyond, faces
        break.
        """
        return Image.fromarray(self._draw([(eyes, mouth, pose)], face)[0])

    def strip(self, name: str = "eyes", levels=None, face: int = 0, **others: float) -> Image.Image:
        """Pictures side by side, `name` (eyes, mouth or pose) rising from left to right."""
        if name not in EXPRESSION or not set(others) <= set(EXPRESSION) - {name}:
            asked = name if name not in EXPRESSION else next(iter(others))
            raise VectorError(f"{asked!r}: one of eyes, mouth and pose rises, the others stay")
        levels = LEVELS[name] if levels is None else levels
        requests = [tuple((others | {name: x}).get(n, 0.0) for n in EXPRESSION) for x in levels]
        return Image.fromarray(np.concatenate(self._draw(requests, face), axis=1))

    def _draw(self, requests: list[tuple[float, float, float]], face: int) -> np.ndarray:
        """(N, 3) requests -> (N, R, R, 3) uint8."""
        if not 0 <= face < len(self):
            raise VectorError(f"face {face}: there are {len(self)}, counted from 0")
        request = np.array(requests, np.float32)
        if not np.isfinite(request).all():
            raise VectorError("eyes, mouth and pose must be finite numbers")
        w = torch.tensor(self.w[face] + request @ self.arrows[face])
        with torch.inference_mode():
            return to_uint8(self.generator.from_w(w))


def straightened(w: np.ndarray, requests: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """w (K, R, 512) at each request (R, 3) -> w (K, 512) at no request and arrows (K, 3, 512), by
    least squares, and how far those are off: a share of the movement, both RMS."""
    known = np.column_stack([np.ones(len(requests)), requests])
    model = np.linalg.pinv(known) @ w.astype(np.float64)  # (K, 4, 512)
    missed = w - known @ model
    moved = w - w.mean(axis=1, keepdims=True)
    bend = np.sqrt(np.square(missed).mean() / max(np.square(moved).mean(), 1e-12))
    return np.float32(model[:, 0]), np.float32(model[:, 1:]), float(bend)


def write_faces(
    path: str | Path, generator: Generator, w: np.ndarray, arrows: np.ndarray, base: str
) -> None:
    """Write chosen faces: w (K, 512), arrows (K, 3, 512), and of the generator's drawing half what
    differs from `base` (a checkpoint's name or file), which is loaded with them."""
    theirs = _load_base(base).state_dict()
    own = {k: v.cpu() for k, v in generator.state_dict().items() if k.startswith(DRAWING)}
    missing = [name for name in own if name not in theirs or theirs[name].shape != own[name].shape]
    if missing:
        raise VectorError(f"{base} is no base of this generator: its {missing[0]} is of other size")
    changed = {k: v.numpy() for k, v in own.items() if not torch.equal(v, theirs[k])}
    tensors = changed | {"w": np.float32(w), "arrows": np.float32(arrows)}
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_bytes(path, save(tensors, {"base": base, "digest": _digest(theirs)}))


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    """Sixteen characters that change with any value of the drawing half."""
    values = hashlib.sha256()
    for name in sorted(state):
        if name.startswith(DRAWING):
            values.update(state[name].detach().float().numpy().tobytes())
    return values.hexdigest()[:16]


def _load_base(base: str) -> Generator:
    """A checkpoint by name, or by its file's place in the repository."""
    return weights.load(ROOT / base if base.endswith(".safetensors") else base)


def _read(path: Path) -> OhLora:
    """What `write_faces` wrote."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            base, digest = ((file.metadata() or {})[key] for key in ("base", "digest"))
        w, arrows = (tensors.pop(name).numpy() for name in ("w", "arrows"))
    except (SafetensorError, KeyError, OSError) as error:
        raise StoreError(f"{path} holds no chosen faces: {error}") from error
    generator = _load_base(base)
    if _digest(generator.state_dict()) != digest:
        raise StoreError(
            f"{path}: its faces were chosen with another {base} than is there now: "
            "run ./run_all.sh ohlora_v3 again"
        )
    if wrong := generator.load_state_dict(tensors, strict=False).unexpected_keys:
        raise StoreError(f"{path}: {base} has no {wrong[0]}: was it made with another generator?")
    return OhLora(generator.eval(), w, arrows)
