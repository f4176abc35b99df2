"""Atomic writes: a file is whole, or as it was."""

import errno
import os
from pathlib import Path

import pytest

from ohlora_lib.store import StoreError, atomic
from ohlora_lib.store.atomic import (
    append_line,
    atomic_path,
    in_memory,
    sweep,
    write_bytes,
    write_json,
    write_text,
)


def test_interrupted_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_full_disk_is_told_with_the_files_name_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_text(path, "old")
    named = pytest.raises(StoreError, match=r"no space left while writing .*weights\.safetensors")
    with named, atomic_path(path) as temporary:
        temporary.write_text("h")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "never_written.txt"):
        pass


def test_reader_sees_old_or_new_contents_only(tmp_path):
    path = tmp_path / "page.md"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent, "a rename across disks would not be atomic"
        assert temporary.suffix == ".md", "writers choose their format by it"
    assert path.read_text() == "new"


def test_sweep_removes_what_killed_writers_left_and_nothing_else(tmp_path):
    write_json(tmp_path / "deep" / "keep.json", {"a": 1})
    (tmp_path / "deep" / ".keep.tmp-1234abcd.json").write_text("{")
    (tmp_path / ".hidden").write_text("mine")
    assert sweep(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".hidden", "deep", "keep.json"]


def test_contents_reach_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    """Without the first fsync a crash can leave an empty file under the final name."""
    events, fsync, replace = [], os.fsync, Path.replace

    def recording_fsync(handle):
        events.append(f"fsync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        fsync(handle)

    def recording_replace(path, target):
        events.append(f"rename {path.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", recording_replace)
    with atomic_path(tmp_path / "table.csv") as temporary:
        temporary.write_text("1")
    assert events == [
        f"fsync {temporary.name}",
        f"rename {temporary.name}",
        f"fsync {tmp_path.name}",
    ]


def test_a_line_is_appended_after_one_that_was_not_finished(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    append_line(path, "one")
    with path.open("a") as file:
        file.write("tor")
    append_line(path, "two ü")
    append_line(path, "three")
    assert path.read_text() == "one\ntor\ntwo ü\nthree\n"


def test_in_memory_files_are_read_and_written_without_a_folder(tmp_path):
    """Also a file that is written within the writing of another, as a shard's table is."""
    elsewhere, inner = Path("/proc/elsewhere"), []
    with in_memory({elsewhere / "given": b"1"}) as written:
        assert atomic.read_bytes(elsewhere / "given") == b"1"
        write_bytes(elsewhere / "image.png", b"2")
        with atomic_path(elsewhere / "table.csv") as temporary:
            write_text(temporary, "3")
            inner.append(temporary)
    assert written == {elsewhere / "image.png": b"2", elsewhere / "table.csv": b"3"}
    assert not inner[0].parent.exists()
    write_bytes(tmp_path / "here", b"4")
    assert (tmp_path / "here").read_bytes() == b"4"
    with pytest.raises(FileNotFoundError):
        atomic.read_bytes(elsewhere / "given")
