"""Golden sets: networks with seeded weights, and the stored outputs of the original code.

A set is NAME.manifest.json (state dict with the recipe of each weight, inputs, list of arrays) and
NAME.golden.npz (the arrays).
"""

import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ohlora_lib.checkpoints import layouts

# Allowed absolute differences in float32: several times the largest difference between a float64
# run, a run without oneDNN and a two-thread run of the original code.
EXACT, SCORE, LATENT, IMAGE, HALF, BOX = 0.0, 1e-5, 2e-5, 1e-4, 2e-3, 1e-3
RANGE = 3.5  # of the images that IMAGE was measured on; larger features have larger errors


class GoldenError(Exception):
    """A golden file that is damaged, incomplete or made by another recipe."""


@dataclass
class Row:
    """One line of the table: a stored array and the difference to it."""

    golden: str
    tensor: str
    difference: str
    tolerance: str
    passed: bool
    detail: str = ""


@dataclass
class Golden:
    """One golden set; collects the comparisons made with it."""

    name: str
    folder: Path
    manifest: dict
    arrays: dict[str, np.ndarray]
    rows: list[Row] = field(default_factory=list)

    def row(self, tensor: str, difference: str, tolerance: str, passed: bool) -> None:
        self.rows.append(Row(self.name, tensor, difference, tolerance, passed))

    def compare(self, tensor: str, ours: object, tolerance: float, part: bool = False) -> None:
        """Compare our array or tensor with the stored one, which may be a `part`: see `thinned`.

        A set need not store every tensor; one that its manifest lists must be there (`leftovers`).
        """
        if tensor not in self.arrays:
            return
        stored = self.arrays[tensor]
        ours = np.asarray(ours.detach().cpu() if isinstance(ours, torch.Tensor) else ours)
        shape = ours.shape
        if part:
            ours = thinned(ours, stored.shape)
        if ours.size == stored.size == 0:  # no face found, whatever the stored shape
            self.row(tensor, "both empty", f"{tolerance:.3g}", True)
            return
        if ours.shape != stored.shape:
            problem = f"stored {stored.shape}, ours {shape}"
            self.row(tensor, problem, f"{tolerance:.3g}", False)
            return
        largest = np.abs(stored).max(initial=0)
        if stored.dtype == np.float16:  # rounded float32 results
            tolerance = max(tolerance, IMAGE + float(np.spacing(largest)) / 2)
        elif part:
            tolerance *= max(1.0, float(largest) / RANGE)
        difference = np.abs(ours.astype(np.float64) - stored.astype(np.float64))
        worst = float(difference.max(initial=0.0))
        self.row(tensor, f"{worst:.3g}", f"{tolerance:.3g}", worst <= tolerance)

    def compare_levels(self, tensor: str, ours: np.ndarray) -> None:
        """uint8 images: at most one level off, in fewer than 0.1 % of the values."""
        if tensor not in self.arrays:
            return
        stored = self.arrays[tensor]
        if ours.shape != stored.shape:
            self.row(tensor, f"ours {ours.shape}", "1 level", False)
            return
        off = np.abs(ours.astype(int) - stored.astype(int))
        passed = off.max() <= 1 and (off > 0).mean() < 1e-3
        self.row(tensor, f"{off.max()} ({(off > 0).mean():.2%})", "1 level, < 0.1 %", bool(passed))

    def leftovers(self) -> list[Row]:
        """A failed row for each stored or listed array that was not compared."""
        done = {row.tensor for row in self.rows}
        names = [*self.arrays, *(n for n in self.manifest["arrays"] if n not in self.arrays)]
        return [
            Row(self.name, name, "not compared", "-", False) for name in names if name not in done
        ]


