"""Where jobs run: on a Dask cluster, if the runner has one, else in worker processes, one per core.

Each worker computes on one thread.

Two threads generate images of this size little faster than one; two processes are twice as fast.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from multiprocessing.connection import wait

import numpy as np
import torch

from ohlora_lib.compute import cluster
from ohlora_lib.compute.cluster import Cluster
from ohlora_lib.compute.jobs import gather
from ohlora_lib.compute.memory import keep_freed, processes_for

BLOCK_ROWS = 32
"""Rows per call of `map_row_blocks`: fixed, or results would depend on the number of cores."""

_prepared: ProcessPoolExecutor | None = None
_count = 0  # of prepared processes


def prepare() -> None:
    """Fork one process per core; `processes` returns them from then on.

    They inherit everything imported so far. Call it only before this process starts threads.
    Measured: the first result after 0.2 s instead of 8 to 15 s (two busy cores of an EPYC).
    """
    global _prepared, _count
    context, _count = multiprocessing.get_context("fork"), processes_for()
    _prepared = ProcessPoolExecutor(_count, context, initializer=_begin_prepared)
    _prepared.submit(int).result()


def prepared() -> int:
    """Number of prepared processes: 0 unless this process has called `prepare`."""
    return _count if _prepared else 0


def processes(count: int | None = None) -> AbstractContextManager[ProcessPoolExecutor]:
    """An executor of `count` processes (default: one per core) that exit when this process exits.

    Prepared processes survive the `with` block.
    """
    count = count or prepared() or processes_for()
    if prepared() == count:
        return nullcontext(_prepared)
    # Not fork: the caller may have threads (a notebook kernel does).
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pandas"])  # slow imports: once, not per process
    return ProcessPoolExecutor(count, context, initializer=_begin)


def _begin_prepared() -> None:
    """Initialize a prepared process. Ctrl-C reaches the whole group; the parent handles it."""
    global _prepared
    _prepared = None  # belongs to the parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _begin()


def _begin() -> None:
    keep_freed()
    _exit_with_parent()


def _exit_with_parent() -> None:
    """Exit when the parent does: a killed parent cannot stop its workers."""
    sentinel = multiprocessing.parent_process().sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class PicklingExecutor(Executor):
    """An executor that pickles its tasks itself, so that networks are copied.

    Otherwise torch moves their tensors to shared memory, also those of the sender, where they stay
    and leak if a process is killed. (Measured: no difference in speed.)
    """

    def __init__(self, inner: Executor):
        self.inner = inner

    def submit(self, work: Callable, /, *args, **kwargs) -> Future:
        return self.inner.submit(_call, pickle.dumps((work, args, kwargs)))


def _call(packed: bytes):
    work, args, kwargs = pickle.loads(packed)
    return work(*args, **kwargs)


@contextmanager
def workers(device: torch.device) -> Iterator[Executor | Cluster | None]:
    """Where `run_jobs` and `gather` shall run: on the cluster, if there is one, else as
    `local_workers`."""
    if found := cluster.current():
        yield found
        return
    with local_workers(device) as pool:
        yield pool


@contextmanager
def cpu_workers(count: int | None = None) -> Iterator[Executor | Cluster]:
    """The same for work that needs no network; a `count` asks for that many processes here."""
    if count is None and (found := cluster.current()):
        yield found
        return
    with processes(count) as pool:
        yield pool


@contextmanager
def ready_workers() -> Iterator[Executor | Cluster | None]:
    """The same, if it need not be started first; else None: for seconds of work in this process."""
    if cluster.current() or prepared():
        with cpu_workers() as found:
            yield found
    else:
        yield None


@contextmanager
def local_workers(device: torch.device) -> Iterator[Executor | None]:
    """Worker processes on a CPU; None on a GPU, where everything runs in this process.

    Training uses them even if there is a cluster: it reads and writes checkpoints here.
    """
    if device.type != "cpu":
        yield None
        return
    with processes() as pool:
        yield PicklingExecutor(pool)


def parallel_map(device: torch.device, work: Callable, *iterables: Iterable) -> list:
    """`list(map(work, *iterables))` on this machine's workers; iterables of equal length."""
    with local_workers(device) as pool:
        return gather(partial(single_threaded, work), list(zip(*iterables, strict=True)), pool)


def map_row_blocks(
    device: torch.device, work: Callable, *arrays: np.ndarray | torch.Tensor
) -> np.ndarray:
    """`work(*arrays)`, which returns one row per input row; on prepared processes, if any."""
    if device.type != "cpu" or not prepared() or len(arrays[0]) <= BLOCK_ROWS:
        return work(*arrays)
    starts = range(0, len(arrays[0]), BLOCK_ROWS)
    blocks = [[array[at : at + BLOCK_ROWS] for at in starts] for array in arrays]
    return np.concatenate(parallel_map(device, work, *blocks))


def parallelism(device: torch.device, rows: int) -> str:
    """In words, on what `map_row_blocks` computes this number of rows."""
    if device.type != "cpu":
        return "a GPU"
    if prepared() and rows > BLOCK_ROWS:
        return f"{min(prepared(), -(-rows // BLOCK_ROWS))} processes of one CPU thread each"
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'s' * (threads != 1)}"


def single_threaded(work: Callable, *args):
    """`work(*args)`, on one thread if this is a worker process: they share the cores."""
    if multiprocessing.parent_process():
        torch.set_num_threads(1)
    return work(*args)
