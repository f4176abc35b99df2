"""Independent jobs: each writes its files, in this process, on an executor or on a cluster."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from ohlora_lib.compute.cluster import Cluster
from ohlora_lib.compute.memory import processes_for
from ohlora_lib.compute.progress import progress
from ohlora_lib.store.atomic import atomic_path

QUEUED_PER_CORE = 2
"""Submitted calls per core: one that runs, one that waits. Each may carry a whole network."""


@dataclass(frozen=True)
class Job:
    """One task (its seed included) and the file that it writes last.

    `reads` names the image files that it reads, for workers that do not see them.
    """

    output: Path
    task: object
    reads: Callable[[], Sequence[Path]] = tuple


Work = Callable[[object, Path], None]
"""Does a task and writes its result to the given temporary path, which is renamed at the end."""


def run_job(work: Work, job: Job) -> Path:
    """Run one job. Its file is complete or absent."""
    with atomic_path(job.output) as temporary:
        work(job.task, temporary)
    return job.output


def run_jobs(
    work: Work, jobs: Sequence[Job], what: str, executor: Executor | Cluster | None = None
) -> list[Path]:
    """Run the jobs whose files do not exist yet; return all files in the jobs' order.

    `executor` only needs `submit` with futures; without one, jobs run in this process.
    """
    missing = [(job,) for job in jobs if not job.output.exists()]
    gather(partial(run_job, work), missing, executor, what)
    return [job.output for job in jobs]


def gather(
    work: Callable,
    arguments: Sequence[tuple],
    executor: Executor | Cluster | None = None,
    what: str = "",
) -> list:
    """`[work(*a) for a in arguments]`, in this process, on an executor or on a cluster.

    `what` labels a progress bar (none if empty). After a failure, calls not yet started are
    cancelled.
    """
    if isinstance(executor, Cluster):
        completed = executor.completed(work, arguments, what)
    else:
        completed = _as_completed(work, arguments, executor)
    results = dict(progress(completed, what, len(arguments)) if what else completed)
    return [results[index] for index in range(len(arguments))]


def _as_completed(
    work: Callable, arguments: Sequence[tuple], executor: Executor | None
) -> Iterator[tuple[int, object]]:
    """Index and result of each call as it completes; only a few calls are submitted ahead."""
    if executor is None:
        yield from ((index, work(*each)) for index, each in enumerate(arguments))
        return
    remaining = enumerate(arguments)
    pending: dict[Future, int] = {}
    try:
        while True:
            for index, each in islice(remaining, QUEUED_PER_CORE * processes_for() - len(pending)):
                pending[executor.submit(work, *each)] = index
            if not pending:
                return
            done = next(as_completed(pending))
            yield pending.pop(done), done.result()
    finally:
        for future in pending:
            future.cancel()
