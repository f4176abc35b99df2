"""Labeling in a real browser by keys and mouse, killed kernels, notebook 02 with the result."""

import nbclient
import nbformat
import pandas as pd
import pytest
from selenium.webdriver.common.keys import Keys

from ohlora_lib.runner.execute import private_sockets
from tests.browser.lab import ROOT
from tests.browser.label import SOURCE, USUAL, Labeling, numbered_images


@pytest.fixture
def labeling(lab, open_notebook):
    """`labeling(name, count, per_page, size)`: a Labeler of new images, and its CSV."""

    def labeling(name, count=40, per_page=12, size=64):
        images, path = lab.folder / name / "images", lab.folder / name / "labels.csv"
        numbered_images(images, count, size)
        lab.write(
            f"notebooks/{name}.ipynb",
            SOURCE.format(images=str(images), labels=str(path), per_page=per_page),
        )
        notebook = open_notebook(f"notebooks/{name}.ipynb")
        notebook.run_all()
        return Labeling(notebook), path

    return labeling


def expected(count, **exceptions):
    """Labels of `count` faces; `gender=[3]`: face 3 has the unusual one."""
    rows = {number: USUAL.tolist() for number in range(count)}
    for at, name in enumerate(("gender", "quality", "age", "glass")):
        for number in exceptions.get(name, []):
            rows[number][at] = 1 - USUAL[at]
    return rows


def test_two_pages_by_mouse_and_keys_a_killed_kernel_and_notebook_02(labeling, lab, driver):
    person, path = labeling("label")
    notebook = person.notebook
    person.wait_for_page(1)
    assert person.numbers() == list(range(12))
    person.click(3)  # takes the keys, but marks nothing
    assert notebook.attribute(person.face(3), "aria-checked") == "false"
    person.click(2)  # male
    person.click(3)
    notebook.press("u")
    notebook.press("q")
    person.drag(5, 7)  # poor quality
    notebook.press("u", "r", "u", "u", "r", "r")
    notebook.press("a", Keys.HOME, Keys.ARROW_RIGHT, Keys.ENTER, "4")  # face 1: old, glasses
    face = person.face(1)
    assert notebook.attribute(face, "aria-checked") == "true"
    assert notebook.attribute(face, "aria-label") == "Face 1: female, good quality, old, glasses"
    first = {"gender": [2], "quality": [5, 6, 7], "age": [1], "glass": [1]}
    assert not path.exists()  # nothing is written before the page is finished
    person.turn()
    assert person.labels(path) == expected(12, **first)

    # The second page by keys alone, with one face at a time.
    person.wait_for_page(2)
    notebook.press("s", Keys.ARROW_RIGHT, Keys.ENTER, "d", Keys.ARROW_RIGHT, "d", "d", "u", "f")
    assert person.numbers() == [13]  # the first of two doubtful ones
    notebook.press(Keys.SPACE, "1", "3", Keys.BACKSPACE, "2", Keys.ESCAPE)
    person.turn()
    second = {"gender": [2, 14], "quality": [5, 6, 7, 13], "age": [1, 14], "glass": [1, 13]}
    assert person.labels(path) == expected(24, **second)

    # Undo reaches back to a saved page, which is saved again.
    person.wait_for_page(3)
    notebook.press("u")
    person.wait_for_page(2)
    notebook.press(Keys.SPACE)
    person.wait_for_page(3)
    second["quality"] = [5, 6, 7]
    assert person.labels(path) == expected(24, **second)

    # Killed on the third page: it is lost, the others are not.
    person.click(24)
    lab.kill_kernels()
    notebook.recover()
    notebook.run_all()
    person.wait_for_page(3)
    assert person.saved == "24 of 40 faces saved"
    assert person.numbers() == list(range(24, 36))
    person.start()
    notebook.click(".oa-bar [title='The page before']")  # what was doubtful still is
    person.wait_for_page(2)
    assert notebook.attribute(person.face(14), "aria-label").endswith("glasses, doubtful")
    notebook.press(Keys.SPACE)
    person.wait_for_page(3)
    person.click(25)
    person.turn()
    second["gender"] = [2, 14, 25]
    assert person.labels(path) == expected(36, **second)

    stops = notebook.tab_stops(".oa-root")
    assert stops[:5] == ["male", "poor quality", "old", "glasses", "next page"]
    assert stops[-1].startswith("Face 36")  # of the faces, only the one that keys would mark
    driver.set_window_size(800, 900)
    fits = "const root = document.querySelector('.oa-root'); return innerWidth <= 800" \
        " && root.scrollWidth <= root.clientWidth"  # fmt: skip
    notebook.wait(lambda _: driver.execute_script(fits))
    a_wrong_file_is_one_line(person, path)
    with_notebook_02(lab, path)


