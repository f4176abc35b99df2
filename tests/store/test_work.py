"""Work is kept exactly for the same arguments and the same computing code, and never lost."""

import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.store import StoreError, code, work
from ohlora_lib.store.work import digest_of, keep_work, works

FILES = {
    "__init__.py": "",
    "train/__init__.py": "",
    "train/trainer.py": "from ohlora_lib.models import net\nfrom ohlora_lib.store import io\n",
    "models/__init__.py": "",
    "models/net.py": 'def forward(x):\n    """Doubles."""\n    return 2 * x\n',
    "store/__init__.py": "",
    "store/io.py": "from ohlora_lib.measure import unused\n",
    "measure/__init__.py": "",
    "measure/unused.py": "x = 1\n",
    "plots/__init__.py": "",
    "plots/losses.py": "color = 'red'\n",
}
TRAINER = "ohlora_lib.train.trainer"


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch):
    """A small library of its own; returns what changes one of its files."""
    root = tmp_path / "checkout"
    for name, text in FILES.items():
        path = root / "ohlora_lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code, "ROOT", root)

    def edit(name, old, new):
        path = root / "ohlora_lib" / name
        path.write_text(path.read_text().replace(old, new) if old else path.read_text() + new)
        for cached in (code._tree, code.digest, code._module_imports):
            cached.cache_clear()

    edit("plots/losses.py", "", "")
    return edit


@pytest.fixture
def folder(tmp_path):
    """A folder with finished work."""
    keep_work(tmp_path / "stage", "training", TRAINER, {"seed": 1}, ("checkpoint.pt", "same_z"))
    (tmp_path / "stage/checkpoint.pt").write_text("80 hours")
    (tmp_path / "stage/same_z").mkdir()
    (tmp_path / "stage/same_z/0.png").write_text("a face")
    return tmp_path / "stage"


def is_kept(folder, seed=1):
    keep_work(folder, "training", TRAINER, {"seed": seed}, ("checkpoint.pt", "same_z"))
    return (folder / "checkpoint.pt").exists() and (folder / "same_z/0.png").exists()


def took(folder, seconds):
    mark = folder / "training.work.json"
    start = (folder / "checkpoint.pt").stat().st_mtime - seconds
    os.utime(mark, (start, start))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("models/net.py", "Doubles", "Returns twice the input"),
        ("models/net.py", "2 * x", "2 * x  # a comment"),
        ("models/net.py", "return 2 * x", "return (2*x)"),
        ("plots/losses.py", "red", "blue"),
        ("store/io.py", "", "x = 3\n"),
        ("measure/unused.py", "1", "2"),
    ],
)
def test_text_formatting_plots_and_unrelated_code_do_not_count(folder, library, name, old, new):
    library(name, old, new)
    assert is_kept(folder) and not works(folder)[0].changed_code


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("models/net.py", "2 * x", "3 * x"),
        ("train/trainer.py", "", "rate = 1\n"),
        ("train/trainer.py", "", "from ohlora_lib.measure import unused\n"),
    ],
)
def test_changed_computing_code_is_named_and_replaces_the_work(folder, library, name, old, new):
    library(name, old, new)
    (found,) = works(folder)
    assert f"ohlora_lib/{name}" in found.changed_code
    assert not is_kept(folder) and not works(folder)[0].changed_code


def test_other_arguments_replace_the_work(folder):
    (folder / "other.txt").write_text("not of this work")
    assert is_kept(folder)
    assert not is_kept(folder, seed=2) and (folder / "other.txt").exists()


def test_long_work_is_moved_aside_each_time_and_short_work_is_deleted(folder):
    for number in (1, 2):
        took(folder, work.LONG + 1)
        assert not is_kept(folder, seed=number + 1)
        place = folder.with_name(f"stage.replaced-{number}")
        assert (place / "checkpoint.pt").read_text() == "80 hours"
        (folder / "checkpoint.pt").write_text("80 hours")
    took(folder, work.LONG - 60)
    assert not is_kept(folder, seed=9)
    assert not folder.with_name("stage.replaced-3").exists()


def test_files_of_unknown_origin_are_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(StoreError, match="is of unknown origin"):
        keep_work(tmp_path, "training", TRAINER, {"seed": 1}, ("*.txt",))
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_damaged_mark_keeps_the_files_and_says_so(folder):
    (folder / "training.work.json").write_text("{")
    with pytest.raises(StoreError, match="of unknown origin"):
        is_kept(folder)
    assert (folder / "checkpoint.pt").exists()


@dataclass(frozen=True)
class Plan:
    rate: float
    array: np.ndarray


def network(seed, bias=True):
    torch.manual_seed(seed)
    return torch.nn.Linear(2, 2, bias=bias)


def test_digest_tells_contents_apart_and_nothing_else(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    array = np.arange(6.0)
    values = [
        None, 1, 1.0, "1", True, [1], (1,), {"a": 1}, {"b": 1}, array, array.astype(np.float32),
        array.reshape(2, 3), array[::-1], pd.DataFrame({"a": array}), pd.DataFrame({"b": array}),
        pd.DataFrame({"a": list("uvwxyz")}), Plan(1.0, array), Plan(2.0, array),
        Plan(1.0, array + 1), network(1), network(2), network(1, bias=False), network(1).bfloat16(),
        tmp_path / "a", tmp_path / "b", tmp_path, range(3), np.array(["x"], object),
    ]  # fmt: skip
    digests = [digest_of(value) for value in values]
    assert len(set(digests)) == len(values)
    assert digests == [digest_of(value) for value in values]
    assert digest_of(network(1)) in digests and digest_of(network(3)) not in digests
    assert digest_of(array.copy()) == digest_of(array)
    (tmp_path / "a").write_text("2")
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")


class Opens:
    """Opens its file when it is used; what it opened does not count."""

    def __init__(self, path):
        self.path, self.opened = path, None

    def __getstate__(self):
        return {"path": self.path, "opened": None}


def test_an_object_counts_by_what_pickle_keeps_of_it(tmp_path):
    (tmp_path / "weights").write_text("1")
    used = Opens(tmp_path / "weights")
    before = digest_of(used)
    used.opened = object()
    assert digest_of(used) == before
    (tmp_path / "weights").write_text("2")
    assert digest_of(used) != before


def test_value_without_contents_is_refused():
    with pytest.raises(TypeError, match="cannot identify work"):
        digest_of(object())
