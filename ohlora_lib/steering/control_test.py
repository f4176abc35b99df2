"""The image generation test: 50 images per latent, requested against measured values.

All methods are tested on the same latents. The property CNN and the parser measure each image, and
changes that were not requested are measured beside them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd

from ohlora_lib.compute.cluster import Cluster
from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import single_threaded
from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.groups import EVERYWHERE
from ohlora_lib.steering.meters import Meter, MeterSet, expression_scores, mean_of_finite
from ohlora_lib.steering.method import Method, Start
from ohlora_lib.steering.responses import MIDDLE, REQUESTS, responses
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.store.work import digest_of, keep_work

BATCH = 8
"""Latents tested together: 400 images, which fit into memory at any resolution."""


@dataclass(frozen=True)
class LatentSet:
    """The latents of a test. Those of a saved selection have known groups."""

    z: np.ndarray  # (N, Z)
    idx: np.ndarray  # (N,) number of each latent
    label: np.ndarray | None = None  # (N, 7); None: zeros
    groups: np.ndarray | None = None  # (N,); None: measured on the unedited images

    @classmethod
    def from_seed(cls, seed: int, indices: Sequence[int], size: int) -> "LatentSet":
        """The latents with these numbers of a seed; `size` is the generator's `z_size`."""
        return cls(latents(seed, indices, size), np.asarray(indices))

    def batches(self) -> Iterator["LatentSet"]:
        """BATCH latents at a time."""
        for start in range(0, len(self.z), BATCH):
            rows = slice(start, start + BATCH)
            arrays = (self.z, self.idx, self.label, self.groups)
            yield LatentSet(*(None if array is None else array[rows] for array in arrays))


class ControlTest(NamedTuple):
    """The result: a row per method and latent, and where each method's steering started."""

    table: pd.DataFrame
    starts: dict[str, Start]  # by method name; rows in the order of the latents


def control_test(
    methods: Sequence[Method],
    sampler: Sampler,
    meters: MeterSet,
    tested: LatentSet,
    extra_meters: Mapping[str, Meter] | None = None,
    executor: Executor | Cluster | None = None,
    folder: Path | None = None,
) -> ControlTest:
    """Test methods on latents, here or on an executor.

    `folder` keeps finished batches: an interrupted test resumes, and one that has been finished
    with the same generator, meters, latents and method is not repeated.

    Columns of the table: method, idx, group_name; for each meter the columns of `responses` with
    its prefix, `cnn_`, `parser_` or the name of an extra meter; those of `side_effects`; the
    expression of the unedited latents, `unedited_eyes` etc.; and `recentering_change`, the identity
    change by recentering.
    """
    extra = dict(extra_meters or {})
    test = partial(single_threaded, _write_batch, sampler, meters, extra)
    with nullcontext(folder) if folder else TemporaryDirectory() as place:
        jobs = {method.name: [] for method in methods}
        given = digest_of([sampler.generator, meters, extra, tested])
        for method in methods:
            kept = Path(place) / re.sub(r"\W+", "_", method.name)
            if folder:
                keep_work(kept, "tested", __name__, {"given": given, "method": method})
            for number, batch in enumerate(tested.batches()):
                jobs[method.name].append(Job(kept / f"{number:05d}.npz", (method, batch)))
        run_jobs(test, [job for part in jobs.values() for job in part], "control test", executor)
        read = {name: [_read_batch(job.output) for job in part] for name, part in jobs.items()}
    table = pd.concat([table for part in read.values() for table, _ in part], ignore_index=True)
    starts = {name: Start.concatenate([start for _, start in part]) for name, part in read.items()}
    return ControlTest(table, starts)


def _write_batch(
    sampler: Sampler,
    meters: MeterSet,
    extra: dict,
    task: tuple[Method, LatentSet],
    path: Path,
) -> None:
    table, start = _test_batch(sampler, meters, extra, *task)
    arrays = {f"table {name}": column.to_numpy() for name, column in table.items()}
    arrays |= {f"start {name}": each for name, each in start._asdict().items() if each is not None}
    with path.open("wb") as file:  # np.savez would add .npz to the temporary name
        np.savez(file, **{n: a.astype(str) if a.dtype.hasobject else a for n, a in arrays.items()})


def _read_batch(path: Path) -> tuple[pd.DataFrame, Start]:
    table, start = {}, dict.fromkeys(Start._fields)
    with np.load(path) as arrays:
        for name in arrays.files:
            kind, name_there = name.split(" ", 1)
            (table if kind == "table" else start)[name_there] = arrays[name]
    return pd.DataFrame(table), Start(**start)


