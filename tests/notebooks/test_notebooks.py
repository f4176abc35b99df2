"""Every notebook has the common form, runs alone, and declares what the pipelines give it."""

import ast
import re
import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

from ohlora_lib.pages import report
from ohlora_lib.pages.parameters import checked, declared
from ohlora_lib.runner import notebook
from ohlora_lib.runner.execute import private_sockets
from ohlora_lib.runner.launch import SCALES, systems
from ohlora_lib.runner.notebook import Notebook
from ohlora_lib.runner.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def cells(path):
    return nbformat.read(path, as_version=4).cells


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def test_there_is_a_notebook():
    assert NOTEBOOKS


def test_notebook_is_stored_without_outputs_and_with_unique_ids(cells):
    assert all(not cell.outputs and cell.execution_count is None for cell in code(cells))
    ids = [cell.id for cell in cells]
    assert len(set(ids)) == len(ids)


def test_title_is_a_question(cells):
    assert cells[0].cell_type == "markdown" and re.match(r"# .+\?", cells[0].source)


def test_parameters_are_tagged_and_typed_and_defaults_are_valid(cells, path):
    first, second = code(cells)[:2]
    assert first.metadata.get("tags") == ["parameters"]
    assert re.search(r"^\w+ = start\(globals\(\)\)$", second.source, re.M), second.source
    for line in ast.parse(first.source).body:
        assert isinstance(line, ast.Import | ast.ImportFrom | ast.AnnAssign), ast.unparse(line)
    scope = {}
    exec(Notebook.read(path).parameters_cell, scope)
    annotations = declared(scope)
    values = checked(annotations, {name: scope[name] for name in annotations})
    assert {"out", "seed"} <= values.keys() and values["out"].startswith("data/notebooks/")


def test_last_cell_is_end_and_no_other_calls_it(cells):
    assert code(cells)[-1].source.strip() == "end()"
    assert not any(re.search(r"^end\(\)", cell.source, re.M) for cell in code(cells)[:-1])


def test_notebook_names_no_absolute_path(cells):
    for cell in code(cells):
        assert not re.search(r"""["'](/|~|[A-Z]:\\)""", cell.source), cell.source


def test_prose_states_no_result(cells):
    """Percentages in Markdown cells would go stale; results are computed by cells."""
    for cell in cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\d+\.\d+ ?%|\d{2,} ?%", cell.source), cell.source


def test_only_cells_that_know_the_domain_speak_of_the_toy_world(cells, path):
    """A page about photographs that says so is wrong; gai_p3 and rendered faces have no others."""
    if path.parent != ROOT / "notebooks":
        return
    for cell in code(cells):
        texts = [node.value for node in ast.walk(ast.parse(cell.source))
                 if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
        said = [text for text in texts if text != "toy" and re.search(r"\btoy\b", text, re.I)]
        assert not said or "has_truth" in cell.source, said


def test_faces_that_the_parser_misses_or_distorts_are_told_by_03_and_04():
    """`check_faces` stops where there is no face; `implausible` goes into the page's finding."""
    for name, checks in (("03_segment", ("check_faces", "implausible")),
                         ("04_property_scores", ("implausible",))):  # fmt: skip
        cells = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells
        *_, last = (cell.source for cell in code(cells) if "finding(" in cell.source)
        source = "\n".join(cell.source for cell in code(cells))
        assert all(f"{check}(" in source for check in checks)
        assert re.search(r"if problems:.*are implausible", last, re.DOTALL), last


def test_notebook_runs_alone_as_in_jupyterlab(path, tmp_path, monkeypatch):
    """From its defaults, in the notebooks' folder, without the runner."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ohlora_lib", tmp_path / "ohlora_lib", ignore=ignore)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    (tmp_path / "pipelines").mkdir()
    home = (tmp_path / path.relative_to(ROOT)).parent
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    opened = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(home)}}
    with private_sockets() as config:
        nbclient.NotebookClient(opened, timeout=600, config=config, resources=place).execute()
    assert report.is_finished(opened)
    assert (tmp_path / "data/notebooks").is_dir() and not (tmp_path / "reports").exists()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("system", systems())
def test_every_pipeline_gives_its_notebooks_what_they_declare(system, scale):
    for stage in Pipeline.load(system, scale).stages:
        notebook.check(stage)
