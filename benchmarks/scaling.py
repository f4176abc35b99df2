"""How sampling grows with the number of latents: `python -m benchmarks.scaling`.

Measures three costs apart, because they grow apart, and puts them together for more latents and
more workers than this machine has:

* a worker's time per latent (notebook 07 at 128 pixels), fitted as a straight line over the number
  of latents, with one worker and with two;
* what every shard costs the one process that hands shards out, on top of the workers' work;
* what it does alone at the end: joining the shards' arrays into one file per array.

The last two use a generator of 16 pixels, whose latents cost the workers almost nothing, with the
arrays of the real one. Memory is the peak of the process that hands shards out. Bytes are those
that it sends and receives with a shared folder.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.networks import toy_cnn, toy_sampler
from ohlora_lib.compute import cluster
from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering import samples
from ohlora_lib.steering.meters import Reading
from ohlora_lib.steering.samples import PART, sample_latents
from ohlora_lib.steering.sampling import Sampler

FAR = 24_000_000
WORKERS = (1, 8, 64, 512)  # that the extrapolation assumes, each a core of this kind


class Dark(NamedTuple):
    """A meter without a network."""

    properties: tuple[str, ...] = tuple(PROPERTIES)

    def __call__(self, images):
        return Reading(np.zeros((len(images), len(self.properties))))


def networks(kind: str):
    """The sampler and the meter: `real`, or `light` ones that cost almost nothing."""
    if kind == "real":
        return toy_sampler(), toy_cnn()
    config = GeneratorConfig(16, fmaps_base=16, fmaps_max=8)
    return Sampler(Generator(config, seed=1).eval()), Dark()


def one(kind: str, count: int, workers: int) -> dict[str, float]:
    """Sample in this process with this many Dask workers: what it took."""
    os.environ["OHLORA_HEADLESS"] = "1"
    torch.set_num_threads(1)
    sampler, meter = networks(kind)
    joining, join = [0.0], samples._join

    def timed_join(*given):
        start = time.perf_counter()
        join(*given)
        joining[0] += time.perf_counter() - start

    samples._join = timed_join
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster.local(workers) as made,
        cluster.connected(made.scheduler_address, say=lambda text: None),
    ):
        sample_latents(sampler, meter, Path(folder) / "imports", 0, 2 * workers * PART)
        used = cluster.current()
        sent, received, start = used.sent, used.received, time.perf_counter()
        own = time.process_time()
        sample_latents(sampler, meter, Path(folder) / "sample", 1, count)
        return {
            "kind": kind, "latents": count, "workers": workers,
            "seconds": time.perf_counter() - start, "joining": joining[0],
            "CPU s of the runner": time.process_time() - own,
            "peak MB of the runner": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "MB sent": (used.sent - sent) / 1e6, "MB received": (used.received - received) / 1e6,
        }  # fmt: skip


def in_a_process(kind: str, count: int, workers: int) -> dict[str, float]:
    """The same in a process of its own, whose peak of memory is that of this run alone."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--one", kind, str(count), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def slope(x: pd.Series, y: pd.Series) -> float:
    """Of the straight line of least squares."""
    return float(np.polyfit(x, y, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--real", type=int, nargs="+", default=[1024, 2048, 4096], metavar="N")
    add("--light", type=int, nargs="+", default=[1024, 16_384, 61_440], metavar="N")
    add("--workers", type=int, nargs="+", default=[1, 2], metavar="N")
    add("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one[0], int(options.one[1]), int(options.one[2]))))
        return
    rows = [in_a_process("real", n, k) for k in options.workers for n in options.real]
    rows += [in_a_process("light", n, max(options.workers)) for n in options.light]
    table = pd.DataFrame(rows)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {PART} latents per shard")
    print(table.round(2).to_markdown(index=False))
    real, light = table[table.kind == "real"], table[table.kind == "light"]
    for count, part in real.groupby("workers"):
        print(f"{count} worker(s): {1e3 * slope(part.latents, part.seconds):.2f} ms per latent")
    alone = real[real.workers == min(options.workers)]
    latent = min(options.workers) * slope(alone.latents, alone.seconds)
    shard = PART * slope(light.latents, light["CPU s of the runner"] - light.joining)
    joined = slope(light.latents, light.joining)
    traffic = 1e3 * PART * slope(light.latents, light["MB sent"] + light["MB received"])
    memory = 1e6 * slope(light.latents, light["peak MB of the runner"])
    print(
        f"per shard {1e3 * shard:.1f} ms of the runner and {traffic:.1f} kB; "
        f"per latent {1e6 * joined:.1f} µs of joining and {memory:.0f} bytes of its memory"
    )
    print(f"extrapolated to {FAR:,} latents, hours:")
    for count in WORKERS:
        parts = {"workers": FAR * latent / count, "handing out": FAR / PART * shard,
                 "joining": FAR * joined}  # fmt: skip
        hours = {name: seconds / 3600 for name, seconds in parts.items()}
        busy = max(hours["workers"], hours["handing out"])
        text = ", ".join(f"{name} {value:.2f}" for name, value in hours.items())
        print(f"  {count:4} workers: {busy + hours['joining']:.2f} ({text}); the bottleneck is "
              f"{max(hours, key=hours.get)}")  # fmt: skip


if __name__ == "__main__":
    main()
