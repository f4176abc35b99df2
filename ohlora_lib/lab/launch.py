"""From a bare Python to a running pipeline: makes or repairs .venv, then hands over.

Standard library only. `.venv/ready` holds the digest of the pins that were installed and is written
last, so an interrupted set-up is known by its absence.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ohlora_lib.lab import options
from ohlora_lib.lab.options import ROOT

VENV = ROOT / ".venv"
READY = VENV / "ready"
PINS = ROOT / "requirements.txt"
LOG = ROOT / "data" / "setup.log"
NEEDED_GB = 3  # the CPU environment takes 1.6 GB; pip unpacks beside it
UNREACHABLE = ("NewConnectionError", "NameResolutionError", "(from versions: none)")


class SetupError(Exception):
    """Why there is no environment, and what to do."""


def pins_digest() -> str:
    """What READY must say: pins, package settings, place and Python."""
    told = [PINS.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join([*told, sys.version.encode()])).hexdigest()


def _is_ready(digest: str) -> bool:
    return READY.exists() and READY.read_text() == digest and (VENV / "bin/python").exists()


def _command(*words: object) -> None:
    """Run a step of the set-up, its output into the log."""
    with LOG.open("a") as log:
        done = subprocess.run([str(word) for word in words], stdout=log, stderr=log, cwd=ROOT)
    if done.returncode:
        raise SetupError(_explain(LOG.read_text(errors="replace")))


def _explain(log: str) -> str:
    if "No space left on device" in log:
        return "the disk is full: free some space and run again"
    if any(sign in log for sign in UNREACHABLE):
        return "no package index can be reached: the first set-up needs the network; run again then"
    if "ensurepip is not" in log:
        return "this Python has no venv module: install it (Debian: apt install python3-venv)"
    last = [line for line in log.splitlines() if line.strip()][-1:]
    return f"set-up failed: {' '.join(last)} (all of it in {LOG.relative_to(ROOT)})"


def _make(digest: str) -> None:
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        raise SetupError(f"{free:.1f} GB free on this disk, the set-up needs {NEEDED_GB} GB")
    LOG.write_text("")
    if READY.exists():
        print("The pins have changed: installing the difference …", flush=True)
        READY.unlink()
    else:
        found = "An unfinished .venv is here: making it anew" if VENV.exists() else "Making .venv"
        print(f"{found} (once; a few minutes, log in {LOG.relative_to(ROOT)}) …", flush=True)
        _command(sys.executable, "-m", "venv", "--clear", VENV)
    pip = [VENV / "bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
    _command(*pip, "-r", PINS)
    _command(*pip, "--no-deps", "--no-build-isolation", "-e", ROOT)
    READY.write_text(digest)


def ensure_environment() -> Path:
    """The environment's Python; makes, repairs or updates the environment first if need be."""
    digest = pins_digest()
    if not _is_ready(digest):
        LOG.parent.mkdir(exist_ok=True)
        with (LOG.parent / ".setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second caller waits, then finds it made
            if not _is_ready(digest):
                _make(digest)
    return VENV / "bin/python"


def main(arguments: list[str]) -> None:
    """Check the arguments, see to the environment, hand over to the runner or the tests."""
    told = options.parse(arguments)
    try:
        python = ensure_environment()
    except (SetupError, OSError) as error:
        sys.exit(f"./run_all.sh: {error}")
    task = ["-m", "pytest"] if told.test else ["-m", "ohlora_lib.lab.run", *arguments]
    os.chdir(ROOT)
    os.execv(python, [str(python), *task])


if __name__ == "__main__":
    main(sys.argv[1:])
