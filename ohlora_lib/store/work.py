"""Expensive results on disk, identified by what they were made from.

    keep_work(folder, "latents", __name__, {"generator": generator, "seed": seed, "count": count})

keeps the files in `folder` if an earlier call had the same arguments and the same code, so that the
caller resumes or finds its result complete. Otherwise they are replaced: moved aside if it took
long to make them, else deleted. The mark NAME.work.json says what the files were made from. Code is
that of the computing layers which the module uses (see `code`): plots, pages, docstrings and
comments do not count.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import FunctionType

import numpy as np

from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import MARK as TEMPORARY
from ohlora_lib.store.atomic import write_json
from ohlora_lib.store.code import computing_code
from ohlora_lib.store.manifest import Snapshot, files_below

MARK = ".work.json"
REPLACED = ".replaced-"
LONG = 600.0
"""Seconds. Work that took longer is moved aside instead of deleted."""


def keep_work(
    folder: Path,
    name: str,
    module: str,
    made_from: Mapping[str, object],
    files: Sequence[str] = ("*",),
) -> None:
    """Keep the work `name` in a folder if it is the same, else replace it.

    `module` computes it; `files` are glob patterns of what belongs to it, by default everything in
    the folder. Arguments may be arrays, tables, networks, dataclasses of them, and paths, which
    stand for the contents of the file or folder.
    """
    folder = Path(folder)
    mark = folder / f"{name}{MARK}"
    digests = {key: digest_of(value) for key, value in made_from.items()}
    before, code = _read(mark), computing_code(module)
    if before and before.made_from == digests and before.code == code:
        return
    if before:
        set_aside(folder, before.entries)
    if unknown := next((path for path in _matching(folder, files)), None):
        raise StoreError(f"{unknown} is of unknown origin: move it away, so that it is not lost")
    content = {"module": module, "files": list(files), "made_from": digests, "code": code}
    write_json(mark, content)


@dataclass(frozen=True)
class Work:
    """What a mark says."""

    mark: Path
    module: str
    files: tuple[str, ...]
    made_from: dict[str, str]
    code: dict[str, str]

    @property
    def name(self) -> str:
        return self.mark.name.removesuffix(MARK)

    @property
    def entries(self) -> list[Path]:
        """The files and folders that belong to the work, and last the mark."""
        found = _matching(self.mark.parent, self.files)
        return [*(path for path in found if path != self.mark), self.mark]

    @property
    def changed_code(self) -> list[str]:
        """Files of the library that have changed since, or that it did not use before."""
        now = computing_code(self.module)
        names = sorted(self.code.keys() | now.keys())
        return [name for name in names if self.code.get(name) != now.get(name)]

    @property
    def seconds(self) -> float:
        return duration(self.entries)


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    found = dict.fromkeys(path for pattern in patterns for path in folder.glob(pattern))
    return [path for path in found if TEMPORARY not in path.name and REPLACED not in path.name]


def works(folder: Path) -> list[Work]:
    """All work in a stage's folder: directly in it, or in a folder of its own."""
    marks = sorted(mark for depth in ("", "*/", "*/*/") for mark in folder.glob(f"{depth}*{MARK}"))
    return [found for mark in marks if (found := _read(mark))]


def duration(paths: Iterable[Path]) -> float:
    """Seconds from the oldest to the newest of these files and those in these folders."""
    times = [file.stat().st_mtime for path in paths for file in files_below(path)]
    return max(times) - min(times) if times else 0.0


def set_aside(folder: Path, entries: Iterable[Path]) -> Path | None:
    """Move entries of a folder to FOLDER.replaced-N if it took long to make them, else delete them.

    Returns the new place, if there is one.
    """
    entries = list(entries)
    if duration(entries) < LONG:
        for path in entries:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return None
    place = free_name(folder)
    place.mkdir()
    for path in entries:
        path.rename(place / path.name)
    return place


def free_name(folder: Path) -> Path:
    """The first FOLDER.replaced-1, -2, … that does not exist."""
    number = 1
    while (place := folder.with_name(f"{folder.name}{REPLACED}{number}")).exists():
        number += 1
    return place


def _read(mark: Path) -> Work | None:
    """None if there is no mark, or a damaged one: then nothing is known about the files."""
    try:
        content = json.loads(mark.read_text())
        files, made_from = tuple(content["files"]), dict(content["made_from"])
        return Work(mark, content["module"], files, made_from, dict(content["code"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digest_of(value: object) -> str:
    """A digest of a value's contents: the same in every process."""
    hashed = hashlib.sha256()
    for part in _bytes_of(value):
        hashed.update(part)
    return hashed.hexdigest()[:16]


def _bytes_of(value: object) -> Iterable[bytes | memoryview]:
    """The contents of a value, with its type and shape, as bytes."""
    if value is None or isinstance(value, bool | int | float | str | bytes | range | np.generic):
        yield f"{type(value).__name__} {value!r};".encode()
    elif isinstance(value, Path):
        yield f"contents {Snapshot.of(value).digest};".encode()
    elif isinstance(value, np.ndarray):
        yield f"array {value.dtype} {value.shape};".encode()
        if value.dtype.hasobject:
            yield repr(value.tolist()).encode()
        else:
            yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    elif hasattr(value, "columns"):  # a table
        yield from _bytes_of({name: value[name].to_numpy() for name in value.columns})
    elif hasattr(value, "state_dict"):  # a network
        yield f"{type(value).__name__} {getattr(value, 'config', None)!r};".encode()
        yield from _bytes_of(dict(value.state_dict()))
    elif hasattr(value, "detach"):  # a tensor
        tensor = value.detach().cpu()
        narrow = "bfloat16" in str(tensor.dtype)  # unknown to numpy
        yield from _bytes_of((tensor.float() if narrow else tensor).numpy())
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield f"{key!r}:".encode()
            yield from _bytes_of(one)
    elif isinstance(value, list | tuple):
        yield f"{type(value).__name__} {len(value)};".encode()
        for one in value:
            yield from _bytes_of(one)
    elif is_dataclass(value):
        yield f"{type(value).__name__};".encode()
        yield from _bytes_of({one.name: getattr(value, one.name) for one in fields(value)})
    elif isinstance(value, FunctionType):
        yield f"{value.__qualname__};".encode() + value.__code__.co_code
        yield from _bytes_of([cell.cell_contents for cell in value.__closure__ or ()])
    elif type(value).__module__ != "builtins":  # what pickle would keep of it
        yield f"{type(value).__name__};".encode()
        yield from _bytes_of(value.__getstate__())
    else:
        raise TypeError(f"a {type(value).__name__} cannot identify work: give data")
