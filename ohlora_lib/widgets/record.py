"""A CSV that a person fills in a widget, step by step, with a journal of the steps beside it.

The CSV is the result and always complete: each step replaces it atomically. The journal,
`NAME.journal.jsonl`, has a line per session and per step; reading the CSV does not need it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import append_line
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import read_table, write_table

SAMPLE = 8
"""Images that identify a set: those with the lowest numbers, which stay when more are added."""


def checked_numbers(images: ImageSet) -> list[int]:
    """The numbers of an image set, or an error that says why it is none."""
    index = images.table["index"]
    if index.duplicated().any():
        twice = index[index.duplicated()].iloc[0]
        raise StoreError(f"{images.folder}: image {twice} is listed twice: create the set again")
    if index.empty:
        raise StoreError(f"{images.folder} has no images: create the set again")
    return index.tolist()


class Record:
    """The CSV `path` with answers about `images`, given by a person.

    `columns` are those that it may have; `events` are the lines of the journal.
    """

    def __init__(self, path: str | Path, images: ImageSet, by: str, columns: Sequence[str]):
        self.path, self.by = Path(path), by
        self.journal = self.path.with_suffix(".journal.jsonl")
        self.numbers = checked_numbers(images)
        first = b"".join(images.encoded(number) for number in sorted(self.numbers)[:SAMPLE])
        digest = hashlib.sha256(first).hexdigest()[:16]
        with self._one_line_errors():
            self._stamp = self._file_stamp()
            self.events = self._read_journal()
        if self._stamp:
            self._check(columns, digest, images.folder)
        self.log("open", images=digest, folder=str(images.folder))

    @property
    def exists(self) -> bool:
        """Whether there are answers."""
        return self._stamp is not None

    def write(self, table: pd.DataFrame, event: str, **facts: object) -> None:
        """Replace the CSV by `table`, then note the step in the journal."""
        with self._one_line_errors():
            if self._file_stamp() != self._stamp:
                raise StoreError(
                    f"{self.path} was changed by another program, so nothing was written: run the "
                    "widget's cell again to continue from what it contains now"
                )
            write_table(table, self.path)
            self._stamp = self._file_stamp()
        self.log(event, **facts)

    def log(self, event: str, **facts: object) -> None:
        """Append a line to the journal."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": now, "event": event, "by": self.by, **facts}
        with self._one_line_errors():
            append_line(self.journal, json.dumps(line, ensure_ascii=False))
        self.events.append(line)

    def _check(self, columns: Sequence[str], digest: str, folder: Path) -> None:
        """Refuse a file that would lose something, or that is about other images."""
        if unknown := [name for name in read_table(self.path) if name not in columns]:
            raise StoreError(
                f"{self.path} has an unknown column {str(unknown[0])!r}; it may have only "
                f"{', '.join(columns)}: remove the column, or give another file"
            )
        opened = [event["images"] for event in self.events if event["event"] == "open"]
        if opened and opened[-1] != digest:
            raise StoreError(
                f"{self.path} is about other images than {folder} has: give another file, or the "
                "images it belongs to"
            )

    def _file_stamp(self) -> tuple[int, int] | None:
        """Changes whenever the CSV is written; None if there is none."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return None
        return state.st_mtime_ns, state.st_size

    def _read_journal(self) -> list[dict]:
        """Its lines, without one that a killed process did not finish."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        events = []
        for line in lines:
            try:
                events.append(dict(json.loads(line)))
            except ValueError:
                continue
        return [event for event in events if "event" in event]

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror}), so nothing was changed: "
                "make its folder writable, or give another file"
            ) from error
