"""Latents by seed, their vectors at the generator's layers, and the images of those.

z -> mapping_split1 -> mapping_split2 -> w -> image; only FineTune-v9's mapping has the middle two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ohlora_lib import checkpoints
from ohlora_lib.compute.workers import map_row_blocks
from ohlora_lib.models import precision
from ohlora_lib.models.pixels import enlarged
from ohlora_lib.models.stylegan import Generator, to_uint8
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.store import inside_root

BLOCK = 64
"""Latents of a seed that are sampled and mapped together. A latent belongs to one block, so its
z and its vectors are the same to the last bit in any request."""
LAYERS = ("z", "mapping_split1", "mapping_split2", "w")
LEAST_SIZE = 128
"""The toy world's meters read faces of this size, so `load_sampler` enlarges smaller ones to it.
On rendered faces of 64 px that are enlarged so, the parser's eye score correlates with the truth by
0.944, on those rendered at 128 px by 0.956; mouth and pose do not differ (250 faces)."""


def latents(seed: int, indices: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """The z of these numbers of a seed, (N, size) float32.

    A number's z is the same whatever other numbers are requested.
    """
    indices = np.asarray(indices, np.int64)
    found = np.empty((len(indices), size), np.float32)
    for block in np.unique(indices // BLOCK):
        drawn = np.random.default_rng([seed, block]).standard_normal((BLOCK, size), np.float32)
        rows = indices // BLOCK == block
        found[rows] = drawn[indices[rows] % BLOCK]
    return found


class Steerable(Protocol):
    """What sampling, directions, calibration, control test and selection need of a generator.

    `Sampler` wraps a StyleGAN. For any other generator, write a class with these members: see
    tests/steering/test_any_generator.py for a DCGAN. Arrays are numpy arrays; a vector must give
    the same image whatever else is in its batch.
    """

    generator: torch.nn.Module
    """The weights: a saved sample is refused for another generator."""

    @property
    def z_size(self) -> int:
        """Numbers per latent, standard normal."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs. On a CPU, work is distributed to processes, so it must be picklable."""
        ...

    def vectors(self, z: np.ndarray, layer: str, label: np.ndarray | None = None) -> np.ndarray:
        """z (N, Z) -> vectors (N, D) of a layer, in which directions are fitted and edits made.
        Conditional generators take labels (N, L); None is their default."""
        ...

    def images(
        self,
        vectors: np.ndarray,
        layer: str,
        unedited: np.ndarray | None = None,
        styles: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Vectors (N, D) of a layer -> images (N, R, R, 3) uint8 RGB. `styles`, of methods that
        name generator layers, is None otherwise."""
        ...


@dataclass(frozen=True, eq=False)
class Sampler:
    """A StyleGAN for arrays: no truncation, the checkpoint's own noise.

    `number_format` is that of the synthesis, `batch` how many latents it takes at a time. Smaller
    images are enlarged to `least_size`. `lod` k draws at resolution / 2^k; None is the checkpoint's
    own, at which the meters read its faces: 1 for the toy world's generators of 256 px.
    """

    generator: Generator
    number_format: str = "auto"
    batch: int = BLOCK
    least_size: int = 0
    lod: int | None = None

    @property
    def to_show(self) -> "Sampler":
        """The same at full resolution, for people to look at."""
        return replace(self, lod=0)

    @property
    def size(self) -> int:
        """Pixels of an image's side."""
        return max(self.generator.config.resolution >> self._lod, self.least_size)

    @property
    def _lod(self) -> int:
        return int(self.generator.synthesis.lod) if self.lod is None else self.lod

    @cached_property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    @property
    def z_size(self) -> int:
        return self.generator.config.z_size

    def vectors(self, z: np.ndarray, layer: str = "w", label: np.ndarray | None = None):
        """z (N, Z), label (N, 7) or None for zeros -> the vectors (N, D) of this layer."""
        self._check(layer)
        if layer == "z":
            return np.asarray(z, np.float32)
        mapping = self.generator.mapping
        if label is None and (size := self.generator.config.label_size):
            label = np.zeros((len(z), size), np.float32)

        def forward(z, label=None):
            if layer == "w":
                return mapping(z, label)
            split = mapping.split1(z, label)
            return split if layer == "mapping_split1" else mapping.split1_to_split2(split)

        given = (z,) if label is None else (z, label)
        # float32: the mapping is a hundredth of the work, and all edits start from its output.
        return self._batched(forward, given, "float32", lambda out: out.cpu().numpy())

    def to_w(self, vectors: np.ndarray, layer: str) -> np.ndarray:
        """Vectors of this layer -> w (N, 512)."""
        self._check(layer)
        if layer == "w":
            return vectors
        if layer == "z":
            return self.vectors(vectors, "w")
        mapping = self.generator.mapping
        onwards = mapping.split1_to_w if layer == "mapping_split1" else mapping.split2_to_w
        return self._batched(onwards, (vectors,), "float32", lambda out: out.cpu().numpy())

    def images(
        self,
        vectors: np.ndarray,
        layer: str = "w",
        unedited: np.ndarray | None = None,
        styles: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Vectors (N, D) of this layer -> images (N, R, R, 3) uint8.

        With `styles` (first styled layer, one past the last) they enter only there; the other
        layers get `unedited`.
        """
        given = (self.to_w(vectors, layer),)
        if styles is not None:
            given += (self.to_w(unedited, layer),)
        return map_row_blocks(self.device, partial(self._synthesize, styles), *given)

    def _synthesize(self, styles: tuple[int, int] | None, *given: np.ndarray) -> np.ndarray:
        if styles is None:
            draw = partial(self.generator.from_w, lod=self.lod)
            return self._batched(draw, given, self.number_format, self._pixels)
        layers = self.generator.config.layers
        if styles[1] > layers:
            raise VectorError(f"layer {styles[1] - 1}: this generator has layers 0 to {layers - 1}")
        inside = torch.zeros(layers, 1, dtype=torch.bool, device=self.device)
        inside[slice(*styles)] = True

        def mixed(w, other):
            wp = torch.where(inside, w[:, None], other[:, None])
            return self.generator.from_wp(wp, lod=self.lod)

        return self._batched(mixed, given, self.number_format, self._pixels)

    def _pixels(self, images: torch.Tensor) -> np.ndarray:
        step = 2**self._lod  # the generator enlarges what it draws at a lower resolution
        return enlarged(to_uint8(images[..., ::step, ::step]), self.least_size)

    def _batched(self, network: Callable, arrays: tuple, number_format: str, to_array: Callable):
        parts = []
        with precision.inference(number_format, self.device):
            for start in range(0, len(arrays[0]), self.batch):
                rows = slice(start, start + self.batch)
                given = [torch.tensor(a[rows], device=self.device) for a in arrays]
                parts.append(to_array(network(*given)))
        if not parts:
            raise VectorError("no latents were given: nothing to generate")
        return np.concatenate(parts)

    def _check(self, layer: str) -> None:
        if layer not in LAYERS:
            raise VectorError(f"layer = {layer!r}: must be one of {', '.join(LAYERS)}")
        if layer.startswith("mapping_split") and not self.generator.config.split_size:
            raise VectorError(
                f"this generator's mapping has no split, so no {layer}: use 'w', or FineTune-v9"
            )


def load_sampler(name_or_path: str | Path) -> Sampler:
    """A generator by its name in the registry, or from a file: on the GPU if there is one.

    A relative path starts at the repository. Images have at least LEAST_SIZE pixels a side.
    """
    path = Path(name_or_path)
    if path.suffix in (".safetensors", ".pth", ".pt"):
        name_or_path = path if path.is_absolute() else inside_root(path)
    network = checkpoints.load(name_or_path)
    if not isinstance(network, Generator):
        raise VectorError(
            f"{path.name} holds a {type(network).__name__}, not a generator: "
            "name a generator's weights"
        )
    network = precision.place(network, "auto", precision.fastest_device())
    return Sampler(network, least_size=LEAST_SIZE)
