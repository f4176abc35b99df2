"""Work spread over processes: the same result, whoever does it."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
import torch

from ohlora_lib.compute import jobs, workers
from ohlora_lib.compute.workers import BLOCK_ROWS, parallelism

# In a process of its own: only one that holds no threads yet may fork its workers.
PREPARED = """
import os
import numpy as np
import torch
from ohlora_lib.compute.workers import BLOCK_ROWS, map_row_blocks, prepare, prepared, workers

def square_and_who(x):
    return np.stack([np.square(x), np.full(len(x), os.getpid())], 1)

def inside(_):
    return prepared()

cpu = torch.device("cpu")
rows = np.arange(2 * BLOCK_ROWS + 1)
assert prepared() == 0
assert set(map_row_blocks(cpu, square_and_who, rows)[:, 1]) == {os.getpid()}
prepare()
count = prepared()
assert count == os.cpu_count()
done = map_row_blocks(cpu, square_and_who, rows)
assert (done[:, 0] == rows**2).all()
assert (done[:, 1] != os.getpid()).all()
few = map_row_blocks(cpu, square_and_who, rows[:3])
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

    class Counted(workers.PicklingExecutor):
        def submit(self, work, /, *given):
            futures.append(super().submit(work, *given))
            held.append(sum(not future.done() for future in futures))
            return futures[-1]

    monkeypatch.setattr(jobs, "processes_for", lambda: 1)
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(workers, "local_workers", lambda device: nullcontext(Counted(pool)))
        workers.parallel_map(torch.device("cpu"), time.sleep, [0.005] * 20)
    assert len(held) == 20 and max(held) == 2


PARENT = """
import os
import time
from ohlora_lib.compute.workers import processes
if __name__ == "__main__":
    with processes(2) as pool:
        pid = pool.submit(os.getpid)
        for _ in range(2):
            pool.submit(time.sleep, 60)
        print(pid.result(), flush=True)
        time.sleep(60)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = Path(workers.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    process.stdout.readline()
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(family, timeout=15)
    assert alive == []


@pytest.mark.parametrize(
    ("device", "ready", "rows", "expected"),
    [
        ("cpu", 8, BLOCK_ROWS + 1, "2 processes of one CPU thread each"),
        ("cpu", 2, 5 * BLOCK_ROWS, "2 processes of one CPU thread each"),
        ("cpu", 0, 64, "3 CPU threads"),
        ("cpu", 8, BLOCK_ROWS, "3 CPU threads"),
        ("meta", 8, 64, "a GPU"),
    ],
)
def test_the_page_names_what_computed(monkeypatch, device, ready, rows, expected):
    monkeypatch.setattr(workers, "prepared", lambda: ready)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert parallelism(torch.device(device), rows) == expected
