"""Shards: a list of independent jobs in, one atomic file per job out."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path

from ohlora_lib.store.atomic import atomic_path
from ohlora_lib.store.progress import progress


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
    waiting = [job for job in jobs if not job.output.exists()]
    if executor is None:
        for job in progress(waiting, what):
            do(work, job)
    else:
        futures = [executor.submit(do, work, job) for job in waiting]
        for future in progress(as_completed(futures), what, total=len(futures)):
            future.result()
    return [job.output for job in jobs]
