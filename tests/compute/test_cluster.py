"""A Dask cluster gives the same bytes as processes do, and loses nothing that it was asked for."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dask
import distributed  # noqa: F401  imported while a setting holds, it would lose its defaults with it
import numpy as np
import psutil
import pytest

from ohlora_lib.compute import cluster
from ohlora_lib.compute.cluster import Cluster, ClusterError, Setup
from ohlora_lib.compute.jobs import Job, gather, run_jobs
from ohlora_lib.store.atomic import read_bytes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    monkeypatch.setenv("OHLORA_HEADLESS", "1")


@pytest.fixture(scope="module")
def two():
    """A cluster of two workers of this machine."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        cluster.local(2, 1e9) as made,
    ):
        yield made


@pytest.fixture
def used(two):
    """This process's connection to it."""
    with cluster.connected(two.scheduler_address):
        yield cluster.current()


def write_square(task, path):
    path.write_text(str(task**2))


def who(_):
    time.sleep(0.05)
    return os.getpid(), cluster.current() is None


def test_jobs_run_on_all_workers_and_write_their_files(used, tmp_path, capsys):
    jobs = [Job(tmp_path / f"{k}.txt", k) for k in range(5)]
    (tmp_path / "3.txt").write_text("kept")
    files = run_jobs(write_square, jobs, "squares", used)
    assert [file.read_text() for file in files] == ["0", "1", "4", "kept", "16"]
    assert capsys.readouterr().err == "squares: 4 done\n"
    found = gather(who, [(k,) for k in range(20)], used)
    assert len({process for process, _ in found} - {os.getpid()}) == 2
    assert all(alone for _, alone in found), "a worker must not send work to its own cluster"


def scale(network: np.ndarray, factor: int) -> float:
    return float(network[0] * factor)


def test_networks_travel_once_and_not_with_every_job(used):
    before = used.sent
    work = partial(scale, np.ones(1_000_000))
    assert gather(work, [(k,) for k in range(30)], used) == list(range(30))
    assert 8e6 < used.sent - before < 9e6


def fail(k):
    raise ValueError(f"no face number {k}")


def test_an_error_of_a_job_is_the_callers(used):
    with pytest.raises(ValueError, match="no face number 7"):
        gather(fail, [(7,)], used)
    assert gather(pow, [(2, 3)], used) == [8], "the cluster goes on"


def fail_twice(path):
    with path.open("a") as file:
        file.write("x")
    if len(path.read_text()) < 3:
        raise OSError("the file server hesitates")
    return "read"


def test_a_job_that_raised_is_tried_again(used, tmp_path):
    assert gather(fail_twice, [(tmp_path / "tries",)], used) == ["read"]


class Lines:
    """A file's text as an argument that names the file."""

    def __init__(self, path):
        self.path = path

    def reads(self):
        return [self.path]


def double(lines):
    return 2 * read_bytes(lines.path).decode()


def test_without_a_shared_folder_files_travel_both_ways(two, used, tmp_path, monkeypatch):
    """Nobody can write to the outputs' folder or read the input's, as on another machine."""
    apart = Cluster(Setup(**{**vars(used.setup), "shared": False}))
    written = {}
    monkeypatch.setattr(cluster, "write_bytes", written.__setitem__)
    outputs = [Path(f"/proc/elsewhere/{k}.txt") for k in range(4)]
    files = run_jobs(write_square, [Job(path, k) for k, path in enumerate(outputs)], "some", apart)
    assert files == outputs and written == {p: b"%d" % k**2 for k, p in enumerate(outputs)}
    assert apart.received > 0

    class Elsewhere(type(Path())):
        def read_bytes(self):
            return b"ab"

    monkeypatch.setattr(Lines, "reads", lambda self: [Elsewhere(self.path)])
    assert gather(double, [(Lines(Path("/proc/elsewhere/a")),)], apart) == ["abab"]


def workers_of(two) -> list[psutil.Process]:
    return [psutil.Process(nanny.pid) for nanny in two.workers.values()]


def slow_square(k):
    time.sleep(0.1)
    return k**2


def test_a_killed_worker_loses_nothing(two, used):
    victim = workers_of(two)[0]
    threading.Timer(0.7, victim.kill).start()
    assert gather(slow_square, [(k,) for k in range(30)], used) == [k**2 for k in range(30)]
    assert not victim.is_running()


def fill_memory(_):
    held = []
    for _ in range(200):
        held.append(np.ones(4 << 20))  # 32 MiB
        time.sleep(0.02)


def test_a_worker_out_of_memory_is_named_with_the_remedy(used):
    with pytest.raises(ClusterError, match="exceeded its memory limit") as error:
        gather(fill_memory, [(0,)], used)
    assert "worker tls://127.0.0.1:" in str(error.value) and "1.0 GB" in str(error.value)
    assert "--worker-memory" in str(error.value) and "\n" not in str(error.value)


def test_workers_of_other_versions_are_refused_by_name(used, tmp_path):
    setup = used.setup
    assert setup.problem() == ""
    wrong = {
        "torch 1.0": {"versions": ("torch 1.0",)},
        "another version of the code": {"code": "0" * 16},
        "does not see": {"probe": str(tmp_path / "none")},
        "does not see .* of the runner": {"token": "another folder"},
    }
    for message, change in wrong.items():
        other = Cluster(Setup(**{**vars(setup), **change}))
        with pytest.raises(ClusterError, match=f"worker tls://.*{message}"):
            gather(pow, [(2, 3)], other)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def answers(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + arguments[0], *map(str, arguments[1:])],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def scheduler_and_worker(port):
    """An existing cluster, as `dask scheduler` and `dask worker` make it."""
    both = [
        start("dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"),
        start("dask_worker", f"tcp://127.0.0.1:{port}", "--nthreads", 1, "--no-nanny",
              "--no-dashboard"),
    ]  # fmt: skip
    deadline = time.monotonic() + 60
    while not answers(port):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    try:
        yield both
    finally:
        for one in both:
            one.kill()
            one.wait()


def test_a_killed_scheduler_that_comes_back_loses_nothing():
    port, results = free_port(), []

    def call():
        given = [(k,) for k in range(40)]
        results.append(gather(slow_square, given, cluster.current()))

    address = f"tcp://127.0.0.1:{port}"
    with scheduler_and_worker(port) as (scheduler, _), cluster.connected(address):
        caller = threading.Thread(target=call)
        caller.start()
        time.sleep(1)
        scheduler.send_signal(signal.SIGKILL)
        scheduler.wait()
        assert not results
        with scheduler_and_worker(port):
            caller.join(150)
    assert results == [[k**2 for k in range(40)]]


def test_a_scheduler_that_is_not_there_is_one_line():
    address = f"tcp://127.0.0.1:{free_port()}"
    refused = pytest.raises(ClusterError, match=f"no Dask scheduler answers at {address}")
    with refused, cluster.connected(address):
        pass
    assert cluster.SETTING not in os.environ
