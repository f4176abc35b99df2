"""The runner: executes the stages of pipelines/SYSTEM.yaml and writes their pages.

`./run_all.sh` calls it; `python -m ohlora_lib.runner.run --help` lists its options.
"""

import argparse
import contextlib
import fcntl
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ohlora_lib.compute import cluster
from ohlora_lib.compute.memory import processes_for
from ohlora_lib.pages import comparison, index
from ohlora_lib.runner import launch, notebook, stage
from ohlora_lib.runner.costs import Cost
from ohlora_lib.runner.pipeline import Pipeline, PipelineError, Stage, shown_systems
from ohlora_lib.runner.stage import StageFailed
from ohlora_lib.store import ROOT, StoreError

UNCERTAINTY = (
    "hours of one CPU with fast bfloat16: others take up to 6 times as many; GPUs are not "
    "estimated; ./run_all.sh --calibrate measures this machine in a minute"
)
"""Measured per network: `constants` in pipelines/ohlora_v3.yaml, and those of `--calibrate` on an
EPYC with AVX512-BF16, without AMX."""
LOG_EVERY = 60.0  # seconds
BY_HAND = {"labels": "labels made by a person", "selection": "a selection made elsewhere"}
"""Parameters that name what no stage makes -> what it is."""
LOCK = ROOT / "data" / ".lock"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass
class StageLine:
    """The terminal's line of stage `number` of `count`; `shards`: how many a cluster has done."""

    number: int
    count: int
    name: str
    width: int
    shards: str = ""
    printed: float = -math.inf

    def show(self, shards: str) -> None:
        """Add this to the running line; in a log file, print a line every minute."""
        self.shards = f"  {shards}"
        if not sys.stdout.isatty() and time.monotonic() > self.printed + LOG_EVERY:
            self.done(shards)
            self.printed = time.monotonic()

    def _head(self) -> str:
        return f"[{self.number}/{self.count}] {self.name:<{self.width}}"

    def done(self, text: str) -> None:
        """Print the final line."""
        erase = "\r\x1b[K" if sys.stdout.isatty() else ""
        print(f"{erase}{self._head()}  {text}", flush=True)

    @contextmanager
    def running(self, why: str, expected: float | None) -> Iterator[None]:
        """Show elapsed and expected time, updated every second, if the output is a terminal."""
        stop = threading.Event()
        about = f" of about {clock(expected)}" if expected else ""
        start = time.monotonic()

        def update() -> None:
            while not stop.wait(1):
                elapsed = clock(time.monotonic() - start)
                head = f"\r\x1b[K{self._head()}  {elapsed}{about}"
                print(f"{head}{self.shards}  ({why})", end="", flush=True)

        thread = threading.Thread(target=update, daemon=True)
        if sys.stdout.isatty():
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if thread.ident:
                thread.join()
                print("\r\x1b[K", end="", flush=True)


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold data/ for this run; a second runner waits and says for whom."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            print(f"Waiting for another run ({lock.read().strip()}) …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
        lock.flush()
        yield


def check(stages: tuple[Stage, ...]) -> None:
    """Raise, before anything runs, for wrong parameters, broken notebooks and missing inputs."""
    systems = shown_systems()
    index.check(systems)
    comparison.comparisons(systems)
    made: list[str] = []
    folders: list[str] = []
    for one in stages:
        if stage.why_run(one):
            notebook.check(one)
        for path in one.reads.values():
            comes = path in folders or f"{path}/".startswith(tuple(made))
            if not comes and not (ROOT / path).exists():
                raise PipelineError(stage.missing_input(one, path))
        made += [f"{one.out}/{name}/" for name in one.outputs]
        folders.append(one.out)


def check_code(stages: tuple[Stage, ...], options: argparse.Namespace) -> None:
    """Refuse to compute finished work again only because the library's code has changed."""
    if options.force:
        return
    runs = [one for one in stages if stage.why_run(one)]
    affected = {one.name: lines for one in runs if (lines := stage.recomputed(one))}
    if not affected:
        return
    lines = [f"  {line}" for lines in affected.values() for line in lines]
    lines.insert(0, "code has changed, so this work would be computed again:")
    if not options.dry_run:
        lines += [
            "Nothing was run or deleted. Restore the code, or run with --force, which moves work",
            "of more than ten minutes aside (for one stage: --only "
            f"{next(iter(affected))} --force).",
        ]
        raise PipelineError("\n".join(lines))
    print(*lines, sep="\n")


def weight_problems(stages: tuple[Stage, ...]) -> dict[str, str]:
    """Weights that the stages name -> why they cannot be loaded ("" if they can)."""
    problems = {}
    for one in stages:
        if resolver := one.resolve:
            for word in one.words:
                problem = resolver.problem(word)
                if problem or word in one.weights:
                    problems[word] = problem
    return problems


def check_weights(stages: tuple[Stage, ...], options: argparse.Namespace) -> None:
    """Open all weights and say what was found; refuse to start if any cannot be loaded."""
    weights = weight_problems(stages)
    for name, why in weights.items():
        print(f"  {why or f'weights {name!r}: read'}", flush=True)
    problems = {name: why for name, why in weights.items() if why}
    if problems and not options.dry_run:
        raise PipelineError(refusal(problems))


def refusal(problems: dict[str, str]) -> str:
    """One message for weights (name -> problem) that cannot be loaded."""
    if len(problems) == 1:
        return next(iter(problems.values()))
    return f"{len(problems)} weights cannot be loaded, each for the reason above: " + ", ".join(
        problems
    )


