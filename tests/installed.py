"""A copy of the package elsewhere, as pip installs it: without a checkout around it."""

import shutil
import subprocess
import sys
from pathlib import Path

import ohlora_lib


def copied_package(folder: Path, *left_out: str) -> Path:
    """Copy the package into folder/site, without files of these patterns."""
    ignore = shutil.ignore_patterns("__pycache__", *left_out)
    source = Path(ohlora_lib.__file__).parent
    return Path(shutil.copytree(source, folder / "site" / "ohlora_lib", ignore=ignore))


def printed(package: Path, code: str) -> str:
    """What Python code prints that imports this copy, run from another folder."""
    elsewhere = package.parents[1] / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={"PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
