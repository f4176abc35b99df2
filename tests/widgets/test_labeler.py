"""The kernel's side of Labeler: what is saved, resumed and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from ohlora_lib.measure.labels import Labels, agreed_labels, disagreements, read_labels
from ohlora_lib.store import StoreError
from ohlora_lib.widgets.labeler import COLUMNS, QUESTIONS, Labeler

USUAL = [question["usual"] for question in QUESTIONS]
ROOT = Path(__file__).resolve().parents[2]


def save(ask, labeler, rows, doubtful=()):
    return ask(labeler, "save", rows=rows, seconds=1.5, doubtful=list(doubtful))


def test_pages_are_saved_in_the_published_format_and_labeling_resumes(image_set, tmp_path, ask):
    path = tmp_path / "new" / "labels.csv"
    labeler = Labeler(image_set(), path, "Ann", per_page=3)
    opened = ask(labeler, "open")
    assert opened["numbers"] == list(range(10)) and opened["saved"] == []
    assert "error" not in save(ask, labeler, [[4, 0, 1, 0, 0], [2, 1, 1, 0, 1]])
    assert path.read_text() == "idx,gender,quality,age,glass\n2,1,1,0,1\n4,0,1,0,0\n"
    assert save(ask, labeler, [[4, *USUAL]])["labeled"] == 2  # an answer that is changed later
    again = Labeler(labeler.images, path, "Ann", per_page=3)
    opened = ask(again, "open")
    assert opened["saved"] == [[2, 1, 1, 0, 1], [4, *USUAL]]
    assert opened["numbers"] == [2, 4, 0, 1, 3, 5, 6, 7, 8, 9]
    assert again.labels.table.shape == (2, 5) and again.labels.labeled_by == "Ann"


def test_the_journal_has_every_step_and_survives_a_torn_line(image_set, tmp_path, ask):
    path = tmp_path / "labels.csv"
    labeler = Labeler(image_set(), path, "Ann")
    save(ask, labeler, [[0, *USUAL]])
    journal = path.with_suffix(".journal.jsonl")
    with journal.open("a") as file:
        file.write('{"at": "20')  # a process killed while it wrote
    save(ask, Labeler(labeler.images, path), [[1, *USUAL]])
    lines = journal.read_text().splitlines()
    events = [json.loads(line) for line in lines if line != '{"at": "20']
    assert len(lines) == 5 and [e["event"] for e in events] == ["open", "page", "open", "page"]
    assert events[1]["rows"] == [[0, *USUAL]] and events[1]["by"] == "Ann"
    assert events[1]["seconds"] == 1.5


def test_what_was_doubtful_when_its_page_was_saved_still_is(image_set, tmp_path, ask):
    labeler = Labeler(image_set(), tmp_path / "labels.csv")
    save(ask, labeler, [[0, *USUAL], [1, *USUAL]], doubtful=[0, 1])
    save(ask, labeler, [[2, *USUAL]], doubtful=[2])
    save(ask, labeler, [[0, *USUAL], [1, *USUAL]], doubtful=[1])  # saved again
    for widget in (labeler, Labeler(labeler.images, labeler.path)):
        assert ask(widget, "open")["doubtful"] == [1, 2]
    few = Labeler(labeler.images, labeler.path, numbers=[1, 5])
    assert ask(few, "open")["doubtful"] == [1]


def test_a_notebook_can_follow_what_is_saved(image_set, tmp_path):
    labeler, seen = Labeler(image_set(), tmp_path / "labels.csv"), []
    labeler.observe(lambda _: seen.append(len(labeler.labels.table)), "saved")
    page = {"kind": "save", "id": 0, "rows": [[0, *USUAL]], "seconds": 0, "doubtful": []}
    for rows in ([[0, *USUAL]], [[99, *USUAL]], [[1, *USUAL], [2, *USUAL]]):
        labeler._receive(page | {"rows": rows})
    assert seen == [1, 3]  # not after the wrong page


GOOD = "idx,gender,quality,age,glass\n0,1,1,0,0\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("glass", "glass,note").replace("0,0\n", "0,0,x\n"), "unknown column 'note'"),
        (GOOD.replace("glass", "glasses"), "unknown column 'glasses'"),
        (GOOD.replace("age,", "").replace("0,0\n", "0\n"), "no column 'age'"),
        (GOOD + "0,1,1,0,0\n", "image 0 is labeled twice"),
        (GOOD + "77,1,1,0,0\n", "image 77 is not in"),
        (GOOD + ",1,1,0,0\n", "idx nan is not an image number"),
        (GOOD + "x,1,1,0,0\n", "idx x is not an image number"),
        (GOOD + "1,1,2,0,0\n", "image 1 has quality"),
        ("", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_line_in_the_widget_and_stays_as_it_is(
    image_set, tmp_path, ask, text, said
):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    labeler = Labeler(image_set(), path)
    for reply in (ask(labeler, "open"), save(ask, labeler, [[3, *USUAL]])):
        assert said in reply["error"] and "\n" not in reply["error"]
        assert str(path) in reply["error"]
    assert path.read_text() == text


def test_what_is_no_image_set_is_said(tmp_path, image_set, ask):
    images = image_set()
    (images.folder / "table.parquet").unlink()
    assert "table.parquet is missing" in ask(Labeler(images, tmp_path / "a.csv"), "open")["error"]
    pd.DataFrame({"index": [1, 1]}).to_parquet(images.folder / "table.parquet")
    assert "1 is listed twice" in ask(Labeler(images, tmp_path / "a.csv"), "open")["error"]
    pd.DataFrame({"index": [99]}).to_parquet(images.folder / "table.parquet")
    assert "000099.png is missing" in ask(Labeler(images, tmp_path / "a.csv"), "open")["error"]
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("path", ["/proc/labels.csv", "/dev/null/labels.csv"])
def test_a_folder_that_cannot_be_written_is_said_at_once(image_set, ask, path):
    error = ask(Labeler(image_set(), path), "open")["error"]
    assert f"{path} cannot be written" in error and "\n" not in error


def test_a_disk_that_becomes_read_only_loses_nothing(image_set, tmp_path, ask, monkeypatch):
    labeler = Labeler(image_set(), tmp_path / "labels.csv")
    save(ask, labeler, [[0, *USUAL]])
    before = labeler.path.read_text()

    def read_only(*_):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("ohlora_lib.widgets.record.write_table", read_only)
        reply = save(ask, labeler, [[1, *USUAL]])
    assert "(Read-only file system)" in reply["error"] and labeler.path.read_text() == before
    assert save(ask, labeler, [[1, *USUAL]])["labeled"] == 2


def test_answers_about_other_images_are_refused(image_set, tmp_path, ask):
    path = tmp_path / "labels.csv"
    save(ask, Labeler(image_set(), path), [[0, *USUAL]])
    other = Labeler(image_set(seed=1, name="others"), path)
    assert "about other images" in ask(other, "open")["error"]


def test_a_file_that_another_program_changed_is_not_overwritten(image_set, tmp_path, ask):
    first = Labeler(image_set(), tmp_path / "labels.csv")
    second = Labeler(first.images, first.path)
    save(ask, second, [[5, *USUAL]])
    assert "changed by another program" in save(ask, first, [[6, *USUAL]])["error"]
    assert first.labels.table["idx"].tolist() == [5]


def test_a_page_with_wrong_labels_is_not_saved(image_set, tmp_path, ask):
    labeler = Labeler(image_set(), tmp_path / "labels.csv")
    for rows in ([[0, 1, 1, 0]], [[0, 1, 1, 0, 2]], [[99, *USUAL]]):
        assert "no valid labels" in save(ask, labeler, rows)["error"]
    assert not labeler.path.exists() and labeler.labels.table.empty


def test_sorting_moves_images_to_the_front_of_those_not_labeled(image_set, tmp_path, ask):
    labeler = Labeler(image_set(), tmp_path / "labels.csv")
    save(ask, labeler, [[3, *USUAL]])
    labeler.sort([8, 3, 5])
    assert ask(labeler, "open")["numbers"] == [3, 8, 5, 0, 1, 2, 4, 6, 7, 9]


def test_two_people_resolve_what_they_disagree_on(image_set, tmp_path, ask):
    table = pd.DataFrame([[n, *USUAL] for n in range(6)], columns=COLUMNS)
    other = table.copy()
    other.loc[2, "age"], other.loc[4, "glass"] = 1, 1
    first, second = Labels(table, "Ann"), Labels(other, "Bea")
    different = disagreements(first, second)
    assert different.to_numpy().tolist() == [[2, "age", 0, 1], [4, "glass", 0, 1]]
    path = tmp_path / "resolved.csv"
    agreed_labels(first, second).write(path)
    hints = {2: "young or old", 4: "no glasses or glasses"}
    resolver = Labeler(image_set(), path, numbers=[0, 1, 3, 5, *hints], hints=hints)
    opened = ask(resolver, "open")
    assert opened["numbers"] == [0, 1, 3, 5, 2, 4] and len(opened["saved"]) == 4
    assert opened["hints"] == list(hints.items())
    save(ask, resolver, [[2, 1, 1, 1, 0], [4, *USUAL]])
    assert read_labels(path, "both").table["age"].tolist() == [0, 0, 1, 0, 0, 0]


WRITER = """
import sys
from pathlib import Path
from ohlora_lib.store.images import ImageSet
from ohlora_lib.widgets.labeler import Labeler

