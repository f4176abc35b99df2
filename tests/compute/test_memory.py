"""Freed memory stays in the process, in every worker process."""

import multiprocessing
import platform
import resource

import numpy as np
import pytest

from ohlora_lib.compute import memory
from ohlora_lib.compute.memory import PROCESS_BYTES, available, keep_freed, processes_for
from ohlora_lib.compute.workers import processes

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
PAGES = 12 * 2048


def test_processes_are_limited_by_the_cores_allowed_and_by_free_memory(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 99 kB\nMemFree: 1 kB\nMemAvailable:    7000000 kB\n")
    assert available(meminfo) == 7_168_000_000 and available(tmp_path / "none") == 0
    monkeypatch.setattr(memory.os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(memory, "available", lambda: 7_168_000_000)
    assert [processes_for(each) for each in (0, 3e9, 8e9, 1e6)] == [8, 2, 1, 8]
    monkeypatch.setenv(PROCESS_BYTES, "2e9")
    assert processes_for() == 3
    monkeypatch.setattr(memory, "available", lambda: 0)
    assert processes_for() == 8, "unknown"


def new_pages() -> int:
    """Page faults while filling 96 MiB that were in use before."""
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        several = [np.ones(1 << 20) for _ in range(12)]
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def kept_and_new_pages() -> tuple[bool, int]:
    return keep_freed(), new_pages()


def test_memory_is_kept():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        kept, pages = pool.apply(kept_and_new_pages)
    assert kept
    assert pages < PAGES / 100


def test_worker_processes_keep_it():
    with processes(1) as pool:
        assert pool.submit(new_pages).result() < PAGES / 100


def test_the_switch_turns_it_off(monkeypatch):
    monkeypatch.setenv("OHLORA_PLAIN_CPU", "1")
    assert not keep_freed()
