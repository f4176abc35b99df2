"""Speed of Dask workers: `python -m benchmarks.cluster`.

The sampling of notebook 07 and the control test of notebook 08, at 128 pixels, on a cluster of one
single-thread worker and on one of two (`--pool`: also with the process pool that runs use without a
cluster). Each round measures everything; the results must be the same bytes. Then what a cluster
costs: its start, a shard without work, and the bytes that travel. Takes six minutes.

Exit status 1 if two workers are less than 1.8 times as fast as one in the median round of either,
or if any result differs. Needs two idle cores, or the figures mean nothing.
"""

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from benchmarks.networks import some_method, toy_cnn, toy_meters, toy_sampler
from ohlora_lib.compute import cluster
from ohlora_lib.compute import workers as workers_module
from ohlora_lib.compute.jobs import gather
from ohlora_lib.compute.workers import PicklingExecutor, processes, workers
from ohlora_lib.steering.control_test import BATCH, LatentSet, control_test
from ohlora_lib.steering.samples import PART, sample_latents
from ohlora_lib.steering.sampling import latents

TARGET = 1.8
EMPTY_SHARDS = 200
POOL = "process pool"


def sampling(parts: int, folder: Path) -> None:
    """As notebook 07: latents with their vectors and scores."""
    sample_latents(toy_sampler(), toy_cnn(), folder, seed=1, count=parts * PART)


def testing(parts: int, folder: Path) -> None:
    """As notebook 08: one method on new latents."""
    sampler = toy_sampler()
    tested = LatentSet.from_seed(2, range(parts * BATCH), sampler.z_size)
    with workers(sampler.device) as pool:
        control_test([some_method()], sampler, toy_meters(), tested, None, pool, folder)


WORK = {"07, sampling": sampling, "08, control test": testing}


def contents(folder: Path) -> str:
    """A digest of all files but the marks, which tell when something was made."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.np?")) + sorted(folder.rglob("*.parquet")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def timed(work: Callable[[int, Path], None], parts: int) -> tuple[float, str]:
    """Seconds of the work in a new folder, and a digest of what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        work(parts, Path(folder) / "work")
        return time.perf_counter() - start, contents(Path(folder))


def one_block(sampler, meters, number: int) -> None:
    """A little of everything: imports, caches of weights."""
    images = sampler.images(sampler.vectors(latents(9, range(number, number + 8), sampler.z_size)))
    meters.cnn(images)
    meters.parser(images)


def warm_up(executor, count: int) -> None:
    """Let each of the executor's processes import everything and use the networks once."""
    work = partial(one_block, toy_sampler(), toy_meters())
    gather(work, [(number,) for number in range(4 * count)], executor)


@contextmanager
def workers_of(count: int):
    """A connection to a cluster of this many workers that have imported everything."""
    start = time.perf_counter()
    with (
        cluster.local(count) as made,
        cluster.connected(made.scheduler_address, say=lambda text: None),
    ):
        seconds = time.perf_counter() - start
        used = cluster.current()
        warm_up(used, count)
        yield used, seconds


def nothing(number: int) -> int:
    """A shard without work."""
    return number


def overhead(used: cluster.Cluster) -> float:
    """Seconds per shard without work."""
    start = time.perf_counter()
    gather(nothing, [(number,) for number in range(EMPTY_SHARDS)], used)
    return (time.perf_counter() - start) / EMPTY_SHARDS


def measured(parts: int, rounds: int, with_pool: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Seconds of each piece of work per round, and the costs of each cluster."""
    rows, costs = [], []
    for number in range(rounds):
        for count in (1, 2):
            with workers_of(count) as (used, start):
                for name, work in WORK.items():
                    sent, received = used.sent, used.received
                    seconds, digest = timed(work, parts)
                    rows.append((number, name, f"{count} Dask", seconds, digest))
                    sent, received = (used.sent - sent) / 1e6, (used.received - received) / 1e6
                    costs.append((name, count, start, sent, received, overhead(used)))
        if not with_pool:
            continue
        with processes() as pool:
            warm_up(PicklingExecutor(pool), 2)
            workers_module.processes = lambda count=None, pool=pool: nullcontext(pool)
            try:
                for name, work in WORK.items():
                    rows.append((number, name, POOL, *timed(work, parts)))
            finally:
                workers_module.processes = processes
    columns = ["round", "work", "workers", "seconds", "digest"]
    names = ["work", "workers", "start (s)", "MB sent", "MB back", "s per empty shard"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(costs, columns=names)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=6, help="shards of each piece of work")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pool", action="store_true", help="measure the process pool, too")
    options = parser.parse_args()
    os.environ["OHLORA_HEADLESS"] = "1"
    torch.set_num_threads(1)
    table, costs = measured(options.parts, options.rounds, options.pool)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds of "
          f"{options.parts} shards ({PART} latents in 07, {BATCH} in 08)")  # fmt: skip
    failed = False
    for name, part in table.groupby("work"):
        seconds = part.pivot(index="round", columns="workers", values="seconds")
        speedup = seconds["1 Dask"] / seconds["2 Dask"]
        times = ", ".join(f"{each} {seconds[each].median():.1f} s" for each in seconds)
        print(f"{name}: {times}; two workers are {speedup.median():.2f} times as fast as one "
              f"({speedup.min():.2f} to {speedup.max():.2f})")  # fmt: skip
        same = part["digest"].nunique() == 1
        print(f"  the same bytes in all runs: {'yes' if same else 'NO'}")
        failed |= not same or speedup.median() < TARGET
    print(costs.groupby(["work", "workers"]).median().round(4).to_markdown())
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
