"""Manifests: what made these files from which inputs, and whether any of them has changed."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ohlora_lib.store import ROOT, StoreError
from ohlora_lib.store.atomic import MARK, write_json


def files_below(path: Path) -> list[Path]:
    """The file itself, or all files of a folder in order, without temporary ones."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and MARK not in file.name)


def sha256(path: Path) -> str:
    """SHA-256 of one file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """State of a file or folder: a digest of its contents, and a stamp that is quick to compare."""

    digest: str
    stamp: str
    files: int
    size: int

    @classmethod
    def of(cls, path: Path, known: "Snapshot | None" = None) -> "Snapshot":
        """The state of `path`; files are read only if names, sizes or times differ from `known`."""
        files = files_below(path)
        if not files and not path.is_dir():
            raise StoreError(f"{path} is missing")
        stats = [file.stat() for file in files]
        names = [file.relative_to(path).as_posix() for file in files]
        stamp = _digest_of(
            [f"{n} {s.st_size} {s.st_mtime_ns}" for n, s in zip(names, stats, strict=True)]
        )
        if known is not None and known.stamp == stamp:
            return known
        digest = _digest_of([f"{n} {sha256(f)}" for n, f in zip(names, files, strict=True)])
        return cls(digest, stamp, len(files), sum(s.st_size for s in stats))


@dataclass(frozen=True)
class Manifest:
    """Parameters, code, inputs and outputs of a stage. Paths are relative to the repository."""

    stage: str
    parameters: dict[str, object]
    notebook: str
    code: str
    inputs: dict[str, Snapshot]
    outputs: dict[str, Snapshot]
    page: str = ""

    def write(self, path: Path) -> None:
        """Write it atomically as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read it back; a damaged manifest is a StoreError that names the file."""
        try:
            raw = json.loads(path.read_text())
            for part in ("inputs", "outputs"):
                raw[part] = {name: Snapshot(**snapshot) for name, snapshot in raw[part].items()}
            return cls(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(
                f"{path} is damaged ({error}): delete it to run the stage again"
            ) from error


def changed(snapshots: dict[str, Snapshot]) -> str | None:
    """The first recorded path that is missing or whose contents have changed, or None."""
    for name, known in snapshots.items():
        path = ROOT / name
        if not path.exists() or Snapshot.of(path, known).digest != known.digest:
            return name
    return None
