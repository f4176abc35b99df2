"""Atomic file writes: a file is complete, or as it was before."""

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ohlora_lib.store import StoreError

MARK = ".tmp-"
"""Part of every temporary name; `sweep` and .gitignore know it."""
_written: dict[Path, bytes] | None = None  # inside `in_memory`
_readable: dict[Path, bytes] = {}


def sync_folder(folder: Path) -> None:
    """Make the renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; at the end it is renamed to `path`.

    If the block raises, `path` is unchanged and the temporary file is deleted.
    """
    path = Path(path)
    if (written := _written) is not None:
        if path.parent.name.startswith(f".{MARK}"):  # the temporary file of a caller
            yield path
            return
        with TemporaryDirectory(prefix=f".{MARK}") as folder:
            yield Path(folder) / path.name
            written[path] = (Path(folder) / path.name).read_bytes()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers choose the format by it.
    temporary = path.with_name(f".{path.stem}{MARK}{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # or a crash could leave an empty file under the name
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"no space left while writing {path}: free some and run again "
                "(the previous file is unchanged)"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def in_memory(files: Mapping[Path, bytes]) -> Iterator[dict[Path, bytes]]:
    """Inside, atomic writes go into the dictionary, and `read_bytes` finds `files`.

    So a process computes for another one whose folders it does not see.
    """
    global _written, _readable
    _written, _readable = {}, dict(files)
    try:
        yield _written
    finally:
        _written, _readable = None, {}


def read_bytes(path: Path) -> bytes:
    """The contents of a file."""
    return _readable[path] if path in _readable else path.read_bytes()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` atomically, as UTF-8 with Unix line endings."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: object) -> None:
    """Write `value` atomically as readable JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_line(path: str | Path, line: str) -> None:
    """Append one line, durably. A line that a killed process left unfinished stays on its own."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def write_array(array: np.ndarray, path: str | Path) -> None:
    """Write an array atomically as .npy."""
    with atomic_path(path) as temporary:
        np.save(temporary, array)


def sweep(folder: Path) -> int:
    """Delete temporary files of killed processes below `folder`; only while nobody writes there."""
    leftovers = [path for path in folder.rglob(f".*{MARK}*") if path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)
