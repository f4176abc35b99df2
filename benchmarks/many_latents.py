"""Many latents in little memory: `python -m benchmarks.many_latents --folder data/many`.

Samples latents as notebook 07 does (vectors, scores, border colors; 128 pixels) into a folder,
which a next call resumes. The sampling runs as a process of its own with one worker process per
core, or with `--workers` of a Dask cluster; it is killed at random moments (`--kills`) and started
again. `--generator narrow` has a quarter of the feature maps and random weights, but vectors and
images of the same sizes: shards, files and memory are the same in a third of the time. At the end,
blocks of latents chosen at random are computed again one by one and compared with the files. Exit
status 1 if a byte differs, or if the process that hands out the shards ever used more than 2 GB.
"""

import argparse
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.networks import narrow_sampler, toy_cnn, toy_sampler
from ohlora_lib.compute import cluster
from ohlora_lib.steering.samples import PART, read_sample, sample_latents
from ohlora_lib.steering.sampling import BLOCK, Sampler, latents
from ohlora_lib.steering.scene import border_colors

LIMIT = 2e9  # bytes
SEED = 7
SAMPLERS = {"embedded": toy_sampler, "narrow": narrow_sampler}


def sample(count: int, folder: Path, dask: int, generator: str) -> None:
    """Sample in this process and its workers; print this process's peak of memory in bytes."""
    with contextlib.ExitStack() as stack:
        if dask:
            made = stack.enter_context(cluster.local(dask))
            quiet = cluster.connected(made.scheduler_address, say=lambda text: None)
            stack.enter_context(quiet)
        sample_latents(SAMPLERS[generator](), toy_cnn(), folder, SEED, count)
    print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def resumed(
    given: list[str], folder: Path, kills: int, pause: float, rng: random.Random
) -> tuple[float, float]:
    """Sample with kills: seconds in all, and the highest peak of memory that was seen."""
    start, peak = time.monotonic(), 0.0
    command = [sys.executable, "-m", "benchmarks.many_latents", *given, "--sample"]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + (rng.uniform(1, pause) if kills else 1e9)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            peak = max(peak, memory(process.pid))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills -= 1
        output, _ = process.communicate()
        done = len(list((folder / "parts").glob("0*.npz")))
        if process.returncode == 0:
            return time.monotonic() - start, max(peak, float(output.splitlines()[-1]))
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(process.returncode)
        print(f"killed after {time.monotonic() - start:.0f} s, {done} parts are kept", flush=True)


def memory(pid: int) -> float:
    """The peak of a process so far, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    peak = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return 1024.0 * int(peak[0]) if peak else 0.0


def differing(sampler: Sampler, folder: Path, blocks: list[int]) -> list[int]:
    """The blocks whose vectors, colors or scores are not what these latents give alone."""
    meter, found, wrong = toy_cnn(), read_sample(folder), []
    for block in blocks:
        rows = range(block * BLOCK, min((block + 1) * BLOCK, len(found.vectors)))
        vectors = sampler.vectors(latents(SEED, range(rows.start, rows.start + BLOCK), 512))
        images = sampler.images(vectors)
        made = (vectors, border_colors(images), meter(images).scores)
        there = (found.vectors, found.scene, found.scores.iloc[:, 1:].to_numpy())
        if not all(np.array_equal(a[: len(rows)], b[rows.start : rows.stop], equal_nan=True)
                   for a, b in zip(made, there, strict=True)):  # fmt: skip
            wrong.append(block)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=240_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--generator", choices=SAMPLERS, default="embedded")
    parser.add_argument("--workers", type=int, default=0, help="of a Dask cluster; 0: without")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--pause", type=float, default=60, help="longest time before a kill, s")
    parser.add_argument("--checked", type=int, default=8, help="blocks to compute again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["OHLORA_HEADLESS"] = "1"
    if options.sample:
        sample(options.count, options.folder, options.workers, options.generator)
        return 0
    torch.set_num_threads(1)  # as workers have it
    rng = random.Random(options.seed)
    seconds, peak = resumed(sys.argv[1:], options.folder, options.kills, options.pause, rng)
    blocks = sorted(rng.sample(range(-(-options.count // BLOCK)), options.checked))
    wrong = differing(SAMPLERS[options.generator](), options.folder, blocks)
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    parts = -(-options.count // PART)
    print(f"{options.count:,} latents of the {options.generator} generator in {parts} parts: "
          f"{seconds / 60:.1f} min with {options.kills} kills, peak {peak / 1e9:.2f} GB in the "
          f"process that hands out, {size / 1e6:.0f} MB on disk")  # fmt: skip
    print(f"{options.checked} blocks of {BLOCK} computed again: {len(wrong)} differ")
    return int(bool(wrong) or peak > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
