"""Shards: a list of independent jobs in, one atomic file per job out."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path

from ohlora_lib.compute.memory import keep_freed
from ohlora_lib.compute.progress import progress
from ohlora_lib.store.atomic import atomic_path

AHEAD = 2
"""Pieces of work that an executor holds for each core: one that is done, one that waits. Each may
take a whole network along."""


@dataclass(frozen=True)
class Job:
    """One piece of work: what to do it on, its seed included, and the one file that it leaves."""

    output: Path
    task: object


Work = Callable[[object, Path], None]
"""Does a task and writes its result to the path given (a temporary one; `run` renames it)."""


def do(work: Work, job: Job) -> Path:
    """Do one job; its file appears whole or not at all."""
    with atomic_path(job.output) as temporary:
        work(job.task, temporary)
    return job.output


def run(work: Work, jobs: Sequence[Job], what: str, executor: Executor | None = None) -> list[Path]:
    """Do the jobs whose files are not there yet, in this process or on an executor.

    The files come back in the jobs' order. `executor` needs `submit` with futures, no more.
    """
    gather(do, [(work, job) for job in jobs if not job.output.exists()], executor, what)
    return [job.output for job in jobs]


def gather(
    work: Callable, given: Sequence[tuple], executor: Executor | None = None, what: str = ""
) -> list:
    """`work(*one)` for each of `given`, in their order, done in this process or on an executor.

    `what` names a progress bar; without it there is none. After a failure what waits is not done.
    """
    coming = _as_done(work, given, executor)
    results = dict(progress(coming, what, len(given)) if what else coming)
    return [results[place] for place in range(len(given))]


def _as_done(
    work: Callable, given: Sequence[tuple], executor: Executor | None
) -> Iterator[tuple[int, object]]:
    """Places and results, whichever is done first; few are handed over ahead of time."""
    if executor is None:
        yield from ((place, work(*one)) for place, one in enumerate(given))
        return
    rest = enumerate(given)
    waiting: dict[Future, int] = {}
    try:
        while True:
            for place, one in islice(rest, AHEAD * os.cpu_count() - len(waiting)):
                waiting[executor.submit(work, *one)] = place
            if not waiting:
                return
            done = next(as_completed(waiting))
            yield waiting.pop(done), done.result()
    finally:
        for future in waiting:
            future.cancel()


_prepared: ProcessPoolExecutor | None = None


def prepare() -> None:
    """Fork the processes, one per core, that `processes` will give from then on.

    They have all that this process has imported. Only for a process that holds no threads yet.
    """
    global _prepared
    context = multiprocessing.get_context("fork")
    _prepared = ProcessPoolExecutor(os.cpu_count(), context, initializer=_serve)
    _prepared.submit(int).result()


def prepared() -> int:
    """How many processes stand ready: none but in a process that has called `prepare`."""
    return os.cpu_count() if _prepared else 0


def processes(count: int | None = None) -> AbstractContextManager[ProcessPoolExecutor]:
    """An executor of `count` processes (default: one per core) that end when this one does.

    Prepared ones go on after the `with`, with whatever they were given.
    """
    count = count or os.cpu_count()
    if prepared() == count:
        return nullcontext(_prepared)
    # Not fork: the caller may hold threads (a notebook's kernel does).
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pandas"])  # slow to import: once, not in each process
    return ProcessPoolExecutor(count, context, initializer=_begin)


def _serve() -> None:
    """Begin as a prepared process; what interrupts a whole group is meant for its first."""
    global _prepared
    _prepared = None  # it is the parent's
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _begin()


def _begin() -> None:
    keep_freed()
    _end_with_parent()


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers: each watches it, or it would go on writing."""
    sentinel = multiprocessing.parent_process().sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
