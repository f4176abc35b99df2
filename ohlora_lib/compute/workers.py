"""Work on many pictures, spread over processes: one for each core, on one thread each.

Two threads draw pictures of this size little faster than one; two processes twice as fast.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from multiprocessing import parent_process

import numpy as np
import torch

from ohlora_lib.compute import jobs as shards

ROWS = 32
"""Sent to a process together: a number of its own, or results would hang on the number of cores."""


class ByValue(Executor):
    """An executor whose tasks take copies along.

    Left to itself, torch moves a network that is sent into shared memory, for both sides and for
    good; there it computes at little more than half the speed.
    """

    def __init__(self, inner: Executor):
        self.inner = inner

    def submit(self, work: Callable, /, *given, **named) -> Future:
        return self.inner.submit(_do, pickle.dumps((work, given, named)))


def _do(packed: bytes):
    work, given, named = pickle.loads(packed)
    return work(*given, **named)


@contextmanager
def workers(device: torch.device) -> Iterator[Executor | None]:
    """An executor of processes on a CPU, else None: on a GPU everything happens here."""
    if device.type != "cpu":
        yield None
        return
    with shards.processes() as pool:
        yield ByValue(pool)


def spread(device: torch.device, work: Callable, *parts: Iterable) -> list:
    """`map(work, *parts)` as a list, done by the workers of that device; parts of one length."""
    with workers(device) as pool:
        return shards.gather(partial(on_one_thread, work), list(zip(*parts, strict=True)), pool)


def by_rows(device: torch.device, work: Callable, *arrays: np.ndarray | torch.Tensor) -> np.ndarray:
    """`work(*arrays)`, which gives a row for each of theirs: by the prepared processes, if any."""
    if device.type != "cpu" or not shards.prepared() or len(arrays[0]) <= ROWS:
        return work(*arrays)
    parts = [[each[at : at + ROWS] for at in range(0, len(each), ROWS)] for each in arrays]
    return np.concatenate(spread(device, work, *parts))


def on_one_thread(work: Callable, *arguments):
    """Do work, in one of several processes on one thread: with more they would fight over cores."""
    if parent_process():
        torch.set_num_threads(1)
    return work(*arguments)
