"""A stage also rests on the files and weights that its parameters name."""

import dataclasses
import signal
from pathlib import Path

import pytest

from ohlora_lib.runner import stage
from ohlora_lib.runner.pipeline import Stage

LABELS, OWN = "data/labels.csv", "data/weights/original.safetensors"
EMBEDDED = "ohlora_lib/weights/original.safetensors"


@pytest.fixture
def told(repository, demo_cells):
    """The demo, whose first stage is told of a person's labels and of weights by name."""
    (declared,) = (cell for cell in demo_cells.MAKE if cell[0] == "parameters")
    more = (declared[0], declared[1] + '\nlabels: str = ""\ngenerator: str = "none"')
    cells = [more if cell is declared else cell for cell in demo_cells.MAKE]
    repository.write_notebook("make", cells)
    repository.set(0, labels=LABELS, generator="original")
    write(repository, LABELS, "idx,gender\n0,1\n")
    write(repository, EMBEDDED, "embedded")
    return repository


def write(repository, name, text):
    path = repository.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(repository, *more):
    """What the runner says of the first stage."""
    code, output = repository.run("demo", "--scale", "smoke", "--only", "01_make", *more)
    assert code == 0, output
    return output


def test_corrected_labels_and_weights_put_before_the_embedded_ones_run_the_stage(told):
    run(told)
    assert "up to date" in run(told)
    write(told, LABELS, "idx,gender\n0,0\n")
    assert f"{LABELS} changed" in run(told)
    write(told, OWN, "a person's own")
    assert f"{OWN} is new" in run(told)
    assert "up to date" in run(told)
    write(told, OWN, "trained longer")
    assert f"{OWN} changed" in run(told, "--dry-run")
    (told.root / OWN).unlink()
    assert f"{OWN} changed" in run(told)
    write(told, EMBEDDED, "of another version")
    assert f"{EMBEDDED} changed" in run(told, "--dry-run")


def test_pages_say_nothing_of_where_weights_lie(told):
    run(told)
    before = told.reports()
    write(told, OWN, "a person's own")
    run(told)
    assert told.reports() == before


def test_killed_stage_does_not_go_on_from_work_with_other_labels(told):
    process = told.start_and_wait_for_shard(2, "demo", "--scale", "smoke", "--only", "01_make")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (told.root / "wait").unlink()
    write(told, LABELS, "idx,gender\n0,0\n")
    run(told)
    assert told.work_done() == ["0", "1", "2", "0", "1", "2", "3"]


FREE = Stage("demo", "quick", "01", Path("x.ipynb"), "data/demo/quick/01", {}, (), {})


def test_words_that_are_no_files_are_no_inputs():
    words = ["", ".", "data", "data/demo", "random", "a word " * 1000, "x" * 300, "/etc/passwd"]
    words += ["../..", "a/" * 3000, 7, ["LICENSE"], None, True]
    given = dict(zip(map(str, range(len(words))), words, strict=True))
    one = dataclasses.replace(FREE, parameters={**given, "file": "./LICENSE"})
    assert stage.named(one) == ["LICENSE"]


def test_published_weights_count_with_all_their_files(monkeypatch, tmp_path):
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    for file in ("celeba_partial-256x256.pth", "model.pt", "pnet.pt", "rnet.pt", "mtcnn_onet.pt"):
        (folder / file).touch()
    monkeypatch.setattr(stage, "ROOT", tmp_path)
    monkeypatch.setattr(stage, "WEIGHTS", folder)
    monkeypatch.setattr(stage, "EMBEDDED", tmp_path)
    one = dataclasses.replace(FREE, parameters={"base": "genforce", "parser": "facexformer"})
    assert [Path(name).name for name in stage.named(one)] == [
        "celeba_partial-256x256.pth", "model.pt", "pnet.pt", "rnet.pt", "mtcnn_onet.pt"
    ]  # fmt: skip
