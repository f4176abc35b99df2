"""Oh-LoRA in two lines: `ohlora_lib.OhLora.load().image(eyes=1.2, mouth=0.9, pose=-0.6)`.

A file of selected faces (`oh_lora.safetensors`) holds, for K faces, the neutral w and what one unit
of eyes, mouth and pose adds to it, and the weights of the synthesis network that fine-tuning
changed. It names its base checkpoint, from which the other weights come.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ohlora_lib import checkpoints
from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.method import Method, Start
from ohlora_lib.steering.play_page import LEVELS, write_page
from ohlora_lib.steering.responses import EYES, MIDDLE, MOUTH, POSE, REQUESTS
from ohlora_lib.steering.sampling import Sampler
from ohlora_lib.store import ROOT, StoreError
from ohlora_lib.store.atomic import write_bytes

FACES_FILE = "oh_lora.safetensors"
EMBEDDED_FACES = Path(checkpoints.EMBEDDED) / FACES_FILE
"""Part of the package."""
RUN_FACES = tuple(
    ROOT / "data" / "ohlora_v3" / scale / "09_select_final_vectors" / FACES_FILE
    for scale in ("paper", "quick")
)
"""Where notebook 09 writes the file in a checkout, the larger scale first."""
CLOSED = LEVELS["eyes"][0]
"""Eyes at which the lids meet, far below the levels of the image generation test."""
STRIP_LEVELS = {
    "eyes": np.linspace(CLOSED, EYES[1], 5),
    "mouth": np.array(MOUTH),
    "pose": np.array(POSE) - MIDDLE[2],
}
"""Eyes from closed to wide; mouth and pose at the levels of the image generation test, centered on
the population's mean."""
SYNTHESIS = "synthesis."
"""Prefix of the weights that turn w into an image; the mapping network is not needed."""
DIRECTIONS_KEY = "arrows"
"""The tensor's name in the file format; files written earlier have it, too."""


@dataclass(frozen=True, eq=False, repr=False)
class OhLora:
    """K selected faces. One unit of eyes, mouth or pose is one standard deviation of all faces."""

    generator: Generator
    w: np.ndarray  # (K, 512) float32: neutral, eyes = mouth = pose = 0
    directions: np.ndarray  # (K, 3, 512) float32: what one unit of eyes, mouth, pose adds to w
    source: str = "memory"  # the file they come from

    def __post_init__(self):
        size = self.generator.config.w_size
        if self.w.shape[1:] != (size,) or self.directions.shape != (len(self.w), 3, size):
            raise VectorError(
                f"w is {self.w.shape} and directions are {self.directions.shape}: "
                f"must be (K, {size}) and (K, 3, {size})"
            )

    def __repr__(self) -> str:
        resolution = self.generator.config.resolution
        return f"OhLora({len(self)} faces, {resolution}x{resolution}, from {self.source})"

    @classmethod
    def load(cls, path: str | Path | None = None) -> "OhLora":
        """The faces in `path`; by default those of the last ohlora_v3 run in this checkout, or, if
        there was none, those that come with the package."""
        candidates = [Path(path)] if path else [*RUN_FACES, EMBEDDED_FACES]
        for candidate in candidates:
            if candidate.is_file():
                return _read(candidate)
        raise StoreError(
            f"no selected faces in {' or '.join(map(str, candidates))}: "
            "run ./run_all.sh ohlora_v3, whose notebook 09 writes them"
        )

    def __len__(self) -> int:
        """The number of faces."""
        return len(self.w)

    def image(
        self, eyes: float = 0.0, mouth: float = 0.0, pose: float = 0.0, face: int = 0
    ) -> Image.Image:
        """One image. Larger numbers open eyes and mouth wider and turn the head to its own right.

        0 is the mean of all faces. Useful ranges: -4.2 (closed) … 1.2, -1.8 … 1.8 and -1.2 … 1.2;
        images degrade far outside.
        """
        return Image.fromarray(self.images([(eyes, mouth, pose)], face)[0])

    def strip(self, name: str = "eyes", levels=None, face: int = 0, **others: float) -> Image.Image:
        """Images side by side; `name` (eyes, mouth or pose) increases from left to right."""
        if name not in EXPRESSION:
            raise VectorError(f"cannot vary {name!r}: choose one of {', '.join(EXPRESSION)}")
        if wrong := set(others) - (set(EXPRESSION) - {name}):
            raise VectorError(f"cannot fix {min(wrong)!r} while {name!r} varies")
        levels = STRIP_LEVELS[name] if levels is None else levels
        requests = [tuple((others | {name: x}).get(n, 0.0) for n in EXPRESSION) for x in levels]
        return Image.fromarray(np.concatenate(self.images(requests, face), axis=1))

    def export_page(
        self,
        path: str | Path,
        faces: Sequence[int] | None = None,
        levels: Mapping[str, Sequence[float]] = LEVELS,
    ) -> tuple[int, list[int]]:
        """Write one HTML file in which these faces can be turned, blink and talk, without Python
        and without network; returns the WebP quality and the bytes of each face's images.

        Faces come best first: by default the first six. `levels` of eyes, mouth and pose are those
        that are drawn; the page blends between them.
        """
        faces = range(min(6, len(self))) if faces is None else faces
        for face in faces:
            self._check(face)
        return write_page(path, partial(self.images, number_format="auto"), faces, levels)

    def images(
        self, requests: ArrayLike, face: int = 0, number_format: str = "float32"
    ) -> np.ndarray:
        """Images (N, R, R, 3) uint8 at requests (N, 3) of eyes, mouth and pose."""
        self._check(face)
        request = np.asarray(requests, np.float32)
        if request.shape[1:] != (len(EXPRESSION),) or not np.isfinite(request).all():
            raise VectorError("eyes, mouth and pose must be finite numbers, (N, 3)")
        w = self.w[face] + request @ self.directions[face]
        return Sampler(self.generator, number_format, lod=0).images(w)

    def _check(self, face: int) -> None:
        if not 0 <= face < len(self):
            raise VectorError(f"face {face}: must be from 0 to {len(self) - 1}")


