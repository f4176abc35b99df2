"""A stage also depends on the files and weights that its parameters name."""

import dataclasses
import json
import signal
from pathlib import Path

import pandas as pd
import pytest

from ohlora_lib.checkpoints import resolver
from ohlora_lib.runner import stage
from ohlora_lib.runner.pipeline import Stage

LABELS, OWN = "data/labels.csv", "data/weights/original.safetensors"
EMBEDDED = "ohlora_lib/weights/original.safetensors"


@pytest.fixture
def labeled(repository, demo_cells):
    """The demo, whose first stage names a file of labels and weights."""
    (declared,) = (cell for cell in demo_cells.MAKE if cell[0] == "parameters")
    more = (declared[0], declared[1] + '\nlabels: str = ""\ngenerator: str = "none"')
    cells = [more if cell is declared else cell for cell in demo_cells.MAKE]
    repository.write_notebook("make", cells)
    repository.set(0, labels=LABELS, generator="original")
    repository.declare(resolver="ohlora_lib.checkpoints.resolver")
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


def test_corrected_labels_and_weights_put_before_the_embedded_ones_run_the_stage(labeled):
    run(labeled)
    assert "up to date" in run(labeled)
    write(labeled, LABELS, "idx,gender\n0,0\n")
    assert f"{LABELS} changed" in run(labeled)
    write(labeled, OWN, "a person's own")
    assert f"{OWN} is new" in run(labeled)
    assert "up to date" in run(labeled)
    write(labeled, OWN, "trained longer")
    assert f"{OWN} changed" in run(labeled, "--dry-run")
    (labeled.root / OWN).unlink()
    assert f"{OWN} changed" in run(labeled)
    write(labeled, EMBEDDED, "of another version")
    assert f"{EMBEDDED} changed" in run(labeled, "--dry-run")


def test_pages_say_nothing_of_where_weights_lie(labeled):
    run(labeled)
    before = labeled.reports()
    write(labeled, OWN, "a person's own")
    run(labeled)
    assert labeled.reports() == before


def test_killed_stage_does_not_go_on_from_work_with_other_labels(labeled):
    process = labeled.start_and_wait_for_shard(2, "demo", "--scale", "smoke", "--only", "01_make")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (labeled.root / "wait").unlink()
    write(labeled, LABELS, "idx,gender\n0,0\n")
    run(labeled)
    assert labeled.work_done() == ["0", "1", "2", "0", "1", "2", "3"]


FREE = Stage("demo", "quick", "01", Path("x.ipynb"), "data/demo/quick/01", {}, (), {})
RESOLVER = "ohlora_lib.checkpoints.resolver"


def test_texts_that_name_no_file_are_no_inputs():
    texts = ["", ".", "data", "data/demo", "random", "a word " * 1000, "x" * 300, "/etc/passwd"]
    texts += ["../..", "a/" * 3000, 7, ["LICENSE"], None, True]
    given = dict(zip(map(str, range(len(texts))), texts, strict=True))
    one = dataclasses.replace(FREE, parameters={**given, "file": "./LICENSE"}, resolver=RESOLVER)
    assert stage.named_files(one) == ["LICENSE"]


def test_published_weights_count_with_all_their_files(monkeypatch, tmp_path):
    present = ("celeba_partial-256x256.pth", "model.pt", "pnet.pt", "rnet.pt", "mtcnn_onet.pt")
    for file in present:
        (tmp_path / file).touch()
    monkeypatch.setattr(resolver, "FOLDER", tmp_path)
    one = dataclasses.replace(
        FREE, parameters={"base": "genforce"}, weights=("facexformer", "mtcnn"), resolver=RESOLVER
    )
    assert [Path(name).name for name in stage.named_files(one)] == list(present)
    assert stage.named_files(dataclasses.replace(one, resolver="")) == []


def test_last_run_of_a_stage_is_the_newest_finished_one_of_its_scale(monkeypatch, tmp_path):
    def line(seconds, scale="quick", name="01"):
        return json.dumps({"system": "demo", "scale": scale, "stage": name, "seconds": seconds})

    runs = tmp_path / "runs.jsonl"
    monkeypatch.setattr(stage, "RUNS", runs)
    assert stage.last_seconds(FREE) is None
    lines = [line(10), line(20), line(30, scale="smoke"), line(40, name="02"), line(0), '{"cut']
    runs.write_text("\n".join(lines))
    assert stage.last_seconds(FREE) == 20


def test_published_table_has_the_columns_of_the_patterns_with_four_digits(tmp_path):
    table = pd.DataFrame({"idx": [7, 8], "eyes_corr": [0.123456, None], "eyes_slope": [1.0, 2.0]})
    table.to_parquet(tmp_path / "passes.parquet")
    text = stage._as_csv(tmp_path / "passes.parquet", ("idx", "*_corr"))
    assert text == "idx,eyes_corr\n7,0.1235\n8,\n"


def test_published_output_may_be_a_file_name_or_a_mapping(repository):
    content = repository.pipeline()
    content["stages"][0]["publish"] = {"numbers.csv": {"file": "sum/all.csv", "columns": ["k"]}}
    repository.write_pipeline(content)
    code, output = repository.run("demo", "--scale", "smoke", "--only", "01_make")
    assert code == 0, output
    assert (repository.root / "reports/sum/all.csv").read_text().split() == ["k", *"0123"]
    assert "[all.csv](../sum/all.csv)" in repository.reports()["01_make.md"].decode()
    content["stages"][0]["publish"] = {"numbers.csv": {"file": "../x"}}
    repository.write_pipeline(content)
    code, output = repository.run("demo", "--dry-run")
    assert code == 1 and "publish: numbers.csv: file: '../x': must be a path inside" in output
