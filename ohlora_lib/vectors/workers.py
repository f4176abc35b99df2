"""Work for many latents, spread over processes: one for each core, on one thread each.

Two threads draw pictures of this size little faster than one; two processes twice as fast.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from ohlora_lib.store import shards
from ohlora_lib.vectors.latents import Studio


def workers(studio: Studio) -> AbstractContextManager:
    """An executor of processes on a CPU, else None: on a GPU everything happens here."""
    return shards.processes() if studio.device.type == "cpu" else nullcontext()


def on_one_thread(work: Callable, *arguments):
    """Do work in one of several processes: with more threads they would fight over the cores."""
    torch.set_num_threads(1)
    return work(*arguments)