def thinned(ours: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The part of `ours` stored as `shape`: the first images and channels, every k-th pixel.

    If `ours` does not fit, the result has another shape.
    """
    if ours.ndim == len(shape) + 1:
        ours = ours[0]
    if ours.ndim != len(shape) or 0 in shape:
        return ours
    pixels = ours.ndim - 2 if ours.ndim >= 3 else ours.ndim  # the first pixel axis
    steps = [math.ceil(have / want) for have, want in zip(ours.shape, shape, strict=True)]
    cuts = [slice(None, None, step) for step in steps[pixels:]]
    return ours[(*(slice(want) for want in shape[:pixels]), *cuts)]


def read_golden(folder: Path, name: str) -> Golden:
    try:
        manifest = json.loads((folder / f"{name}.manifest.json").read_text(encoding="utf-8"))
        arrays = read_arrays(folder / f"{name}.golden.npz")
        manifest["arrays"], manifest["state_dict"], manifest["seed"]
    except Exception as error:  # a damaged zip or JSON can fail in many ways
        raise GoldenError(f"cannot be read: {type(error).__name__}: {error}") from error
    return Golden(name, folder, manifest, arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def normals(seed: int, key: str, shape: list[int]) -> np.ndarray:
    """The recipe's float64 standard normals for `key`."""
    words = [seed, zlib.crc32(key.encode())]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
    return rng.standard_normal(shape)


def seeded_input(golden: Golden, name: str) -> torch.Tensor:
    """The input `name`, made by the recipe."""
    entry = golden.manifest["inputs"][name]
    values = normals(golden.manifest["seed"], entry["key"], entry["shape"]) * entry["scale"]
    return torch.from_numpy(values.astype(np.float32))


def image_input(golden: Golden, name: str = "images") -> np.ndarray:
    """(N, H, W, 3) uint8: the images that the manifest names for the input `name`."""
    text = golden.manifest["inputs"][name]
    file = next((word.strip(",;") for word in text.split() if ".npz" in word), None)
    if file is None:
        raise GoldenError(f"input '{name}' names no .npz file: {text!r}")
    try:
        return read_arrays(golden.folder / file)["images"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise GoldenError(f"input '{name}': {file} cannot be read: {error}") from error


def weight(entry: dict, seed: int, own: torch.Tensor) -> torch.Tensor:
    """One entry of a manifest's state dict, made by its recipe, checked against its sums."""
    kind, shape = entry["kind"], entry["shape"]
    if kind == "normal":
        values = normals(seed, entry["key"], shape) * entry["scale"] + entry["offset"]
    elif kind == "constant":
        values = np.full(shape, entry["offset"])
    elif kind == "explicit":
        values = np.array(entry["values"]).reshape(shape)
    elif kind == "blur_kernel":
        line = np.array([1.0, 2.0, 1.0])
        values = np.broadcast_to(np.outer(line, line) / 16, shape)
    elif kind == "structural":
        values = own.numpy()
    else:
        raise GoldenError(f"'{entry['key']}' has the unknown kind '{kind}'")
    values = values.astype(entry["dtype"])
    first, total = float(values.flat[0]), float(values.sum(dtype=np.float64))
    close = math.isclose(first, entry["check_first"], rel_tol=1e-6, abs_tol=1e-9)
    if not (close and math.isclose(total, entry["check_sum"], rel_tol=1e-6, abs_tol=1e-6)):
        raise GoldenError(
            f"'{entry['key']}' differs from its check sums: it was made by another recipe"
        )
    return torch.from_numpy(np.ascontiguousarray(values))


def seeded_network(golden: Golden) -> nn.Module | None:
    """The seeded network of the manifest's state dict, in eval mode; None if it is unknown.

    Its layout follows from keys and shapes, the rest from the manifest's constructor arguments.
    """
    entries = golden.manifest["state_dict"]
    config = layouts.recognize({entry["key"]: tuple(entry["shape"]) for entry in entries})
    if config is None:
        return None
    network = layouts.build(with_constructor(config, golden.manifest.get("constructor", {})))
    own = network.state_dict()
    keys = [entry["key"] for entry in entries]
    if keys != list(own):
        wrong = next((k for k in [*keys, *own] if k not in own or k not in keys), "their order")
        raise GoldenError(f"its state dict is not a {type(network).__name__}'s: {wrong}")
    seed = golden.manifest["seed"]
    network.load_state_dict({e["key"]: weight(e, seed, own[e["key"]]) for e in entries})
    return network.eval()


def with_constructor(config: object, constructor: dict) -> object:
    """The config with those constructor arguments that no shape shows."""
    names = {
        "minibatch_std_group_size": "group_size",
        "min_face_size": "min_face_size",
        "thresholds": "thresholds",
        "factor": "factor",
    }
    known = {ours: constructor[theirs] for theirs, ours in names.items() if theirs in constructor}
    known = {ours: tuple(v) if isinstance(v, list) else v for ours, v in known.items()}
    return type(config)(**{**vars(config), **known})


@contextmanager
def captured(network: nn.Module, *names: str, part: int = 0) -> Iterator[dict[str, torch.Tensor]]:
    """After the block: outputs of the named modules, calls concatenated along the first axis.

    `part` selects one of several outputs.
    """
    calls: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    outputs: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, inputs: tuple, output: object) -> None:
            output = output[part] if isinstance(output, tuple) else output
            calls[name].append(output.clone())  # the next module may work in place

        return hook

    hooks = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
    outputs.update({name: torch.cat(given) for name, given in calls.items() if given})
