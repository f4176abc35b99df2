"""What SIGKILL loses: `python -m benchmarks.cluster_kills --kills 24`.

A scheduler, two workers and a caller with shards of random numbers run as processes of their own.
One of them, chosen at random, is killed at a random moment (one kill in four perhaps before the
others have started, the rest after a shard has been finished) and started again, as a batch system
does, until that many have been killed; then the caller runs to its end. It resumes what earlier
ones finished. The shards must have the bytes that they have without a cluster, and a finished shard
must stay as it is. Exit status 1 otherwise.
"""

import argparse
import hashlib
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from ohlora_lib.compute import cluster
from ohlora_lib.compute.jobs import Job, run_jobs

SECONDS = 0.2  # that a shard takes


def draw(number: int, path: Path) -> None:
    """One shard."""
    time.sleep(SECONDS)
    with path.open("wb") as file:
        np.save(file, np.random.default_rng(number).standard_normal(10_000))


def jobs(folder: Path, count: int) -> list[Job]:
    return [Job(folder / f"{number:04d}.npy", number) for number in range(count)]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start(kind: str, address: str, folder: Path, parts: int) -> subprocess.Popen:
    """Start a process of this kind."""
    host, port = address.removeprefix("tcp://").split(":")
    command = {
        "scheduler": ["-m", "distributed.cli.dask_scheduler", "--host", host, "--port", port],
        "worker": ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"],
        "caller": ["-m", "benchmarks.cluster_kills", "--call", address, "--folder", str(folder),
                   "--parts", str(parts)],
    }[kind]  # fmt: skip
    command += ["--no-dashboard"] if kind != "caller" else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OHLORA_HEADLESS": "1"}
    log = (folder.parent.parent / f"{kind}.log").open("a")
    return subprocess.Popen([sys.executable, *command], env=environment, stdout=log, stderr=log)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def campaign(kills: int, parts: int, pause: float, seed: int, place: Path) -> Counter:
    """Kill that many processes, then let the caller finish: how many of each kind were killed.

    A caller that finishes before starts again in a new folder of `place`.
    """
    folder = place / "0"
    address, rng, killed = f"tcp://127.0.0.1:{free_port()}", random.Random(seed), Counter()
    kinds = {"scheduler": "scheduler", "worker 1": "worker", "worker 2": "worker",
             "caller": "caller"}  # fmt: skip
    running = {name: start(kind, address, folder, parts) for name, kind in kinds.items()}
    shards, next_kill, before = {}, math.inf, 0
    try:
        while True:
            time.sleep(0.1)
            for path in folder.glob("[0-9]*.npy"):
                found = digest(path)
                if shards.setdefault(path.name, found) != found:
                    raise SystemExit(f"{path.name} changed after it was finished")
            if lost := [name for name in shards if not (folder / name).exists()]:
                raise SystemExit(f"finished shards are gone: {lost}")
            for name, process in running.items():
                code = process.poll()
                if code is None:
                    continue
                if name == "caller" and code == 0:
                    if killed.total() >= kills:
                        return killed
                    folder = place / str(int(folder.name) + 1)
                    shards, before = {}, 0
                running[name] = start(kinds[name], address, folder, parts)
            if next_kill == math.inf and len(shards) > before:
                next_kill = time.monotonic() + rng.uniform(0, pause)
            if killed.total() < kills and time.monotonic() > next_kill:
                name = rng.choice(list(kinds))
                running[name].send_signal(signal.SIGKILL)
                running[name].wait()
                killed[kinds[name]] += 1
                print(f"{killed.total()}: killed {name}, {len(shards)} shards done", flush=True)
                early, before = rng.random() < 0.25, len(shards)
                next_kill = time.monotonic() + rng.uniform(0, 3 * pause) if early else math.inf
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--parts", type=int, default=60)
    parser.add_argument("--pause", type=float, default=5, help="longest delay of a kill, s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--call", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        with cluster.connected(options.call):
            run_jobs(draw, jobs(options.folder, options.parts), "shards", cluster.current())
        return 0
    os.environ["OHLORA_HEADLESS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "shards"
        killed = campaign(options.kills, options.parts, options.pause, options.seed, place)
        undisturbed, same = Path(temporary) / "undisturbed.npy", True
        for folder in place.iterdir():
            for job in jobs(folder, options.parts):
                draw(job.task, undisturbed)
                same &= digest(job.output) == digest(undisturbed)
    counts = ", ".join(f"{count} {kind}s" for kind, count in sorted(killed.items()))
    print(f"killed {counts}; the same bytes as undisturbed: {'yes' if same else 'NO'}")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