def _test_batch(
    sampler: Sampler, meters: MeterSet, extra: dict, method: Method, tested: LatentSet
) -> tuple[pd.DataFrame, Start]:
    count = len(tested.z)
    vectors = sampler.vectors(tested.z, method.layer, tested.label)
    start = method.start(sampler, meters, vectors, tested.groups)
    images = method.image_grid(sampler, start, REQUESTS)
    flat = images.reshape(-1, *images.shape[2:])
    columns = {"method": method.name, "idx": tested.idx,
               "group_name": _group_names(method, start.groups, count)}  # fmt: skip
    for name, meter in ({"cnn": meters.cnn, "parser": meters.parser} | extra).items():
        reading = meter(flat)
        found = responses(reading.scores.reshape(count, len(REQUESTS), -1), meter.properties)
        columns |= {f"{name}_{column}": values for column, values in found.items()}
        if name == "parser":
            background = reading.background.reshape(images.shape[:4])
    columns |= _before_steering(meters, sampler, method, start)
    middle = method.image_grid(sampler, start, np.float32([MIDDLE]))[:, 0]
    columns |= side_effects(meters, images, background, middle)
    return pd.DataFrame(columns), start


def side_effects(
    meters: MeterSet, images: np.ndarray, background: np.ndarray, middle: np.ndarray
) -> dict[str, np.ndarray]:
    """What changes besides the expression, per latent.

    Inputs: the 50 images of Z latents (Z, 50, R, R, 3), their background masks (Z, 50, R, R), and
    the images at the middle request (Z, R, R, 3). Returns column -> (Z,). Mean change against the
    middle image: `background` (gray levels outside face and hair; 1: another face's background),
    `outline` (fraction of face and hair that is not in both), `identity` (1: another person),
    `gender_change` etc. Over the 50 images: `gender_mean`, `gender_worst` etc.; worst is the
    maximum for age and glass, the minimum for gender and quality.
    """
    middle_background = meters.parser(middle).background[:, None]
    both, either = background & middle_background, background | middle_background
    change = meters.background_change(images, middle[:, None], both)
    outline = 1 - (~either).sum((2, 3)) / np.maximum((~both).sum((2, 3)), 1)
    filters, identity = meters.identity(images.reshape(-1, *images.shape[2:]))
    filters, identity = (a.reshape(*images.shape[:2], -1) for a in (filters, identity))
    middle_filters, middle_identity = meters.identity(middle)
    columns = {
        "background": mean_of_finite(change, axis=1),
        "outline": outline.mean(axis=1),
        "identity": np.linalg.norm(identity - middle_identity[:, None], axis=2).mean(axis=1),
    }
    for place, name in enumerate(meters.identity.filters):
        values = filters[..., place]
        columns[f"{name}_change"] = np.abs(values - middle_filters[:, None, place]).mean(axis=1)
        columns[f"{name}_mean"] = values.mean(axis=1)
        columns[f"{name}_worst"] = (values.max if name in ("age", "glass") else values.min)(axis=1)
    return columns


def _before_steering(meters: MeterSet, sampler: Sampler, method: Method, start: Start) -> dict:
    """Expression of the unedited latents, and identity change by recentering (0 without it)."""
    unedited = sampler.images(start.unedited, method.layer)
    seen = expression_scores(meters.cnn, meters.cnn(unedited))
    columns = {f"unedited_{name}": seen[:, place] for place, name in enumerate(EXPRESSION)}
    moved = np.zeros(len(unedited))
    if method.spec.recentered:
        after = meters.identity(sampler.images(start.vectors, method.layer))[1]
        moved = np.linalg.norm(after - meters.identity(unedited)[1], axis=1)
    return columns | {"recentering_change": moved}


def meter_columns(tested: pd.DataFrame, meter: str) -> pd.DataFrame:
    """One meter's columns under the published names (eyes_corr etc.); the others unchanged."""
    mine = [name for name in tested if name.startswith(f"{meter}_")]
    return tested.rename(columns={name: name.removeprefix(f"{meter}_") for name in mine})


def _group_names(method: Method, groups: np.ndarray | None, count: int) -> np.ndarray:
    if method.grouping is None:
        return np.full(count, EVERYWHERE)
    return np.array(method.grouping.names)[groups]
