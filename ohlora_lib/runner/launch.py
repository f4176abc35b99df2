"""The command line of ./run_all.sh, and the environment .venv that it runs in.

Standard library only: this runs before .venv exists. `.venv/ready` records which pins were
installed and where. It is written last, so that an interrupted set-up is recognized by its absence.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

from ohlora_lib.store import ROOT

SCALES = ("smoke", "quick", "paper")
EXAMPLES = """examples:
  ./run_all.sh                                 the default system at quick scale
  ./run_all.sh ohlora_v3 --scale smoke         a fast check that everything works here
  ./run_all.sh --only 01_generate --force      run one stage again
  ./run_all.sh ohlora_v3 --scale paper --dry-run
                                               hours, disk, memory and weights at paper scale
  ./run_all.sh --workers 8                     8 Dask workers on this machine
  ./run_all.sh --cluster tcp://HOST:8786       workers of an existing Dask cluster
  ./run_all.sh --list                          systems and their stages
  ./run_all.sh --test                          the test suite

An interrupted run resumes when it is called again.
"""
VENV = ROOT / ".venv"
READY = VENV / "ready"
PINS = ROOT / "requirements.txt"
LOG = ROOT / "data" / "setup.log"
NEEDED_GB = 3  # 2 GB with torch's CPU build, and pip unpacks beside it
UNREACHABLE = ("NewConnectionError", "NameResolutionError", "(from versions: none)")


def systems() -> list[str]:
    """The names of the pipelines."""
    return sorted(path.stem for path in (ROOT / "pipelines").glob("*.yaml"))


def default_system() -> str:
    """`default-system` of the settings; else the first pipeline."""
    name = _settings().get("default-system", "")
    return name if name in systems() else systems()[0]


def _settings() -> dict:
    """[tool.ohlora] of pyproject.toml."""
    path = ROOT / "pyproject.toml"
    tools = tomllib.loads(path.read_text()).get("tool", {}) if path.exists() else {}
    return tools.get("ohlora", {})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(
        prog="./run_all.sh",
        description="Run the notebooks of a pipeline and write their reports into reports/.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("system", nargs="?", metavar="SYSTEM", help=f"one of: {', '.join(systems())}")
    add("--scale", choices=SCALES, default="quick", help="size of the run (default: quick)")
    add("--from", dest="start", metavar="STAGE", help="start at this stage")
    add("--only", metavar="STAGE", help="run this stage only")
    add("--force", action="store_true", help="also run stages that are up to date")
    add("--with-code", action="store_true", help="also write pages that show the notebooks' code")
    add("--dry-run", action="store_true", help="check everything and print what would run")
    add("--workers", type=int, metavar="N", help="run shards on N Dask workers of this machine")
    add("--worker-memory", type=float, metavar="GB", help="limit of each of the N workers")
    add("--cluster", metavar="ADDRESS", help="run shards on the Dask cluster at tcp://HOST:PORT")
    add("--calibrate", action="store_true", help="measure this machine for --dry-run (a minute)")
    add("--index", action="store_true", help="rewrite what is made of all pages")
    add("--list", action="store_true", help="list the systems and their stages")
    add("--test", action="store_true", help="run the test suite (takes no other option)")
    return made


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse and check what can be checked before anything is installed."""
    made = parser()
    options = made.parse_args(arguments)
    if not systems():
        made.error(f"{ROOT} has no pipelines/*.yaml: run this in a checkout")
    if options.test and len(arguments) > 1:
        made.error("--test takes no other option")
    if options.start and options.only:
        made.error("--from and --only exclude each other")
    if options.workers is not None and options.workers < 1:
        made.error(f"--workers {options.workers}: must be at least 1")
    if options.workers and options.cluster:
        made.error("--workers starts a cluster and --cluster names one: give one of them")
    if options.worker_memory is not None and not (options.workers and options.worker_memory > 0):
        made.error("--worker-memory is the GB that each of --workers N may use: give both")
    if options.cluster and not re.fullmatch(r"(tcp|tls|ws|wss)://.+:\d+", options.cluster):
        made.error(f"--cluster {options.cluster!r}: must look like tcp://HOST:8786")
    if options.system is None:
        options.system = default_system()
    elif options.system not in systems():
        made.error(f"there is no system {options.system!r}: choose from {', '.join(systems())}")
    return options


