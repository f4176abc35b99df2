"""What SIGKILL loses: `python -m benchmarks.cluster_kills --kills 24`.

A scheduler, two workers and a runner run as processes of their own. The runner is `./run_all.sh
--cluster` with notebook 07, which samples latents at 128 pixels, in a copy of the repository. One
of the four, chosen at random, is killed at a random moment (one kill in four perhaps before the
others have started, the rest after a shard has been finished) and started again, as a batch system
does, until that many have been killed; then the runner goes to its end. A finished shard must stay
as it is, and the sample must have the bytes that it has without a cluster and without kills. Exit
status 1 otherwise. `--shards` replaces the runner by a process whose shards of random numbers cost
nothing.
"""

import argparse
import hashlib
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch
import yaml

from ohlora_lib.compute import cluster
from ohlora_lib.compute.jobs import Job, run_jobs
from tests import rehearsal

SECONDS = 0.2  # that a shard of random numbers takes
SAMPLED = ("w.npy", "scene.npy", "scores.parquet")


def draw(number: int, path: Path) -> None:
    """One shard of random numbers."""
    time.sleep(SECONDS)
    with path.open("wb") as file:
        np.save(file, np.random.default_rng(number).standard_normal(10_000))


def jobs(folder: Path, count: int) -> list[Job]:
    return [Job(folder / f"{number:04d}.npy", number) for number in range(count)]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Shards:
    """Random numbers; each round writes them into a new folder."""

    place: Path
    parts: int
    round: int = 0
    root: Path = field(default_factory=Path.cwd)

    @property
    def folder(self) -> Path:
        return self.place / str(self.round)

    def command(self, address: str) -> list[str]:
        given = ["--call", address, "--folder", str(self.folder), "--parts", str(self.parts)]
        return ["-m", "benchmarks.cluster_kills", *given]

    def finished(self) -> list[Path]:
        return list(self.folder.glob("[0-9]*.npy"))

    def is_joined(self) -> bool:
        """Whether the shards may go, as one file has them all."""
        return False

    def end_round(self) -> None:
        self.round += 1

    def same(self) -> bool:
        """Whether all rounds have the bytes of an undisturbed run."""
        undisturbed, same = self.place / "undisturbed.npy", True
        for number in range(self.round):
            for job in jobs(self.place / str(number), self.parts):
                draw(job.task, undisturbed)
                same &= digest(job.output) == digest(undisturbed)
        return same


@dataclass
class Sampling:
    """Notebook 07, run by the runner; each round samples another seed."""

    place: Path
    parts: int
    round: int = 0
    made: list[list[str]] = field(default_factory=list)

    def __post_init__(self):
        from ohlora_lib.steering.samples import PART

        self.latents, self.root = self.parts * PART, self.place / "repository"
        rehearsal.copy_repository(self.root)
        shutil.rmtree(self.root / "pipelines")
        (self.root / "pipelines").mkdir()
        self._declare()

    def _declare(self) -> None:
        given = {"seed": self.round, "images": self.latents, "population": 64}
        stage = {"name": "07_find_vectors", "notebook": "notebooks/07_find_vectors.ipynb"}
        stage |= {"parameters": given | {"directions": ["svm"]}, "outputs": ["samples"]}
        content = {"title": "Killed", "summary": "Sampling.", "stages": [stage]}
        (self.root / "pipelines/killed.yaml").write_text(yaml.safe_dump(content))

    @property
    def folder(self) -> Path:
        return self.root / "data/killed/smoke/07_find_vectors/samples"

    def command(self, address: str) -> list[str]:
        given = ["--scale", "smoke", "--cluster", address]
        return ["-m", "ohlora_lib.runner.run", "killed", *given]

    def finished(self) -> list[Path]:
        return list((self.folder / "parts").glob("[0-9]*.npz"))

    def is_joined(self) -> bool:
        return (self.folder / "scores.parquet").exists()

    def end_round(self) -> None:
        self.made.append([digest(self.folder / name) for name in SAMPLED])
        self.round += 1
        self._declare()

    def same(self) -> bool:
        """Whether all rounds have the bytes of an undisturbed run in this process."""
        from ohlora_lib.faces.domain import DOMAINS
        from ohlora_lib.steering.meters import load_meters
        from ohlora_lib.steering.samples import sample_latents
        from ohlora_lib.steering.sampling import load_sampler

        torch.set_num_threads(1)
        sampler = load_sampler("original")
        meter, _, _ = load_meters(DOMAINS["toy"], None, sampler.device)
        same = True
        for number, made in enumerate(self.made):
            folder = self.place / f"undisturbed_{number}"
            sample_latents(sampler, meter, folder, number, self.latents)
            same &= made == [digest(folder / name) for name in SAMPLED]
        return same


