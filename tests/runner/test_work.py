"""Finished and interrupted work survives changes of plots and text; code changes ask for --force.

The demo's numbers stand for a training: they are marked as `keep_work` marks one.
"""

import os
import signal

import pytest

MARKED = "from pathlib import Path\nfrom ohlora_lib.compute import jobs\n"
KEEP = (
    "from ohlora_lib.store.work import keep_work\n"
    "from ohlora_lib.faces import concept\n"
    "made_from = {'seed': seed, 'n': n}\n"
    "keep_work(folder, 'training', 'ohlora_lib.faces.concept', made_from, ['shards'])\n"
)
TRAINER, PLOTS = "ohlora_lib/faces/concept.py", "ohlora_lib/plots/style.py"
SMOKE = ("demo", "--scale", "smoke")


@pytest.fixture
def marked(repository, demo_cells):
    """The demo whose first stage marks its work."""
    cells = [KEEP + cell if MARKED in cell else cell for cell in demo_cells.MAKE]
    repository.write_notebook("make", cells)
    return repository


@pytest.fixture(params=["finished", "interrupted"])
def worked(request, marked):
    """The demo after a run, and after one that was stopped in its third number."""
    if request.param == "finished":
        assert marked.run(*SMOKE)[0] == 0
    else:
        process = marked.start_and_wait_for_shard(2, *SMOKE)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        (marked.root / "wait").unlink()
    return marked


def edit(repository, name, old, new):
    path = repository.root / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_plots_docstrings_and_texts_recompute_nothing_and_the_trainer_asks(worked):
    before = worked.work_done()
    rest = [k for k in "0123" if k not in before] + (["2"] if len(before) == 3 else [])
    edit(worked, PLOTS, '"""', '"""Changed. ')
    edit(worked, PLOTS, "\n\n", "\n\nCHANGED = 1\n")
    edit(worked, TRAINER, '"""', '"""Changed. ')
    edit(worked, "notebooks/make.ipynb", "Which numbers come out?", "Which numbers?")
    edit(worked, "notebooks/make.ipynb", "The largest number", "The greatest number")
    code, output = worked.run(*SMOKE)
    assert code == 0 and sorted(worked.work_done()) == sorted(before + rest), output
    page = worked.reports()["01_make.md"].decode()
    assert "Which numbers?" in page and "The greatest number is 9" in page

    pages, done = worked.reports(), worked.work_done()
    edit(worked, TRAINER, "0.92", "0.93")
    code, output = worked.run(*SMOKE, "--dry-run")
    assert code == 0 and "01_make: training (took 0:0" in output
    code, output = worked.run(*SMOKE)
    assert code == 1 and "work would be computed again" in output and "Traceback" not in output
    assert f"{TRAINER.removeprefix('ohlora_lib/')} changed" in output and "--force" in output
    assert "--only 01_make --force" in output
    assert worked.work_done() == done and worked.reports() == pages
    edit(worked, TRAINER, "0.93", "0.92")
    code, output = worked.run(*SMOKE)
    assert code == 0 and worked.work_done() == done, "restored code needs no work"


def test_forced_work_moves_what_took_long_aside(marked):
    assert marked.run(*SMOKE)[0] == 0
    edit(marked, TRAINER, "0.92", "0.93")
    folder = marked.root / "data/demo/smoke/01_make"
    os.utime(folder / "shards/0.txt", (1e9, 1e9))
    code, output = marked.run(*SMOKE, "--only", "01_make", "--force")
    assert code == 0 and marked.work_done() == ["0", "1", "2", "3"] * 2, output
    old = folder.with_name("01_make.replaced-1")
    assert (old / "shards/3.txt").read_text() == "9"


def test_changed_work_of_a_finished_stage_is_made_from_nothing(marked):
    stage = marked.pipeline()["stages"][0]
    marked.declare(stages=[{**stage, "outputs": ["numbers.csv", "shards"]}], readme={})
    assert marked.run(*SMOKE)[0] == 0
    folder = marked.root / "data/demo/smoke/01_make"
    (folder / "numbers.csv").unlink()
    assert marked.run(*SMOKE)[0] == 0
    assert marked.work_done() == ["0", "1", "2", "3"], "a table alone needs no work"
    (folder / "shards/1.txt").write_text("999")
    assert marked.run(*SMOKE)[0] == 0
    assert (folder / "shards/1.txt").read_text() == "3"
    assert "999" not in (folder / "numbers.csv").read_text()
