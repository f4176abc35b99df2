"""Golden sets: the recipe of their seeded weights, and the comparison with their stored arrays."""

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

# Largest differences in float32; the golden set's README says how they were measured.
EXACT, SCORE, LATENT, IMAGE, HALF, BOX = 0.0, 1e-5, 2e-5, 1e-4, 2e-3, 1e-3
RANGE = 3.5  # of the images that IMAGE was measured on; features reach further, so does rounding


class GoldenError(Exception):
    """A golden file that cannot be used: damaged, incomplete, or of a recipe that is not ours."""


@dataclass
class Row:
    """One line of the table: a stored array and how far we are from it."""

    golden: str
    tensor: str
    difference: str
    tolerance: str
    passed: bool


@dataclass
class Golden:
    """One NAME.manifest.json with its NAME.golden.npz; collects the comparisons made with it."""

    name: str
    folder: Path
    manifest: dict
    arrays: dict[str, np.ndarray]
    rows: list[Row] = field(default_factory=list)

    def row(self, tensor: str, difference: str, tolerance: str, passed: bool) -> None:
        self.rows.append(Row(self.name, tensor, difference, tolerance, passed))

    def compare(self, tensor: str, ours: object, tolerance: float, part: bool = False) -> None:
        """Our array (or tensor) with the stored one, which may be a `part` of it: see `thinned`."""
        if tensor not in self.arrays:
            return self.row(tensor, "not stored", f"{tolerance:.3g}", False)
        stored = self.arrays[tensor]
        ours = np.asarray(ours.detach().cpu() if isinstance(ours, torch.Tensor) else ours)
        shape = ours.shape
        if part:
            ours = thinned(ours, stored.shape)
        if ours.size == stored.size == 0:  # no face found, in whatever shape that is stored
            return self.row(tensor, "both empty", f"{tolerance:.3g}", True)
        if ours.shape != stored.shape:
            problem = f"{stored.shape} stored, ours is {shape}"
            return self.row(tensor, problem, f"{tolerance:.3g}", False)
        largest = np.abs(stored).max(initial=0)
        if stored.dtype == np.float16:  # a copy of float32 results: large ones are rounded by more
            tolerance = max(tolerance, IMAGE + float(np.spacing(largest)) / 2)
        elif part:
            tolerance *= max(1.0, float(largest) / RANGE)
        difference = np.abs(ours.astype(np.float64) - stored.astype(np.float64))
        worst = float(difference.max(initial=0.0))
        self.row(tensor, f"{worst:.3g}", f"{tolerance:.3g}", worst <= tolerance)

    def compare_levels(self, tensor: str, ours: np.ndarray) -> None:
        """uint8 images: at most one level off, in fewer than 0.1 % of the values."""
        stored = self.arrays[tensor]
        if ours.shape != stored.shape:
            self.row(tensor, f"ours is {ours.shape}", "1 level", False)
            return
        off = np.abs(ours.astype(int) - stored.astype(int))
        passed = off.max() <= 1 and (off > 0).mean() < 1e-3
        self.row(tensor, f"{off.max()} ({(off > 0).mean():.2%})", "1 level, < 0.1 %", bool(passed))

    def leftovers(self) -> list[Row]:
        """A failed row for each stored array that nothing was compared with."""
        done = {row.tensor for row in self.rows}
        names = [*self.arrays, *(n for n in self.manifest["arrays"] if n not in self.arrays)]
        return [
            Row(self.name, name, "not compared", "-", False) for name in names if name not in done
        ]


def thinned(ours: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The part of `ours` stored as `shape`: the first images and channels, every k-th pixel.

    Where `ours` does not fit, what comes back has another shape.
    """
    if ours.ndim == len(shape) + 1:
        ours = ours[0]
    if ours.ndim != len(shape) or 0 in shape:
        return ours
    pixels = ours.ndim - 2 if ours.ndim >= 3 else ours.ndim  # the first axis that counts pixels
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
    """The float64 standard normals that the recipe gives to `key`."""
    words = [seed, zlib.crc32(key.encode())]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
    return rng.standard_normal(shape)


def seeded_input(golden: Golden, name: str) -> torch.Tensor:
    """The input `name`, if the manifest describes it by the recipe."""
    entry = golden.manifest["inputs"][name]
    values = normals(golden.manifest["seed"], entry["key"], entry["shape"]) * entry["scale"]
    return torch.from_numpy(values.astype(np.float32))


def image_input(golden: Golden, name: str = "images") -> np.ndarray:
    """(N, H, W, 3) uint8: the pictures that the manifest names for the input `name`."""
    text = golden.manifest["inputs"][name]
    file = next((word.strip(",;") for word in text.split() if ".npz" in word), None)
    if file is None:
        raise GoldenError(f"input '{name}' names no .npz of images: {text!r}")
    try:
        return read_arrays(golden.folder / file)["images"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise GoldenError(f"input '{name}': {file} cannot be read: {error}") from error


def weight(entry: dict, seed: int, own: torch.Tensor) -> torch.Tensor:
    """One entry of a manifest's state dict, made by its recipe and checked against its sums."""
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
        raise GoldenError(f"'{entry['key']}' is of the unknown kind '{kind}'")
    values = values.astype(entry["dtype"])
    first, total = float(values.flat[0]), float(values.sum(dtype=np.float64))
    close = math.isclose(first, entry["check_first"], rel_tol=1e-6, abs_tol=1e-9)
    if not (close and math.isclose(total, entry["check_sum"], rel_tol=1e-6, abs_tol=1e-6)):
        raise GoldenError(f"'{entry['key']}' differs from its check sums: another recipe made it")
    return torch.from_numpy(np.ascontiguousarray(values))


def seeded_network(golden: Golden) -> nn.Module | None:
    """The network whose state dict the manifest lists, seeded, in eval mode; None if of none.

    Its layout is read from keys and shapes; of the constructor's fields we need those that no shape
    shows.
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
    """The config with what the manifest's constructor says and the state dict does not show."""
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
    """After the block: what the named modules gave in it, call after call along the first axis.

    `part` chooses among several outputs.
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