def steered_w(
    sampler: Sampler, method: Method, start: Start, requests: np.ndarray = REQUESTS
) -> np.ndarray:
    """w of each latent at each request: N latents, requests (R, 3) -> (N, R, 512)."""
    count = len(start.vectors)
    return np.stack(
        [
            sampler.to_w(method.edit(start, np.tile(request, (count, 1))), method.layer)
            for request in requests
        ],
        axis=1,
    )


def linear_fit(w: np.ndarray, requests: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Least-squares fit of w (K, R, 512) as a linear function of the requests (R, 3).

    Returns the neutral w (K, 512), directions (K, 3, 512), and the RMS residual divided by the RMS
    movement: 0 if the steering is linear in w.
    """
    design = np.column_stack([np.ones(len(requests)), requests])
    coefficients = np.linalg.pinv(design) @ w.astype(np.float64)  # (K, 4, 512)
    residual = w - design @ coefficients
    moved = w - w.mean(axis=1, keepdims=True)
    error = np.sqrt(np.square(residual).mean() / max(np.square(moved).mean(), 1e-12))
    return np.float32(coefficients[:, 0]), np.float32(coefficients[:, 1:]), float(error)


def write_faces(
    path: str | Path, generator: Generator, w: np.ndarray, directions: np.ndarray, base: str
) -> None:
    """Write w (K, 512), directions (K, 3, 512) and the synthesis weights that differ from `base`, a
    checkpoint's name or its file's path in the repository."""
    base_state = _load_base(base).state_dict()
    state = {k: v.cpu() for k, v in generator.state_dict().items() if k.startswith(SYNTHESIS)}
    for name, weight in state.items():
        if name not in base_state or base_state[name].shape != weight.shape:
            raise VectorError(f"{base} cannot be the base of this generator: {name} differs")
    changed = {k: v.numpy() for k, v in state.items() if not torch.equal(v, base_state[k])}
    tensors = changed | {"w": np.float32(w), DIRECTIONS_KEY: np.float32(directions)}
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_bytes(path, save(tensors, {"base": base, "digest": _digest(base_state)}))


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    """Hash of the synthesis weights, 16 hex digits."""
    values = hashlib.sha256()
    for name in sorted(state):
        if name.startswith(SYNTHESIS):
            values.update(state[name].detach().float().numpy().tobytes())
    return values.hexdigest()[:16]


def _load_base(base: str) -> Generator:
    return checkpoints.load(ROOT / base if base.endswith(".safetensors") else base)


def _read(path: Path) -> OhLora:
    """Read what `write_faces` wrote."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            base, digest = ((file.metadata() or {})[key] for key in ("base", "digest"))
        w, directions = (tensors.pop(name).numpy() for name in ("w", DIRECTIONS_KEY))
    except (SafetensorError, KeyError, OSError) as error:
        raise StoreError(f"{path} is not a file of selected faces: {error}") from error
    generator = _load_base(base)
    if _digest(generator.state_dict()) != digest:
        raise StoreError(
            f"{path} was written with another version of its base {base}: "
            "run ./run_all.sh ohlora_v3 again"
        )
    if wrong := generator.load_state_dict(tensors, strict=False).unexpected_keys:
        raise StoreError(f"{path} has weights {wrong[0]}, which its base {base} does not have")
    return OhLora(generator.eval(), w, directions, str(path))
