"""Notebooks are pages of a lab book, and pipelines give them what they declare."""

import re
import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

from ohlora_lib.pages import report
from ohlora_lib.runner import notebook, options
from ohlora_lib.runner.engine import private_sockets
from ohlora_lib.runner.notebook import Notebook
from ohlora_lib.runner.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return nbformat.read(request.param, as_version=4).cells


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def test_there_is_a_notebook():
    assert NOTEBOOKS


def test_notebook_carries_no_outputs(cells):
    assert all(not cell.outputs and cell.execution_count is None for cell in code(cells))


def test_notebook_begins_with_a_question_and_ends_with_the_sentinel(cells):
    assert cells[0].cell_type == "markdown" and re.match(r"# .+\?", cells[0].source)
    assert code(cells)[-1].source.strip().endswith("end()")


def test_cells_name_no_absolute_path(cells):
    for cell in code(cells):
        assert not re.search(r"""["'](/|~|[A-Z]:\\)""", cell.source), cell.source


def test_prose_tells_no_figure_that_a_run_should_compute(cells):
    """Numbers in prose are years, references to the seeds, or names; results come from cells."""
    for cell in cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\d+\.\d+ ?%|\d{2,} ?%", cell.source), cell.source


def test_notebook_declares_parameters_and_runs_alone_from_its_defaults(cells, request):
    path = next(p for p in NOTEBOOKS if nbformat.read(p, as_version=4).cells == cells)
    declared = Notebook.read(path).declared()
    assert {"out", "seed"} <= declared.keys()
    scope = {}
    exec(Notebook.read(path).parameters_cell, scope)
    exec(Notebook.read(path).settings_cell, scope)  # builds the settings: raises if one is off
    assert scope["settings"].out.startswith("data/notebooks/")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_alone_as_in_jupyterlab(path, tmp_path, monkeypatch):
    """From its defaults, in the notebooks' folder, without the runner."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ohlora_lib", tmp_path / "ohlora_lib", ignore=ignore)
    home = (tmp_path / path.relative_to(ROOT)).parent
    home.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    opened = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(home)}}
    with private_sockets() as config:
        nbclient.NotebookClient(opened, timeout=300, config=config, resources=place).execute()
    assert report.is_finished(opened)
    assert (tmp_path / "data/notebooks").is_dir() and not (tmp_path / "reports").exists()


@pytest.mark.parametrize("scale", options.SCALES)
@pytest.mark.parametrize("system", options.systems())
def test_every_pipeline_gives_its_notebooks_what_they_declare(system, scale):
    for stage in Pipeline.load(system, scale).stages:
        notebook.check(stage)