def start(kind: str, address: str, work: Shards | Sampling) -> subprocess.Popen:
    """Start a process of this kind."""
    host, port = address.removeprefix("tcp://").split(":")
    command = {
        "scheduler": ["-m", "distributed.cli.dask_scheduler", "--host", host, "--port", port],
        "worker": ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"],
        "runner": work.command(address),
    }[kind]
    command += ["--no-dashboard"] if kind != "runner" else []
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "OHLORA_HEADLESS": "1", "PYTHONPATH": str(work.root),
    }  # fmt: skip
    log = (work.place / f"{kind}.log").open("a")
    return subprocess.Popen(
        [sys.executable, *command], cwd=work.root, env=environment, stdout=log, stderr=log
    )


def end(process: subprocess.Popen) -> None:
    """Kill a process, as a machine that goes off would: with all that it started."""
    family = []
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for one in family:  # they end by themselves; here none may stay
        try:
            one.wait(timeout=30)
        except psutil.TimeoutExpired as error:
            raise SystemExit(f"{one} outlives its parent") from error


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def campaign(kills: int, pause: float, seed: int, work: Shards | Sampling) -> Counter:
    """Kill that many processes, then let the runner finish: how many of each kind were killed."""
    address, rng, killed = f"tcp://127.0.0.1:{free_port()}", random.Random(seed), Counter()
    kinds = {"scheduler": "scheduler", "worker 1": "worker", "worker 2": "worker",
             "runner": "runner"}  # fmt: skip
    running = {name: start(kind, address, work) for name, kind in kinds.items()}
    shards, next_kill, before = {}, math.inf, 0
    try:
        while True:
            time.sleep(0.1)
            for path in work.finished():
                try:
                    found = digest(path)
                except FileNotFoundError:
                    continue  # joined meanwhile
                if shards.setdefault(path, found) != found:
                    raise SystemExit(f"{path.name} changed after it was finished")
            lost = [path.name for path in shards if not path.exists()]
            if lost and not work.is_joined():
                raise SystemExit(f"finished shards are gone: {lost}")
            for name, process in running.items():
                code = process.poll()
                if code is None:
                    continue
                if name == "runner" and code == 0:
                    work.end_round()
                    if killed.total() >= kills:
                        return killed
                    shards, before = {}, 0
                running[name] = start(kinds[name], address, work)
            if next_kill == math.inf and len(shards) > before:
                next_kill = time.monotonic() + rng.uniform(0, pause)
            if killed.total() < kills and time.monotonic() > next_kill:
                name = rng.choice(list(kinds))
                end(running[name])
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
    parser.add_argument("--parts", type=int, default=60, help="shards of a round")
    parser.add_argument("--pause", type=float, default=5, help="longest delay of a kill, s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", action="store_true", help="random numbers, no runner")
    parser.add_argument("--call", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        with cluster.connected(options.call):
            run_jobs(draw, jobs(options.folder, options.parts), "shards", cluster.current())
        return 0
    os.environ["OHLORA_HEADLESS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        kind = Shards if options.shards else Sampling
        work = kind(Path(temporary), options.parts)
        start_time = time.monotonic()
        killed = campaign(options.kills, options.pause, options.seed, work)
        minutes, same = (time.monotonic() - start_time) / 60, work.same()
    counts = ", ".join(f"{count} {name}s" for name, count in sorted(killed.items()))
    print(f"killed {counts} in {minutes:.1f} minutes and {work.round} rounds of {options.parts} "
          f"shards; the same bytes as undisturbed: {'yes' if same else 'NO'}")  # fmt: skip
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
