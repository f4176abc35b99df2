"""A rehearsal of the paper scale: `python -m benchmarks.rehearsal published_v8 [SYSTEM ...]`.

Copies the repository, writes a stand-in for every published file into the copy's data/weights/
(`stand_ins`; filter and property CNNs have random weights), and runs the pipelines at paper scale
with the counts of `tests.rehearsal`. Results mean nothing; layouts, sizes and the flow of data are
the real ones. Each stage's CPU time, memory (of all processes) and disk are printed beside what
`--dry-run` tells for these counts after `--calibrate`. `--small` gives the published names small
networks instead, and trains a small property CNN: the same notebooks in one to five CPU minutes per
system, but no estimates to compare. With `--scale quick` or `smoke`, pipelines run as they are.

Exit status: the number of pipelines that fail, of lines on their pages that speak of the toy world,
and of totals that are more than 40 % off.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import psutil
import torch

from benchmarks.stand_ins import small_config, toy_generator, toy_reader
from ohlora_lib import checkpoints
from ohlora_lib.checkpoints import CHECKPOINTS, FOLDER, layouts
from ohlora_lib.models.facexformer import FaceXFormerConfig
from ohlora_lib.models.mtcnn import MTCNNConfig
from ohlora_lib.models.stylegan import GeneratorConfig
from ohlora_lib.runner.launch import SCALES
from ohlora_lib.runner.pipeline import Pipeline
from ohlora_lib.store import ROOT
from tests import rehearsal

TOLERANCE = 0.4
EVERY = 0.5  # seconds between two looks at the processes
READERS = ROOT / "data" / "rehearsal"
TRAINING_STARTS = ("gender-v1-0", "quality-v1-0")
"""Filter CNNs are trained from these, in the published size."""
ESTIMATE = """
import json, sys
from dataclasses import asdict
from ohlora_lib.compute.memory import processes_for
from ohlora_lib.runner.pipeline import Pipeline
from ohlora_lib.runner.stage import LARGE
costs = Pipeline.load(*sys.argv[1:]).costs(processes_for(float(LARGE)))
print(json.dumps({name: asdict(cost) for name, cost in costs.items()}))
"""


def write_published(folder: Path) -> None:
    """A file for every published layout, with networks that draw or read toy faces."""
    detector = checkpoints.load("mtcnn").eval()
    configs = {one.config for one in CHECKPOINTS.values()}
    rehearsal.write_stand_ins(folder, networks={
        MTCNNConfig(): detector,
        FaceXFormerConfig(): toy_reader(FaceXFormerConfig(), detector, READERS / "published.pt"),
        **{one: toy_generator(one) for one in configs if isinstance(one, GeneratorConfig)},
    })  # fmt: skip


def write_small(folder: Path) -> None:
    """Small networks under the names of the published ones, as this repository's own files."""
    detector, made = checkpoints.load("mtcnn").eval(), {}
    names = [*TRAINING_STARTS, "mtcnn"]
    rehearsal.write_stand_ins(folder, names, {MTCNNConfig(): detector})
    for name, checkpoint in CHECKPOINTS.items():
        config = small_config(checkpoint.config)
        if config not in made:
            if isinstance(config, GeneratorConfig):
                made[config] = toy_generator(config)
            elif isinstance(config, FaceXFormerConfig):
                made[config] = toy_reader(config, detector, READERS / "small.pt")
            else:
                torch.manual_seed(0)
                made[config] = layouts.build(config)
        if name not in names:
            checkpoints.save(made[config], folder / f"{name}.safetensors")


def train_small_property_cnn(root: Path) -> None:
    """Let the copy train the toy world's property CNN: the published one takes 256 pixels."""
    path = root / "ohlora_lib" / "train" / "regressor.py"
    before = path.read_text()
    after = before.replace('"published": PUBLISHED_PLAN}', '"published": SMALL_PLAN}')
    assert after != before, path
    path.write_text(after)


def prepare(root: Path, small: bool) -> None:
    """Give a copy of the repository all stand-ins, reduced counts, labels and choices."""
    weights = root / "data" / "weights"
    if small:
        write_small(weights)
        train_small_property_cnn(root)
    else:
        write_published(weights)
    judge = FOLDER / "face_landmarks_detector.tflite"
    if judge.exists():
        shutil.copy(judge, weights)
    rehearsal.reduce_counts(root)
    rehearsal.write_labels(root)
    rehearsal.write_choices(root)


class Usage:
    """What a process and all that it starts use: CPU seconds so far, and bytes of memory now."""

    def __init__(self, pid: int):
        self.known = {pid: psutil.Process(pid)}
        self.seconds = dict.fromkeys(self.known, 0.0)
        self.memory = 0

    def update(self) -> None:
        memory = 0
        for process in list(self.known.values()):
            with suppress(psutil.Error):
                for child in process.children(recursive=True):
                    self.known.setdefault(child.pid, child)
        for pid, process in self.known.items():
            with suppress(psutil.Error):
                times = process.cpu_times()
                self.seconds[pid] = times.user + times.system
                memory += process.memory_full_info().pss
        self.memory = memory

    @property
    def cpu(self) -> float:
        return sum(self.seconds.values())


