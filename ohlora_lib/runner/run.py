"""The runner: drives papermill through the stages of pipelines/SYSTEM.yaml.

`./run_all.sh` calls it; `python -m ohlora_lib.runner.run --help` says what it takes.
"""

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ohlora_lib.pages import index
from ohlora_lib.runner import notebook, options, stage
from ohlora_lib.runner.pipeline import Pipeline, PipelineError, Stage, shown_systems
from ohlora_lib.runner.settings import SettingsError
from ohlora_lib.runner.stage import StageFailed
from ohlora_lib.runner.terminal import StageLine, clock
from ohlora_lib.store import ROOT, StoreError

LOCK = ROOT / "data" / ".lock"


@contextmanager
def only_runner() -> Iterator[None]:
    """Hold data/ alone; a second runner waits and says for whom."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            print(f"Another run is at work here ({lock.read().strip()}): waiting …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
        lock.flush()
        yield


def check(stages: tuple[Stage, ...]) -> None:
    """Refuse, before anything runs, what cannot work: parameters, notebooks, missing inputs."""
    index.check(shown_systems())
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


def run_stage(one: Stage, line: StageLine, told: argparse.Namespace) -> None:
    """Run the stage if it has to, else say that it is up to date."""
    why = "forced" if told.force else stage.why_run(one)
    if why is None:
        again = stage.refresh_page(one, told.with_code)
        line.done("up to date" + (", its page written again" if again else ""))
        return
    last = stage.last_run(one)
    expected = last["seconds"] if last else None
    began = time.monotonic()
    with line.running(why, expected):
        left = stage.run(one, told.force, told.with_code)
    before = f"last time {clock(expected)}" if expected else "first run"
    line.done(f"{clock(time.monotonic() - began)} ({before}; {why})  left {left or 'its page'}")


def run_pipeline(pipeline: Pipeline, told: argparse.Namespace) -> None:
    """Check everything, then run the chosen stages in order and write the index."""
    stages = pipeline.chosen(told.start, told.only)
    check(stages)
    print(f"{pipeline.title} · {pipeline.scale} scale · reports/{pipeline.system}/", flush=True)
    if pipeline.scale == "paper":
        from ohlora_lib.runner import needs

        print(*needs.told(pipeline, stages), sep="\n", flush=True)
        if not told.dry_run:
            needs.refuse_without_weights(stages)
    width = max(len(one.name) for one in stages)
    numbers = {one.name: number for number, one in enumerate(pipeline.stages, 1)}
    for one in stages:
        line = StageLine(numbers[one.name], len(pipeline.stages), one.name, width)
        if told.dry_run:
            why = "forced" if told.force else stage.why_run(one)
            line.done(f"would run: {why}" if why else "up to date")
        else:
            run_stage(one, line, told)
    if not told.dry_run:
        index.write(shown_systems())
        print("Read reports/README.md", flush=True)


def list_systems() -> None:
    """Print every system with its stages."""
    for name in options.systems():
        pipeline = Pipeline.load(name, "quick")
        print(f"{name}: {pipeline.title}. {pipeline.summary}")
        for one in pipeline.stages:
            whose = "" if one in pipeline.own else f" of {one.system}"
            print(f"  {one.name}{whose}  ({one.notebook.relative_to(ROOT)})")


def main(arguments: list[str]) -> int:
    """Do what the command line asks; every expected mistake is one clear message."""
    told = options.parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped by a machine: as by Ctrl-C
    try:
        if told.index:
            index.write(shown_systems())
            return 0
        if told.list:
            list_systems()
            return 0
        pipeline = Pipeline.load(told.system, told.scale)
        pipeline.chosen(told.start, told.only)
        with contextlib.nullcontext() if told.dry_run else only_runner():
            run_pipeline(pipeline, told)
        return 0
    except StageFailed as error:
        print(f"failed: {error}", file=sys.stderr)
    except (PipelineError, SettingsError, StoreError, OSError) as error:
        print(f"./run_all.sh: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nstopped; run it again to go on from here", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
