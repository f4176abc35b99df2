"""The miniature repository as a fixture."""

import importlib.util
import shutil
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("demo", Path(__file__).with_name("demo.py"))
demo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(demo)


@pytest.fixture
def repository(tmp_path):
    """A fresh miniature repository."""
    return demo.Repository.create(tmp_path / "repository")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    """The demo after one run at smoke scale; only to be copied."""
    made = demo.Repository.create(tmp_path_factory.mktemp("finished") / "repository")
    code, output = made.run("demo", "--scale", "smoke")
    assert code == 0, output
    return made


@pytest.fixture
def finished(finished_once, tmp_path):
    """A copy, times of files included, of the demo after one run at smoke scale."""
    shutil.copytree(finished_once.root, tmp_path / "repository")
    return demo.Repository(tmp_path / "repository")


@pytest.fixture(scope="session")
def demo_cells():
    """The two notebooks' cells and the pipeline, to be changed by a test."""
    return demo
