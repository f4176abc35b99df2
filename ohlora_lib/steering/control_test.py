"""The image generation test: 50 pictures of each latent, as asked for and as measured.

Every method is tested on the same latents. Two meters read each picture, the property CNN and the
independent one, and what should not move is measured beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from ohlora_lib.compute.jobs import gather
from ohlora_lib.compute.workers import single_threaded
from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.groups import EVERYWHERE
from ohlora_lib.steering.meters import Meter, MeterSet, expression_scores, mean_of_finite
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.responses import MIDDLE, REQUESTS, responses
from ohlora_lib.steering.sampling import Sampler, latents

BATCH = 8
"""Latents tested at once: 400 pictures, which fit into memory at any resolution."""


@dataclass(frozen=True)
class LatentSet:
    """What is tested: z, and what is known of each. Of a saved selection the groups come along."""

    z: np.ndarray  # (N, Z)
    idx: np.ndarray  # (N,) their numbers
    label: np.ndarray | None = None  # (N, 7); None is zeros
    groups: np.ndarray | None = None  # (N,); None reads them off the unedited pictures

    @classmethod
    def from_seed(cls, seed: int, indices: Sequence[int], size: int = 512) -> "LatentSet":
        """The latents of these numbers of a seed."""
        return cls(latents(seed, indices, size), np.asarray(indices))

    def pieces(self) -> Iterator["LatentSet"]:
        """As many as are tested at once."""
        for start in range(0, len(self.z), BATCH):
            rows = slice(start, start + BATCH)
            given = (getattr(self, name) for name in ("z", "idx", "label", "groups"))
            yield LatentSet(*(None if array is None else array[rows] for array in given))


def control_test(
    methods: Sequence[Method],
    sampler: Sampler,
    meters: MeterSet,
    tested: LatentSet,
    others: Mapping[str, Meter] | None = None,
    executor: Executor | None = None,
) -> pd.DataFrame:
    """Methods, latents -> a row per method and latent, tested here or on an executor's processes.

    Columns: method, idx, group_name; `cnn_` and `parser_` with what `responses` says (and a prefix
    for each of the `others` that shall read the same pictures); `side_effects`'; what the
    unedited latent shows, `unedited_eyes` and the like; and in `recentering_change` how much
    another person recentering made of it.
    """
    work = [(method, piece) for method in methods for piece in tested.pieces()]
    rows = partial(single_threaded, _rows, sampler, meters, dict(others or {}))
    return pd.concat(gather(rows, work, executor, "control test"), ignore_index=True)


def _rows(
    sampler: Sampler, meters: MeterSet, others: dict, method: Method, tested: LatentSet
) -> pd.DataFrame:
    """A few latents -> a row for each."""
    z = tested.z
    vectors = sampler.vectors(z, method.layer, tested.label)
    start = method.start(sampler, meters, vectors, tested.groups)
    images = method.every(sampler, start, REQUESTS)
    flat = images.reshape(-1, *images.shape[2:])
    columns = {"method": method.name, "idx": tested.idx,
               "group_name": _group_names(method, start.groups, len(z))}  # fmt: skip
    readers = {"cnn": meters.cnn, "parser": meters.parser} | others
    for name, meter in readers.items():
        reading = meter(flat)
        followed = responses(reading.scores.reshape(len(z), len(REQUESTS), -1), meter.properties)
        columns |= {f"{name}_{column}": values for column, values in followed.items()}
        if name == "parser":
            where = reading.background.reshape(images.shape[:4])
    columns |= _drawn(meters, sampler, method, start)
    middle = method.every(sampler, start, np.float32([MIDDLE]))[:, 0]
    return pd.DataFrame(columns | side_effects(meters, images, where, middle))


def side_effects(
    meters: MeterSet,
    images: np.ndarray,
    where: np.ndarray,
    middle: np.ndarray,
) -> dict[str, np.ndarray]:
    """50 pictures of each latent (Z, 50, R, R, 3), their background (Z, 50, R, R), and the picture
    of the levels' middle (Z, R, R, 3) -> column -> (Z,).

    Against the middle: `background` (pixels outside face and hair, 1 is another face's), `outline`
    (share of face and hair that is not in both), `identity` (1 is another person), `gender_change`
    and the like. Over the 50: `gender_mean`, `gender_worst`, ….
    """
    middle_where = meters.parser(middle).background[:, None]
    both, either = where & middle_where, where | middle_where
    background = meters.background_change(images, middle[:, None], both)
    outline = 1 - (~either).sum((2, 3)) / np.maximum((~both).sum((2, 3)), 1)
    filters, who = meters.identity(images.reshape(-1, *images.shape[2:]))
    filters, who = (array.reshape(*images.shape[:2], -1) for array in (filters, who))
    middle_filters, middle_who = meters.identity(middle)
    columns = {
        "background": mean_of_finite(background, axis=1),
        "outline": outline.mean(axis=1),
        "identity": np.linalg.norm(who - middle_who[:, None], axis=2).mean(axis=1),
    }
    for place, name in enumerate(meters.identity.filters):
        seen = filters[..., place]
        columns[f"{name}_change"] = np.abs(seen - middle_filters[:, None, place]).mean(axis=1)
        columns[f"{name}_mean"] = seen.mean(axis=1)
        columns[f"{name}_worst"] = (seen.max if name in ("age", "glass") else seen.min)(axis=1)
    return columns


def _drawn(meters: MeterSet, sampler: Sampler, method: Method, start) -> dict:
    """What the unedited latents show, `unedited_eyes` …, and how much another person the recenterd
    ones do (0 where nothing was recenterd)."""
    unedited = sampler.images(start.unedited, method.layer)
    seen = expression_scores(meters.cnn, meters.cnn(unedited))
    columns = {f"unedited_{name}": seen[:, place] for place, name in enumerate(EXPRESSION)}
    moved = np.zeros(len(unedited))
    if method.recentering:
        after = meters.identity(sampler.images(start.vectors, method.layer))[1]
        moved = np.linalg.norm(after - meters.identity(unedited)[1], axis=1)
    return columns | {"recentering_change": moved}


def meter_columns(tested: pd.DataFrame, meter: str) -> pd.DataFrame:
    """One meter's columns under the published names (eyes_corr, …), and the others as they are."""
    mine = [name for name in tested if name.startswith(f"{meter}_")]
    return tested.rename(columns={name: name.removeprefix(f"{meter}_") for name in mine})


def _group_names(method: Method, groups: np.ndarray | None, count: int) -> np.ndarray:
    if method.grouping is None:
        return np.full(count, EVERYWHERE)
    return np.array(method.grouping.names)[groups]
