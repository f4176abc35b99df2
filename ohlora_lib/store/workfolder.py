"""A folder that belongs to one run of a notebook: kept for the same parameters, else cleared.

Work with a mark (see `work`) survives: it is identified by what it was made from.
"""

import fcntl
import json
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import IO

from ohlora_lib.store import ROOT, StoreError, inside_root
from ohlora_lib.store.atomic import MARK, sweep, write_json
from ohlora_lib.store.work import LONG, REPLACED, duration, free_name, works

IDENTITY = "made_by.json"
FINGERPRINT = "OHLORA_FINGERPRINT"
"""The environment variable in which the runner passes a digest of a stage's code and inputs."""
LOCK_TIMEOUT = 20.0  # seconds; an orphaned kernel exits within two
_claimed: dict[Path, IO] = {}  # locks of this process's folders, held until it exits


def claim(path: str, parameters: dict[str, object]) -> Path:
    """The folder below data/ for a run with these `parameters` (and the FINGERPRINT, if any).

    Files of an interrupted run with the same parameters are kept, so that it resumes; those of
    other parameters are deleted, except marked work. A folder with any other files is refused: only
    files of a claimed folder are deleted. The folder is locked until this process exits.
    """
    folder = inside_root(path)
    if not folder.is_relative_to(ROOT / "data") or folder == ROOT / "data":
        raise StoreError(f"out = {path!r}: give a folder below data/")
    if folder not in _claimed:
        _claimed[folder] = _lock(folder)
    mark = folder / IDENTITY
    identity = {"parameters": parameters, "fingerprint": os.environ.get(FINGERPRINT, "")}
    if _read(mark) != identity:
        _clear(folder)
        write_json(mark, identity)
    sweep(folder)
    return folder


def made_by(folder: Path) -> dict[str, object]:
    """The parameters of the notebook whose `out` is this folder."""
    found = _read(folder / IDENTITY)
    if not isinstance(found, dict) or "parameters" not in found:
        raise StoreError(f"{folder} is not a notebook's folder: run the notebook first")
    return found["parameters"]


def clear(folder: Path) -> None:
    """Delete all that a claimed folder holds, except marked work and what was moved aside."""
    with _lock(folder):
        _clear(folder)


def release(folder: Path) -> Path | None:
    """Delete a folder that `claim` made, or move it aside if it took long to fill: its new place.

    Refuses any other folder, and one that is in use.
    """
    with _lock(folder):
        if not folder.exists():
            return None
        _check_claimed(folder)
        if duration([folder]) >= LONG:
            return folder.rename(free_name(folder))
        _delete(folder, [folder])
        return None


def _lock(folder: Path) -> IO:
    """Lock the folder; wait a little for another process (a killed run's kernel), then refuse."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = (folder.parent / f".{folder.name}.lock").open("w")
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise StoreError(
                    f"another notebook uses {folder}: close it, or give another `out`"
                ) from None
            time.sleep(0.1)


def _clear(folder: Path) -> None:
    if not folder.exists():
        return
    _check_claimed(folder)
    kept = {folder / IDENTITY}
    for work in works(folder):
        inside = work.mark.relative_to(folder).parts[:-1]
        kept.update([folder / inside[0]] if inside else work.entries)
    _delete(folder, [p for p in folder.iterdir() if p not in kept and REPLACED not in p.name])


def _check_claimed(folder: Path) -> None:
    foreign = any(MARK not in path.name for path in folder.iterdir())
    if foreign and not (folder / IDENTITY).exists():
        raise StoreError(f"{folder} contains files that no notebook wrote: move them away first")


def _delete(folder: Path, entries: list[Path]) -> None:
    """Rename first, then delete: a killed process leaves no partly deleted folder."""
    for trash in folder.parent.glob(f".{folder.name}{MARK}*"):
        shutil.rmtree(trash)
    trash = folder.with_name(f".{folder.name}{MARK}{secrets.token_hex(4)}")
    trash.mkdir()
    for path in entries:
        path.rename(trash / path.name)
    shutil.rmtree(trash)


def _read(mark: Path) -> object:
    try:
        return json.loads(mark.read_text())
    except (OSError, ValueError):
        return None  # none yet, or a damaged one: start over
