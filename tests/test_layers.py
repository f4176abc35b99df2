"""Layers of the library: imports go downwards only."""

import ast
from pathlib import Path

import pytest

from ohlora_lib.store.code import computing_code

LIBRARY = Path(__file__).resolve().parents[1] / "ohlora_lib"
LAYERS = (
    "store",
    "compute",
    "faces",
    "models",
    "checkpoints",
    "toyworld",
    "measure",
    "train",
    "steering",
    "gai_p3",
    "plots",
    "widgets",
    "pages",
    "runner",
)
TORCH_ALONE = {"cv2", "pandas", "sklearn", "scipy", "matplotlib", "seaborn", "torchvision"}


def imported(path):
    """Full names of all that a file imports, at its top or later, relative imports resolved."""
    package = path.parts[path.parts.index("ohlora_lib") : -1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def upward_imports(library):
    """Every import from a layer to one above it, as 'file:line imports name'."""
    found = []
    for path in sorted(library.rglob("*.py")):
        layer = path.relative_to(library).parts[0]
        if layer not in LAYERS:
            continue
        for name, line in imported(path):
            parts = name.split(".")
            to = parts[1] if parts[0] == "ohlora_lib" and len(parts) > 1 else layer
            if to in LAYERS and LAYERS.index(to) > LAYERS.index(layer):
                found.append(f"{path.relative_to(library)}:{line} imports {name}")
    return found


def test_no_layer_imports_from_above():
    assert upward_imports(LIBRARY) == []


def test_every_folder_of_the_library_is_a_layer():
    folders = {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(LAYERS)
    assert [path.name for path in LIBRARY.glob("*.py")] == ["__init__.py"], (
        "a module outside the layers"
    )


@pytest.mark.parametrize(
    "line",
    [
        "from ohlora_lib.runner import run",
        "import ohlora_lib.runner.run",
        "from ohlora_lib import runner",
        "from ..runner import run",
        "from .. import runner",
        "def late():\n    from ohlora_lib.runner.run import main",
    ],
)
def test_planted_upward_import_is_found(tmp_path, line):
    planted = tmp_path / "ohlora_lib" / "measure" / "scores.py"
    planted.parent.mkdir(parents=True)
    planted.write_text(f"import math\nfrom ohlora_lib.store import atomic\n{line}\n")
    assert len(upward_imports(tmp_path / "ohlora_lib")) == 1


def test_library_imports_are_absolute():
    """The runner finds the code that a stage depends on by the imports' full names."""
    relative = [
        f"{path.name}:{node.lineno}"
        for path in LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_models_need_torch_alone():
    heavy = [
        f"{path.name}:{line} imports {name}"
        for path in sorted((LIBRARY / "models").rglob("*.py"))
        for name, line in imported(path)
        if name.split(".")[0] in TORCH_ALONE
    ]
    assert heavy == []


def test_work_is_identified_by_the_code_that_computes_it():
    named = [path for path in LIBRARY.rglob("*.py") if "keep_work(" in path.read_text()]
    named = [path.relative_to(LIBRARY.parent) for path in named if path.name != "work.py"]
    assert len(named) > 8
    for path in named:
        own = computing_code(".".join(path.with_suffix("").parts))
        assert path.as_posix() in own and not any("plots" in name for name in own), path