def requirements(
    pipeline: Pipeline, stages: tuple[Stage, ...], workers: int | None = None
) -> list[str]:
    """Lines on what the stages need: time, disk, memory and labels."""
    measured = pipeline.measured
    on_gpu = measured.get("device", "cpu") != "cpu"
    cores = 1 if on_gpu else workers or processes_for(float(stage.LARGE))
    costs = {name: one.on(cores) for name, one in pipeline.costs(cores).items()}
    whole = sum((costs[one.name] for one in stages), Cost(memory=0))
    where = "with this GPU" if on_gpu else f"without a GPU, {cores} threads"
    lines = [f"needs, {where}:  {whole}"]
    lines += [f"  {one.name:32} {costs[one.name]}" for one in stages]
    day = measured.get("day")
    lines.append(
        f"  (from speeds measured on this machine, {day})" if day else f"  ({UNCERTAINTY})"
    )
    for one in stages:
        for key, what in BY_HAND.items():
            path = str(one.parameters.get(key) or "")
            if path.startswith("data/"):
                state = "found" if (ROOT / path).exists() else f"missing, {one.name} reads it"
                lines.append(f"  {what}: {path} ({state})")
    return lines


@contextmanager
def on_cluster(options: argparse.Namespace) -> Iterator[cluster.Setup | None]:
    """Inside, shards run on the cluster that the options ask for, if any."""
    with contextlib.ExitStack() as stack:
        address = options.cluster
        if options.workers:
            memory = options.worker_memory and 1e9 * options.worker_memory
            address = stack.enter_context(cluster.local(options.workers, memory)).scheduler_address
        yield stack.enter_context(cluster.connected(address, _say)) if address else None


def _say(text: str) -> None:
    print(text, flush=True)


def calibrate(pipeline: Pipeline) -> None:
    """Measure this machine's speed, and print it beside what was assumed."""
    if not pipeline.resolver:
        raise PipelineError(f"{pipeline.system} declares no networks to measure (resolver)")
    pipeline.resolve.measure()
    found = pipeline.measured
    print(f"seconds per image, {found['device']}, one thread, {found['day']}:")
    for name, seconds in found.items():
        if assumed := pipeline.declared.get(name):
            print(f"  {name:26} {seconds:8.4f}  (assumed before: {assumed})")
    print(f"The toy world's networks take {found['small_slower']:.2f} times as long as assumed.")


def run_stage(
    one: Stage,
    line: StageLine,
    options: argparse.Namespace,
    shown: contextlib.AbstractContextManager,
) -> None:
    """Run the stage if it has to, else say that it is up to date."""
    why = "forced" if options.force else stage.why_run(one)
    if why is None:
        again = stage.refresh_page(one, options.with_code)
        line.done("up to date" + (", page rewritten" if again else ""))
        return
    expected = stage.last_seconds(one)
    start = time.monotonic()
    with shown, line.running(why, expected):
        outputs = stage.run(one, options.force, options.with_code)
    before = f"last time {clock(expected)}" if expected else "first run"
    elapsed = clock(time.monotonic() - start)
    line.done(f"{elapsed} ({before}; {why})  wrote {outputs or 'its page'}")


def run_pipeline(pipeline: Pipeline, options: argparse.Namespace) -> None:
    """Check everything, then run the chosen stages in order and write the index."""
    stages = pipeline.chosen(options.start, options.only)
    check(stages)
    check_code(stages, options)
    title = pipeline.shown.title
    print(f"{title} · {pipeline.scale} scale · reports/{pipeline.system}/", flush=True)
    if pipeline.scale == "paper" or (options.dry_run and pipeline.constants):
        print(*requirements(pipeline, stages, options.workers), sep="\n", flush=True)
    if pipeline.scale == "paper" or any(one.weights for one in stages):
        check_weights(stages, options)
    width = max(len(one.name) for one in stages)
    numbers = {one.name: number for number, one in enumerate(pipeline.stages, 1)}
    lines = [
        (one, StageLine(numbers[one.name], len(pipeline.stages), one.name, width)) for one in stages
    ]
    if options.dry_run:
        for one, line in lines:
            why = "forced" if options.force else stage.why_run(one)
            line.done(f"would run: {why}" if why else "up to date")
        return
    some = options.force or any(map(stage.why_run, stages))
    with on_cluster(options) if some else contextlib.nullcontext() as setup:
        for one, line in lines:
            shown = cluster.watched(setup, line.show) if setup else contextlib.nullcontext()
            run_stage(one, line, options, shown)
    write_index()
    print("Results: reports/README.md", flush=True)


def write_index() -> None:
    """Write what is made from all systems' records: index, comparison, links, READMEs."""
    systems = shown_systems()
    index.write(systems)
    comparison.write(systems)


def list_systems() -> None:
    """Print every system with its stages."""
    for name in launch.systems():
        pipeline = Pipeline.load(name, "quick")
        print(f"{name}: {pipeline.shown.title}. {pipeline.shown.summary}")
        for one in pipeline.stages:
            whose = "" if one.system == name else f" of {one.system}"
            print(f"  {one.name}{whose}  ({one.notebook.relative_to(ROOT)})")


def main(arguments: list[str]) -> int:
    """Do what the command line asks; every expected error is one clear message."""
    options = launch.parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped by a machine: as by Ctrl-C
    try:
        if options.index:
            write_index()
            return 0
        if options.list:
            list_systems()
            return 0
        pipeline = Pipeline.load(options.system, options.scale)
        if options.calibrate:
            calibrate(pipeline)
            return 0
        pipeline.chosen(options.start, options.only)
        with contextlib.nullcontext() if options.dry_run else exclusive():
            run_pipeline(pipeline, options)
        return 0
    except StageFailed as error:
        print(f"failed: {error}", file=sys.stderr)
    except (PipelineError, StoreError, OSError) as error:
        print(f"./run_all.sh: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nstopped; run it again to resume", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
