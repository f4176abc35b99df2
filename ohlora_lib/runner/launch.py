"""From a bare Python to a running pipeline: makes or repairs .venv, then hands over.

Standard library only. `.venv/ready` says which pins were installed and where, and is written last,
so an interrupted set-up is known by its absence.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ohlora_lib.runner import options
from ohlora_lib.store import ROOT

VENV = ROOT / ".venv"
READY = VENV / "ready"
PINS = ROOT / "requirements.txt"
LOG = ROOT / "data" / "setup.log"
NEEDED_GB = 3  # with torch's CPU build it takes 2 GB, and pip unpacks beside it
UNREACHABLE = ("NewConnectionError", "NameResolutionError", "(from versions: none)")


class SetupError(Exception):
    """Why there is no environment, and what to do."""


def wanted() -> list[str]:
    """What READY must say: the place (an environment cannot be moved), and the pins' digest."""
    pins = PINS.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    return [str(ROOT), hashlib.sha256(pins).hexdigest()]


def _found() -> list[str]:
    """What READY says; nothing if the environment is unfinished, or its Python is gone."""
    there = READY.exists() and (VENV / "bin/python").exists()
    return READY.read_text(encoding="utf-8").split("\n") if there else []


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


def _make() -> None:
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        raise SetupError(f"{free:.1f} GB free on this disk, the set-up needs {NEEDED_GB} GB")
    if VENV.is_symlink():  # what it leads to would be emptied
        raise SetupError(
            f".venv is a link to {VENV.readlink()}, which was not made for this folder: remove "
            "the link, and it gets its own"
        )
    LOG.write_text("")
    same_place = _found()[:1] == wanted()[:1]
    READY.unlink(missing_ok=True)
    if same_place:
        print("The pins have changed: installing the difference …", flush=True)
    else:
        found = "An unfinished or moved .venv is here: making it anew"
        say = found if VENV.exists() else "Making .venv"
        print(f"{say} (once; a few minutes, log in {LOG.relative_to(ROOT)}) …", flush=True)
        _command(sys.executable, "-m", "venv", "--clear", VENV)
    pip = [VENV / "bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
    _command(*pip, "-r", PINS)
    _command(*pip, "--no-deps", "--no-build-isolation", "-e", ROOT)
    READY.write_text("\n".join(wanted()), encoding="utf-8")


def ensure_environment() -> Path:
    """The environment's Python; makes, repairs or updates the environment first if need be."""
    if _found() != wanted():
        LOG.parent.mkdir(exist_ok=True)
        with (LOG.parent / ".setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second caller waits, then finds it made
            if _found() != wanted():
                _make()
    return VENV / "bin/python"


def main(arguments: list[str]) -> None:
    """Check the arguments, see to the environment, hand over to the runner or the tests."""
    told = options.parse(arguments)
    try:
        python = ensure_environment()
    except (SetupError, OSError) as error:
        sys.exit(f"./run_all.sh: {error}")
    task = ["-m", "pytest"] if told.test else ["-m", "ohlora_lib.runner.run", *arguments]
    os.chdir(ROOT)
    os.environ["PYTHONUTF8"] = "1"  # whatever the locale: the project's files are UTF-8
    os.execv(python, [str(python), *task])


if __name__ == "__main__":
    main(sys.argv[1:])
