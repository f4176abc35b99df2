"""Memory: how many processes fit, and freed memory kept instead of returned to the system."""

import ctypes
import os
import platform
from pathlib import Path

KEPT = 256 << 20  # bytes at the end of the heap
LARGEST = 32 << 20  # bytes of a block that is kept: glibc's maximum
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


PROCESS_BYTES = "OHLORA_PROCESS_BYTES"
"""The environment variable in which the runner passes what a worker process of a stage needs."""


def processes_for(each: float | None = None) -> int:
    """How many worker processes to use: as many as cores that this process may use, and as fit.

    `each`: bytes of memory that one needs; by default from PROCESS_BYTES, else nothing.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity else os.cpu_count()
    each = float(os.environ.get(PROCESS_BYTES, 0)) if each is None else each
    free = available()
    return max(1, min(cores, int(free // each))) if each and free else cores


def available(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of memory that new processes can have; 0 where the system does not tell (macOS)."""
    if not meminfo.exists():
        return 0
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return 1024 * int(lines.get("MemAvailable", "0 kB").split()[0])


def keep_freed() -> bool:
    """Configure this process; False if its C library cannot (only glibc can).

    By default glibc returns the end of the heap after each batch, and the next batch page-faults it
    in again. Measured: the embedded parser needs 20 % less CPU time, the generator about 5 % (two
    cores of an EPYC). `OHLORA_PLAIN_CPU=1` switches it off, as the fast paths of `models.cpu`.
    """
    if platform.libc_ver()[0] != "glibc" or os.environ.get("OHLORA_PLAIN_CPU", "") not in ("", "0"):
        return False
    set_option = ctypes.CDLL(None).mallopt
    return bool(set_option(M_TRIM_THRESHOLD, KEPT) and set_option(M_MMAP_THRESHOLD, LARGEST))
