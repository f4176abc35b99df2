"""Work spread over processes: the same result, whoever does it."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import torch

from ohlora_lib.compute import jobs as shards
from ohlora_lib.compute import workers

# In a process of its own: only one that holds no threads yet may fork its workers.
PREPARED = """
import os
import numpy as np
import torch
from ohlora_lib.compute.workers import ROWS, by_rows, workers
from ohlora_lib.compute import jobs as shards

def square_and_who(x):
    return np.stack([np.square(x), np.full(len(x), os.getpid())], 1)

def inside(_):
    return shards.prepared()

cpu = torch.device("cpu")
rows = np.arange(2 * ROWS + 1)
assert shards.prepared() == 0 and set(by_rows(cpu, square_and_who, rows)[:, 1]) == {os.getpid()}
shards.prepare()
count = shards.prepared()
assert count == os.cpu_count()
done = by_rows(cpu, square_and_who, rows)
assert (done[:, 0] == rows**2).all()
assert (done[:, 1] != os.getpid()).all()
few = by_rows(cpu, square_and_who, rows[:3])
assert (few[:, 1] == os.getpid()).all(), "not worth sending"
for _ in range(2):  # they are not ended with the first use
    with workers(cpu) as pool:
        assert list(pool.map(inside, range(3))) == [0] * 3, "theirs are the parent's"
print("done")
"""


def test_prepared_processes_do_what_this_one_would():
    ran = subprocess.run([sys.executable, "-c", PREPARED], capture_output=True, text=True)
    assert ran.stdout == "done\n", ran.stderr


def test_spread_packs_few_networks_at_a_time(monkeypatch):
    futures, held = [], []

    class Counted(workers.ByValue):
        def submit(self, work, /, *given):
            futures.append(super().submit(work, *given))
            held.append(sum(not future.done() for future in futures))
            return futures[-1]

    monkeypatch.setattr(shards.os, "cpu_count", lambda: 1)
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(workers, "workers", lambda device: nullcontext(Counted(pool)))
        workers.spread(torch.device("cpu"), time.sleep, [0.005] * 20)
    assert len(held) == 20 and max(held) == 2