class SetupError(Exception):
    """Why there is no environment, and what to do."""


def wanted() -> list[str]:
    """What READY must contain: this folder (an environment cannot be moved), the pins' digest."""
    pins = PINS.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    return [str(ROOT), hashlib.sha256(pins).hexdigest()]


def _installed() -> list[str]:
    """What READY contains; [] if the environment is unfinished or its Python is gone."""
    complete = READY.exists() and (VENV / "bin/python").exists()
    return READY.read_text(encoding="utf-8").split("\n") if complete else []


def _command(*words: object) -> None:
    """Run a step of the set-up with its output in the log."""
    with LOG.open("a") as log:
        done = subprocess.run([str(word) for word in words], stdout=log, stderr=log, cwd=ROOT)
    if done.returncode:
        raise SetupError(_explain(LOG.read_text(errors="replace")))


def _explain(log: str) -> str:
    if "No space left on device" in log:
        return "the disk is full: free some space and run again"
    if any(sign in log for sign in UNREACHABLE):
        return "no package index can be reached: connect to the network for the first set-up"
    if "ensurepip is not" in log:
        return "this Python has no venv module: install it (Debian: apt install python3-venv)"
    last = [line for line in log.splitlines() if line.strip()][-1:]
    return f"set-up failed: {' '.join(last)} (full log: {LOG.relative_to(ROOT)})"


def _make() -> None:
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        raise SetupError(f"{free:.1f} GB free on this disk, the set-up needs {NEEDED_GB} GB")
    if VENV.is_symlink():  # its target would be emptied
        raise SetupError(
            f".venv is a link to {VENV.readlink()}, which was not made for this folder: remove "
            "the link and run again"
        )
    LOG.write_text("")
    same_place = _installed()[:1] == wanted()[:1]
    READY.unlink(missing_ok=True)
    if same_place:
        print("requirements.txt has changed: updating .venv …", flush=True)
    else:
        problem = ".venv is unfinished or was moved: rebuilding it"
        say = problem if VENV.exists() else "Making .venv"
        print(f"{say} (once; a few minutes, log in {LOG.relative_to(ROOT)}) …", flush=True)
        _command(sys.executable, "-m", "venv", "--clear", VENV)
    pip = [VENV / "bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
    _command(*pip, "-r", PINS)
    _command(*pip, "--no-deps", "--no-build-isolation", "-e", ROOT)
    for name in _settings().get("optional-weights", []):
        fetch = ["-m", "ohlora_lib.checkpoints", "fetch", name]
        try:
            _command(VENV / "bin/python", *fetch)
        except SetupError:
            print(
                f"The optional weights '{name}' cannot be fetched now; everything runs without "
                f"them. To try again: .venv/bin/python {' '.join(fetch)}"
            )
    READY.write_text("\n".join(wanted()), encoding="utf-8")


def ensure_environment() -> Path:
    """The environment's Python; makes, repairs or updates the environment first if necessary."""
    if _installed() != wanted():
        LOG.parent.mkdir(exist_ok=True)
        with (LOG.parent / ".setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second caller waits, then finds it made
            if _installed() != wanted():
                _make()
    return VENV / "bin/python"


def main(arguments: list[str]) -> None:
    """Check the arguments, prepare the environment, start the runner or the tests in it."""
    options = parse(arguments)
    try:
        python = ensure_environment()
    except (SetupError, OSError) as error:
        sys.exit(f"./run_all.sh: {error}")
    task = ["-m", "ohlora_lib.runner.run", *arguments]
    if options.test:  # a file's tests share fixtures, so they stay in one process
        task = ["-m", "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.chdir(ROOT)
    os.environ["PYTHONUTF8"] = "1"  # the project's files are UTF-8, whatever the locale
    os.execv(python, [str(python), *task])


if __name__ == "__main__":
    main(sys.argv[1:])
