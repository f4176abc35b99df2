"""Manifests: contents decide, damage is an error with the file's name."""

import os

import pytest

from ohlora_lib.store import ROOT, StoreError
from ohlora_lib.store import manifest as manifests
from ohlora_lib.store.manifest import Manifest, Snapshot, changed


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    for name in "ab":
        (tmp_path / "set" / f"{name}.txt").write_text(name)
    return tmp_path / "set"


def test_snapshot_tells_contents_names_and_missing_files_apart(folder):
    first = Snapshot.of(folder)
    (folder / "a.txt").write_text("A")
    second = Snapshot.of(folder)
    (folder / "a.txt").rename(folder / "c.txt")
    third = Snapshot.of(folder)
    (folder / "c.txt").unlink()
    assert len({first.digest, second.digest, third.digest, Snapshot.of(folder).digest}) == 4
    with pytest.raises(StoreError, match=r"nothing is missing"):
        Snapshot.of(folder / "nothing")


def test_touched_file_with_the_same_contents_is_unchanged(folder, monkeypatch):
    monkeypatch.setattr(manifests, "ROOT", folder.parent)
    known = {"set": Snapshot.of(folder)}
    os.utime(folder / "a.txt", (1, 1))
    assert changed(known) is None
    (folder / "a.txt").write_text("other")
    assert changed(known) == "set"


def test_untouched_files_are_not_read_again(folder, monkeypatch):
    known = Snapshot.of(folder)
    monkeypatch.setattr(manifests, "sha256", lambda path: pytest.fail(f"{path} was read"))
    assert Snapshot.of(folder, known) is known


def test_half_written_files_are_no_part_of_a_folder(folder):
    before = Snapshot.of(folder)
    (folder / ".b.tmp-00000000.txt").write_text("half")
    assert Snapshot.of(folder).digest == before.digest


def test_manifest_survives_the_disk_and_damage_is_named(tmp_path, folder):
    snapshot = Snapshot.of(folder)
    made = Manifest("01_generate", {"n": 3}, "nb", "code", {"in": snapshot}, {"out": snapshot})
    path = tmp_path / "stage.manifest.json"
    made.write(path)
    assert Manifest.read(path) == made
    whole = path.read_text()
    for damaged in (whole[:-20], "null", "{}", whole.replace("digest", "digset"), "\0" * 100):
        path.write_text(damaged)
        with pytest.raises(StoreError, match=r"stage\.manifest\.json is damaged"):
            Manifest.read(path)


def test_root_is_the_folder_of_the_package():
    assert (ROOT / "ohlora_lib" / "store").is_dir()


def test_a_change_that_keeps_the_size_is_noticed(folder):
    known = Snapshot.of(folder)
    (folder / "a.txt").write_text("A")
    assert Snapshot.of(folder, known).digest != known.digest
