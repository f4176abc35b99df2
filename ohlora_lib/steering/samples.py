"""Samples: latents of a seed, their vectors and the scores of their images, kept on disk.

A sample folder holds w.npy (or another layer's name), to be memory-mapped, a file for each layer
asked for, scene.npy with the colors around the face, and scores.parquet, which is written last: a
folder without it is not finished. Latents
go through the networks in blocks of their own (`latents.BLOCK`), so neither the number of shards
nor a kill in between changes a bit of it. Images are never kept.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import single_threaded
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.meters import Meter
from ohlora_lib.steering.sampling import BLOCK, LAYERS, Sampler, latents
from ohlora_lib.steering.scene import border_colors
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import atomic_path, write_json
from ohlora_lib.store.tables import read_table, write_table

SCORES, PLAN, SCENE = "scores.parquet", "plan.json", "scene"


@dataclass(frozen=True)
class SampleConfig:
    """How many latents, from which seed, and which of their vectors to keep.

    Published: 80,000 (v7), 240,000 (v8, svm_ms2), 160,000 (mixed).
    """

    count: int
    seed: int
    layers: tuple[str, ...] = ("w",)
    shards: int = 8

    def __post_init__(self):
        if self.count < 1 or self.shards < 1:
            raise VectorError(f"{self.count} latents in {self.shards} shards: at least 1 of each")
        unknown = [name for name in self.layers if name not in LAYERS]
        if unknown or not self.layers:
            raise VectorError(f"layers {self.layers}: choose from {', '.join(LAYERS)}")


class Sample(NamedTuple):
    """What lies in a sample folder: vectors by layer (N, D), memory-mapped, and N scores."""

    vectors: dict[str, np.ndarray]
    scores: pd.DataFrame  # idx, then the meter's properties
    scene: np.ndarray  # (N, C) colors around the face, memory-mapped


def sample(
    sampler: Sampler,
    meter: Meter,
    config: SampleConfig,
    folder: str | Path,
    executor: Executor | None = None,
) -> Sample:
    """Draw, score and keep what is not there yet; what another plan left there is refused."""
    folder = Path(folder)
    _claim(folder, sampler, meter, config)
    if not (folder / SCORES).exists():
        jobs = [
            Job(folder / f"shard_{blocks[0]:06d}_{blocks[-1]:06d}.npz", blocks)
            for blocks in np.array_split(np.arange(-(-config.count // BLOCK)), config.shards)
            if len(blocks)
        ]
        work = partial(single_threaded, _do_shard, sampler, meter, config)
        shards = run_jobs(work, jobs, "sampling", executor)
        _join(folder, shards, config, meter)
    for shard in folder.glob("shard_*.npz"):
        shard.unlink()
    return read_sample(folder)


def read_sample(folder: str | Path) -> Sample:
    """What a finished sample folder holds."""
    folder = Path(folder)
    scores = read_table(folder / SCORES, ["idx"])
    layers = [name for name in LAYERS if (folder / f"{name}.npy").exists()]
    vectors = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in layers}
    if not (folder / f"{SCENE}.npy").exists():
        raise StoreError(f"{folder} has no {SCENE}.npy: remove the folder and sample again")
    scene = np.load(folder / f"{SCENE}.npy", mmap_mode="r")
    for name, array in (vectors | {SCENE: scene}).items():
        if len(array) != len(scores):
            raise StoreError(f"{folder}: {len(array)} of {name} for {len(scores)} scores")
    return Sample(vectors, scores, scene)


def _claim(folder: Path, sampler: Sampler, meter: Meter, config: SampleConfig) -> None:
    """Note what is sampled; a folder begun with something else is not gone on with."""
    plan = asdict(config) | {
        "layers": list(config.layers),
        "generator": _digest(sampler.generator),
        "meter": _identity(meter),
    }
    del plan["shards"]  # how the work was cut changes nothing
    path = folder / PLAN
    if path.exists() and (there := json.loads(path.read_text())) != plan:
        differs = next(key for key in plan if there.get(key) != plan[key])
        raise StoreError(
            f"{folder} holds a sample of another {differs} ({there.get(differs)}): "
            "remove it, or sample into another folder"
        )
    # A folder cut otherwise has shards of other blocks: they are redone, nothing is lost but time.
    write_json(path, plan)


def _digest(network: nn.Module) -> str:
    """Of all weights: another network's vectors or scores must not be mixed with these."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _identity(meter: Meter) -> str:
    """A digest of what tells a meter from another: its type, properties, networks and settings."""
    told = [type(meter).__name__, meter.properties, meter]
    return hashlib.sha256(json.dumps(told, default=_as_json).encode()).hexdigest()


def _as_json(part: object) -> object:
    if isinstance(part, nn.Module):
        return _digest(part)
    if isinstance(part, np.ndarray):
        return part.tolist()
    name = type(part).__name__  # no more is known of an object of any other kind
    if not is_dataclass(part):
        return name
    return [name, {field.name: getattr(part, field.name) for field in fields(part)}]


def _do_shard(sampler: Sampler, meter: Meter, config: SampleConfig, blocks, path: Path) -> None:
    """Draw and score these blocks, each as a whole; the last one's surplus is cut off later."""
    parts = [_block(sampler, meter, config, block) for block in blocks]
    with path.open("wb") as file:
        np.savez(
            file, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )


def _block(
    sampler: Sampler, meter: Meter, config: SampleConfig, block: int
) -> dict[str, np.ndarray]:
    numbers = np.arange(block * BLOCK, (block + 1) * BLOCK)
    z = latents(config.seed, numbers, sampler.z_size)
    kept = {name: sampler.vectors(z, name) for name in config.layers}
    images = sampler.images(kept["w"] if "w" in kept else sampler.vectors(z))
    return kept | {SCENE: border_colors(images), "scores": meter(images).scores}


def _join(folder: Path, shards: Sequence[Path], config: SampleConfig, meter: Meter) -> None:
    """Shards, in order -> an array a layer, and the table that says that all are there."""
    for name in (*config.layers, SCENE):
        with np.load(shards[0]) as first:
            shape, dtype = (config.count, *first[name].shape[1:]), first[name].dtype
        with atomic_path(folder / f"{name}.npy") as temporary:
            whole = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
            for start, part in _parts(shards, name):
                whole[start : start + len(part)] = part[: config.count - start]
            whole.flush()
    scores = np.concatenate([part for _, part in _parts(shards, "scores")])[: config.count]
    table = pd.DataFrame(scores, columns=list(meter.properties))
    table.insert(0, "idx", np.arange(config.count))
    write_table(table, folder / SCORES)


def _parts(shards: Sequence[Path], name: str):
    """Each shard's array with the place where it begins."""
    start = 0
    for shard in shards:
        with np.load(shard) as arrays:
            part = arrays[name]
        yield start, part
        start += len(part)
