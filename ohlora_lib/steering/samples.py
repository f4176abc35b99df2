"""Samples of a generator on disk: latents with vectors and scores, or faces with images and scores.

Both are computed in parts, on worker processes if on a CPU. A part that an interrupted run finished
is kept, and a latent goes through the networks in a block of its own (`sampling.BLOCK`), so neither
an interruption nor the size of the parts changes a bit of the result.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import single_threaded, workers
from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.measure.parse import Parser, default_scores, property_scores
from ohlora_lib.measure.scores import ORIGINAL_HAIRSTYLE, SECOND
from ohlora_lib.steering.meters import Meter
from ohlora_lib.steering.sampling import BLOCK, Sampler, latents
from ohlora_lib.steering.scene import border_colors
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import atomic_path, write_json
from ohlora_lib.store.tables import read_table, write_table
from ohlora_lib.store.work import keep_work

PART = 4 * BLOCK
SCORES, PLAN = "scores.parquet", "plan.json"
RAW_SCORES = (*PROPERTIES, ORIGINAL_HAIRSTYLE)


class Sample(NamedTuple):
    """N latents of a seed."""

    vectors: np.ndarray  # (N, D) of one layer, memory-mapped
    scores: pd.DataFrame  # idx, then the meter's properties
    scene: np.ndarray  # (N, C) uint8 colors around the face, memory-mapped


class FaceSample(NamedTuple):
    """N generated faces of a seed."""

    images: np.ndarray  # (N, R, R, 3) uint8, memory-mapped
    scores: pd.DataFrame  # idx, then RAW_SCORES; NaN where the parser found no face


def sample_latents(
    sampler: Sampler, meter: Meter, folder: str | Path, seed: int, count: int, layer: str = "w"
) -> Sample:
    """The first `count` latents of a seed: vectors at a layer and the scores of their images.

    Images are not kept. Writes LAYER.npy, scene.npy and, last, scores.parquet into `folder`, which
    must contain nothing else. A sample of another seed, count, layer, generator or meter is
    replaced.
    """
    folder = Path(folder)
    plan = {"count": count, "seed": seed, "layer": layer}
    made_from = plan | {"generator": sampler.generator, "meter": meter}
    keep_work(folder, "latents", __name__, made_from)
    write_json(folder / PLAN, plan)
    if not (folder / SCORES).exists():
        work = partial(_latents_part, sampler, meter, seed, layer)
        parts = _in_parts(work, count, folder, sampler.device, "latents")
        for name in (layer, "scene"):
            _join(parts, name, count, folder / f"{name}.npy")
        scores = np.concatenate([part for _, part in _arrays(parts, "scores")])
        write_table(_numbered(scores, meter.properties), folder / SCORES)
    _remove_parts(folder)
    return read_sample(folder)


def read_sample(folder: str | Path) -> Sample:
    """What `sample_latents` wrote into a folder."""
    folder = Path(folder)
    scores = read_table(folder / SCORES, ["idx"])
    layer = json.loads((folder / PLAN).read_text())["layer"]
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in (layer, "scene")}
    for name, array in arrays.items():
        if len(array) != len(scores):
            raise StoreError(
                f"{folder}: {len(array)} rows of {name}.npy for {len(scores)} scores: "
                "remove the folder and sample again"
            )
    return Sample(arrays[layer], scores, arrays["scene"])


def sample_faces(
    sampler: Sampler, parser: Parser, folder: str | Path, seed: int, count: int
) -> FaceSample:
    """The images of the first `count` latents of a seed and the raw scores from their class maps.

    Writes images.npy and, last, scores.parquet into `folder`, which must contain nothing else.
    """
    folder = Path(folder)
    made_from = {"generator": sampler.generator, "parser": parser, "seed": seed, "count": count}
    keep_work(folder, "faces", __name__, made_from)
    if not (folder / SCORES).exists():
        work = partial(_faces_part, sampler, parser, seed)
        parts = _in_parts(work, count, folder, sampler.device, "faces")
        _join(parts, "images", count, folder / "images.npy")
        scores = np.concatenate([part for _, part in _arrays(parts, "scores")])
        write_table(_numbered(scores, RAW_SCORES), folder / SCORES)
    _remove_parts(folder)
    scores = read_table(folder / SCORES, ["idx", *RAW_SCORES])
    return FaceSample(np.load(folder / "images.npy", mmap_mode="r"), scores)


def _latents_part(
    sampler: Sampler, meter: Meter, seed: int, layer: str, rows: range, path: Path
) -> None:
    """Vectors, border colors and scores of these latents, block by block."""
    blocks = []
    for start in range(rows.start, rows.stop, BLOCK):
        # The whole block, even if fewer are needed: vectors depend on it in their last bits.
        z = latents(seed, range(start, start + BLOCK), sampler.z_size)
        vectors = sampler.vectors(z, layer)
        images = sampler.images(vectors if layer == "w" else sampler.vectors(z))
        blocks.append((vectors, border_colors(images), meter(images).scores))
    arrays = [np.concatenate(arrays)[: len(rows)] for arrays in zip(*blocks, strict=True)]
    _save(path, dict(zip((layer, "scene", "scores"), arrays, strict=True)))


def _faces_part(sampler: Sampler, parser: Parser, seed: int, rows: range, path: Path) -> None:
    """Images and raw scores of these latents."""
    images = sampler.images(sampler.vectors(latents(seed, rows, sampler.z_size)))
    which = {**default_scores(parser), ORIGINAL_HAIRSTYLE: SECOND["hairstyle"]}
    scores = property_scores(images, parser, which)[list(RAW_SCORES)].to_numpy()
    _save(path, {"images": images, "scores": scores})


def _in_parts(
    work: Callable[[range, Path], None], count: int, folder: Path, device: torch.device, what: str
) -> list[Path]:
    """`work(rows, path)` for all rows, PART at a time -> the files of the parts, in order."""
    jobs = []
    for start in range(0, count, PART):
        rows = range(start, min(start + PART, count))
        jobs.append(Job(folder / "parts" / f"{rows.start:07d}_{rows.stop:07d}.npz", rows))
    with workers(device) as pool:
        return run_jobs(partial(single_threaded, work), jobs, f"parts of {count:,} {what}", pool)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # np.savez would add .npz to the temporary name
        np.savez(file, **arrays)


def _arrays(parts: Sequence[Path], name: str):
    """Each part's array with the row where it starts."""
    start = 0
    for path in parts:
        with np.load(path) as arrays:
            part = arrays[name]
        yield start, part
        start += len(part)


def _join(parts: Sequence[Path], name: str, count: int, path: Path) -> None:
    """The parts' arrays of this name as one .npy file, without holding them all in memory."""
    with np.load(parts[0]) as first:
        shape, dtype = (count, *first[name].shape[1:]), first[name].dtype
    with atomic_path(path) as temporary:
        whole = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
        for start, part in _arrays(parts, name):
            whole[start : start + len(part)] = part
        whole.flush()


def _numbered(scores: np.ndarray, columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(scores, columns=list(columns))
    table.insert(0, "idx", np.arange(len(table)))
    return table


def _remove_parts(folder: Path) -> None:
    for path in (folder / "parts").glob("*.npz"):
        path.unlink()
