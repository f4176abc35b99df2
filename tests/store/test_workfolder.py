"""A work folder keeps files of the same parameters, deletes others, refuses foreign files."""

import pytest

from ohlora_lib.store import StoreError, workfolder
from ohlora_lib.store.workfolder import claim, made_by, release


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr("ohlora_lib.store.ROOT", tmp_path)
    monkeypatch.setattr(workfolder, "ROOT", tmp_path)
    monkeypatch.setattr(workfolder, "_claimed", held := {})
    monkeypatch.setattr(workfolder, "LOCK_TIMEOUT", 0.2)
    yield tmp_path
    for lock in held.values():
        lock.close()


def test_the_same_parameters_resume_and_others_start_over(monkeypatch):
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
    with pytest.raises(StoreError, match="contains files that no notebook wrote"):
        claim("data/mine", {})
    assert (root / "data/mine/thesis.txt").exists()


def test_kill_while_emptying_or_marking_does_not_lock_the_folder(root, monkeypatch):
    folder = claim("data/here", {"n": 3})
    (folder / "shard.txt").write_text("done")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(workfolder.shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            claim("data/here", {"n": 4})
    assert list(claim("data/here", {"n": 4}).iterdir()) == [folder / workfolder.IDENTITY]
    assert not list(root.glob("data/.here.tmp-*"))
    (folder / workfolder.IDENTITY).unlink()
    (folder / ".made_by.tmp-00000000.json").write_text("{")
    assert list(claim("data/here", {"n": 4}).iterdir()) == [folder / workfolder.IDENTITY]


def test_half_written_files_of_a_killed_run_are_swept_away():
    folder = claim("data/here", {"n": 3})
    (folder / ".shard.tmp-00000000.txt").write_text("half")
    claim("data/here", {"n": 3})
    assert not (folder / ".shard.tmp-00000000.txt").exists()


def test_folder_in_use_by_another_process_is_refused():
    folder = claim("data/here", {"n": 3})
    (folder / "shard.txt").write_text("theirs")
    other = workfolder._claimed.pop(folder)  # as if another process held it
    with pytest.raises(StoreError, match="another notebook uses"):
        claim("data/here", {"n": 4})
    assert (folder / "shard.txt").exists()
    other.close()
    claim("data/here", {"n": 4})


def test_data_on_another_disk_behind_a_link_is_accepted(root, tmp_path_factory):
    (root / "data").symlink_to(tmp_path_factory.mktemp("large"))
    assert claim("data/here", {}).exists()


def test_release_deletes_a_claimed_folder_but_none_in_use_and_no_other(root):
    folder = claim("data/here", {"n": 3})
    (folder / "shard.txt").write_text("done")
    with pytest.raises(StoreError, match="another notebook uses"):
        release(folder)
    assert (folder / "shard.txt").exists()
    workfolder._claimed.pop(folder).close()
    release(folder)
    assert not folder.exists()
    (root / "data/mine").mkdir()
    (root / "data/mine/thesis.txt").write_text("years")
    with pytest.raises(StoreError, match="no notebook wrote"):
        release(root / "data/mine")
    assert (root / "data/mine/thesis.txt").exists()


def test_the_parameters_that_made_a_folder_are_read_back(root):
    folder = claim("data/notebooks/a", {"out": "data/notebooks/a", "seed": 3})
    assert made_by(folder)["seed"] == 3
    with pytest.raises(StoreError, match="is not a notebook's folder"):
        made_by(root / "data")
