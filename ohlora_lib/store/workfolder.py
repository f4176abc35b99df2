"""A folder that belongs to one piece of work: kept while the work is the same, emptied when not."""

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

IDENTITY = "made_by.json"
FINGERPRINT = "OHLORA_FINGERPRINT"
"""The environment variable in which the runner hands down a digest of all that a stage rests on."""
PATIENCE = 20.0  # seconds; an orphaned kernel is gone within two
_claimed: dict[Path, IO] = {}  # locks of the folders that this process has claimed, held to its end


def claim(path: str, parameters: dict[str, object]) -> Path:
    """The folder below data/ for the work that `parameters` (and the FINGERPRINT, if any) describe.

    What the same work left there unfinished stays, so it can go on; another work's files go. A
    folder that holds anything else is refused: nothing is deleted that this did not make. The
    folder is this process's own until it ends.
    """
    folder = inside_root(path)
    if not folder.is_relative_to(ROOT / "data") or folder == ROOT / "data":
        raise StoreError(f"out = {path!r}: notebooks write into a folder below data/")
    if folder not in _claimed:
        _claimed[folder] = _lock(folder)
    mark = folder / IDENTITY
    identity = {"parameters": parameters, "fingerprint": os.environ.get(FINGERPRINT, "")}
    if _read(mark) != identity:
        _empty(folder)
        write_json(mark, identity)
    sweep(folder)
    return folder


def release(folder: Path) -> None:
    """Delete a folder that `claim` made; refuse one that it did not make, or that is in use."""
    with _lock(folder):
        _empty(folder)


def _lock(folder: Path) -> IO:
    """Wait a little for whoever works in the folder (a killed run's kernel, say); then refuse."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = (folder.parent / f".{folder.name}.lock").open("w")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise StoreError(
                    f"another notebook is at work in {folder}: close it, or give another `out`"
                ) from None
            time.sleep(0.1)


def _empty(folder: Path) -> None:
    """Take the folder away at once, by a rename, then delete it: a kill leaves no half of it."""
    for trash in folder.parent.glob(f".{folder.name}{MARK}*"):
        shutil.rmtree(trash)
    if not folder.exists():
        return
    foreign = any(MARK not in path.name for path in folder.iterdir())
    if foreign and not (folder / IDENTITY).exists():
        raise StoreError(f"{folder} holds files that no notebook made: move them away first")
    trash = folder.with_name(f".{folder.name}{MARK}{secrets.token_hex(4)}")
    folder.rename(trash)
    shutil.rmtree(trash)


def _read(mark: Path) -> object:
    try:
        return json.loads(mark.read_text())
    except (OSError, ValueError):
        return None  # none yet, or a damaged one: the work starts anew