def test_faces_that_were_never_on_the_screen_are_not_saved(labeling, driver):
    driver.set_window_size(1366, 768)  # a laptop: a page of 60 faces does not fit
    person, path = labeling("tall", count=61, per_page=60, size=128)
    notebook = person.notebook
    person.wait_for_page(1)
    person.start()
    assert person.in_window(".oa-root")  # the keys, the status and all messages are in view
    first = person.in_view()
    assert first[0] == 0 and 10 < len(first) < 60 and person.unseen()
    person.scroll()
    assert person.in_view()[-1] > first[-1] and person.status.startswith("Page 1 of 2")
    assert not path.exists()
    person.turn()
    person.wait_for_page(2)
    assert len(person.labels(path)) == 60 and person.in_view() == [60] and not person.unseen()
    notebook.press(Keys.BACKSPACE)  # at its top again, and seen: saved before
    person.wait_for_page(1)
    assert person.in_view() == first
    for _ in range(2):
        person.space()
    person.wait_for_page(2)
    notebook.wait(lambda _: "All 61 faces are labeled: 0 male" in notebook.text(".oa-done"))
    assert person.in_window(".oa-done")


def a_wrong_file_is_one_line(person, path):
    """A file that was changed meanwhile is not overwritten; a wrong one is not opened."""
    notebook, good = person.notebook, path.read_text()
    pd.read_csv(path).assign(mood=3).to_csv(path, index=False)
    wrong = path.read_text()
    person.start()
    person.click(36)
    notebook.press(Keys.SPACE)
    for said in ("changed by another program, so nothing was written", "unknown column 'mood'"):
        notebook.wait(lambda _, said=said: said in notebook.text(".oa-problem"))
        assert path.read_text() == wrong
        notebook.run_all()
    path.write_text(good)


def with_notebook_02(lab, path):
    """Notebook 02 trains on the labels made in the browser, and scores the other images."""
    opened = nbformat.read(ROOT / "notebooks/02_label_and_filter.ipynb", as_version=4)
    folder = path.parent.relative_to(lab.folder).as_posix()
    given = {"images": f"{folder}/images", "labels": f"{folder}/labels.csv", "extra": 0,
             "rendered": 0, "folds": 2, "epochs": 1, "min_kept": 2,
             "out": "data/notebooks/02"}  # fmt: skip
    at = next(i for i, c in enumerate(opened.cells) if "parameters" in c.metadata.get("tags", []))
    lines = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    opened.cells.insert(at + 1, nbformat.v4.new_code_cell(lines))
    place = {"metadata": {"path": str(lab.folder / "notebooks")}}
    with pytest.MonkeyPatch.context() as patch, private_sockets() as config:
        patch.setenv("PYTHONPATH", str(lab.folder))
        nbclient.NotebookClient(opened, timeout=300, config=config, resources=place).execute()
    said = str(opened.cells)
    assert "36 were labeled by a person" in said
    copy = lab.folder / "data/notebooks/02/labels.csv"
    assert copy.read_text() == path.read_text()
