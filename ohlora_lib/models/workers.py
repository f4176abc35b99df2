"""Work on many pictures, spread over processes: one for each core, on one thread each.

Two threads draw pictures of this size little faster than one; two processes twice as fast.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from multiprocessing import parent_process

import numpy as np
import torch

from ohlora_lib.store import shards

ROWS = 16
"""Sent to a process together: a number of its own, or results would hang on the number of cores."""


def workers(device: torch.device) -> AbstractContextManager:
    """An executor of processes on a CPU, else None: on a GPU everything happens here."""
    return shards.processes() if device.type == "cpu" else nullcontext()


def spread(device: torch.device, work: Callable, *parts: Iterable) -> list:
    """`map(work, *parts)` as a list, done by the workers of that device."""
    with workers(device) as pool:
        return list((pool.map if pool else map)(partial(on_one_thread, work), *parts))


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
