"""Work on many pictures, spread over processes: one for each core, on one thread each.

Two threads draw pictures of this size little faster than one; two processes twice as fast.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from multiprocessing import parent_process

import torch

from ohlora_lib.store import shards


def workers(device: torch.device) -> AbstractContextManager:
    """An executor of processes on a CPU, else None: on a GPU everything happens here."""
    return shards.processes() if device.type == "cpu" else nullcontext()


def spread(device: torch.device, work: Callable, *parts: Iterable) -> list:
    """`map(work, *parts)` as a list, done by the workers of that device."""
    with workers(device) as pool:
        return list((pool.map if pool else map)(partial(on_one_thread, work), *parts))


def on_one_thread(work: Callable, *arguments):
    """Do work, in one of several processes on one thread: with more they would fight over cores."""
    if parent_process():
        torch.set_num_threads(1)
    return work(*arguments)