@contextmanager
def watched(pid: int, root: Path, system: str, scale: str) -> Iterator[dict[str, dict[str, float]]]:
    """Stage -> its CPU seconds, peak of memory, and peak of its folder's size, filled inside."""
    used, stages, end = Usage(pid), {}, threading.Event()
    runs = root / "data" / "runs.jsonl"

    def finished() -> list[str]:
        lines = runs.read_text().splitlines() if runs.exists() else []
        return [one["stage"] for one in map(json.loads, lines)]

    before = len(finished())

    def watch() -> None:
        peak, disk, start, done = 0, {}, 0.0, 0
        while not end.is_set():
            end.wait(EVERY)
            used.update()
            peak = max(peak, used.memory)
            for folder in (root / "data" / system / scale).glob("[0-9]*"):
                disk[folder.name] = max(disk.get(folder.name, 0), size(folder))
            for name in finished()[before + done :]:
                stages[name] = {"CPU s": used.cpu - start, "GB": peak / 1e9,
                                "MB of disk": disk.get(name, 0) / 1e6}  # fmt: skip
                peak, start, done = 0, used.cpu, done + 1

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield stages
    finally:
        end.set()
        thread.join()


def size(folder: Path) -> int:
    """Bytes in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def measured(root: Path, system: str, scale: str) -> tuple[int, pd.DataFrame]:
    """Run a pipeline of the copy: its exit status, and a row per stage, told beside measured."""
    command = [sys.executable, "-c", ESTIMATE, system, scale]
    told = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    told = pd.DataFrame(json.loads(told.stdout)).T
    process = subprocess.Popen(rehearsal.command(system, scale=scale), cwd=root)
    with watched(process.pid, root, system, scale) as stages:
        status = process.wait()
    table = pd.DataFrame(stages).T
    if len(table):
        told = told.loc[table.index]
        table["CPU s told"], table["GB told"] = told["seconds"], told["memory"] / 1e9
        table["MB told"] = told["disk"] / 1e6
    return status, table


def compared(system: str, table: pd.DataFrame, small: bool) -> int:
    """Print the table and its totals: the number of totals that are off."""
    if small:
        print(table[["CPU s", "GB", "MB of disk"]].round(2).to_markdown(), flush=True)
        return 0
    print(f"{system}: CPU seconds, memory of all processes, disk; told by --dry-run beside it")
    print(table.round(2).to_markdown(), flush=True)
    off = 0
    for name, told, total in (("CPU s", "CPU s told", "sum"), ("GB", "GB told", "max"),
                              ("MB of disk", "MB told", "sum")):  # fmt: skip
        ratio = table[told].agg(total) / table[name].agg(total)
        wrong = not 1 - TOLERANCE <= ratio <= 1 + TOLERANCE
        print(f"  {name}: told {table[told].agg(total):.1f}, measured "
              f"{table[name].agg(total):.1f}: {ratio - 1:+.0%}{' (OFF)' * wrong}")  # fmt: skip
        off += wrong
    return off


def about_photographs(system: str, scale: str) -> set[str]:
    """The stages whose pages are about photographs, not about rendered or toy faces."""
    stages = Pipeline.load(system, scale).stages
    if all(stage.parameters.get("domain") != "photo" for stage in stages):
        return set()
    only_toy = {stage.name for stage in stages if r"Literal[\"toy\"]" in stage.notebook.read_text()}
    return {stage.name for stage in stages} - only_toy


def main() -> int:
    systems = sorted(path.stem for path in (ROOT / "pipelines").glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="+", metavar="SYSTEM", help=", ".join(systems))
    parser.add_argument("--scale", choices=SCALES, default="paper")
    parser.add_argument("--small", action="store_true", help="small networks")
    parser.add_argument("--keep", type=Path, help="a folder for the copy, which is kept; a copy "
                        "that is there is continued")  # fmt: skip
    options = parser.parse_args()
    if options.scale == "paper" and (problem := checkpoints.problem("mtcnn")):
        raise SystemExit(problem)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary) / "repository"
        if not (root / "pipelines").exists():
            made = root.with_name(f"{root.name}.part")  # what was interrupted is made again
            shutil.rmtree(made, ignore_errors=True)
            rehearsal.copy_repository(made)
            if options.scale == "paper":
                prepare(made, options.small)
            made.rename(root)
            if not options.small:
                calibrate = [*rehearsal.command(options.systems[0]), "--calibrate"]
                subprocess.run(calibrate, cwd=root, check=True)
        for system in options.systems:
            status, table = measured(root, system, options.scale)
            wrong += bool(status)
            print(f"{system}: {'FAILED' if status else 'came to its end'}")
            if len(table):
                wrong += compared(system, table, options.small)
            photo = about_photographs(system, options.scale)
            statements = [line for line in rehearsal.toy_statements(root, system)
                          if line.partition(".md:")[0] in photo]  # fmt: skip
            if statements:
                print("  pages speak of the toy world:", *statements, sep="\n    ")
            wrong += len(statements)
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
