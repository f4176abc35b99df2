"""A work folder goes on with the same work, starts anew with other work, spares foreign files."""

import pytest

from ohlora_lib.store import StoreError, workfolder
from ohlora_lib.store.workfolder import claim


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr("ohlora_lib.store.ROOT", tmp_path)
    monkeypatch.setattr(workfolder, "ROOT", tmp_path)
    return tmp_path


def test_same_work_goes_on_and_other_work_starts_anew(monkeypatch):
    folder = claim("data/here", {"n": 3})
    (folder / "shard.txt").write_text("done")
    assert (claim("data/here", {"n": 3}) / "shard.txt").exists()
    assert not (claim("data/here", {"n": 4}) / "shard.txt").exists()
    (folder / "shard.txt").write_text("done")
    monkeypatch.setenv(workfolder.FINGERPRINT, "other code")
    assert not (claim("data/here", {"n": 4}) / "shard.txt").exists()


def test_damaged_mark_starts_anew():
    folder = claim("data/here", {"n": 3})
    (folder / "shard.txt").write_text("of unknown origin")
    (folder / workfolder.IDENTITY).write_text("{")
    assert not (claim("data/here", {"n": 3}) / "shard.txt").exists()


@pytest.mark.parametrize("out", [".", "data", "notebooks", "../elsewhere", "data/../ohlora_lib"])
def test_folders_outside_data_are_refused(out):
    with pytest.raises(StoreError):
        claim(out, {})


def test_folder_with_foreign_files_is_refused_and_untouched(root):
    (root / "data/mine").mkdir(parents=True)
    (root / "data/mine/thesis.txt").write_text("years")
    with pytest.raises(StoreError, match="holds files that no notebook made"):
        claim("data/mine", {})
    assert (root / "data/mine/thesis.txt").exists()