labeler = Labeler(ImageSet(Path(sys.argv[1])), sys.argv[2])
for number in range(1000):
    rows = [[number, number % 2, 1, 0, 0]]
    message = {"kind": "save", "id": 0, "rows": rows, "seconds": 0, "doubtful": []}
    reply, _ = labeler.answer(message)
    print(reply.get("labeled", reply.get("error")), flush=True)
"""


def test_a_killed_kernel_never_loses_a_saved_page(image_set, tmp_path):
    """SIGKILL at moments that differ: all pages that were reported as saved are in the CSV."""
    images, path = image_set(1000), tmp_path / "labels.csv"
    for attempt in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, images.folder, path],
            stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        first = process.stdout.readline()
        time.sleep(0.013 * (attempt + 1))
        process.send_signal(signal.SIGKILL)
        with process.stdout as rest:
            reported = [int(line) for line in [first, *rest] if line.endswith(b"\n")]
        process.wait()
        table = read_labels(path, "a person").table
        assert reported[-1] <= len(table) <= 1000
        assert (table["gender"] == table["idx"] % 2).all()


def test_numbers_that_the_set_lacks_are_named(image_set, tmp_path, ask):
    labeler = Labeler(image_set(), tmp_path / "labels.csv", numbers=[1, 50])
    assert "numbers: image 50 is not in" in ask(labeler, "open")["error"]
    with pytest.raises(StoreError, match="no image was labeled by both"):
        agreed_labels(labeler.labels, labeler.labels)
