"""What a notebook declares, and the library code that it depends on: read without running it."""

import ast
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from ohlora_lib.pages import parameters
from ohlora_lib.pages.parameters import ParameterError
from ohlora_lib.runner.pipeline import PipelineError, Stage
from ohlora_lib.store import ROOT

MODULE_FILES = (".py", ".html", ".js", ".css")
"""A module's code, and a page, script or style sheet of the same name that it reads."""


@dataclass(frozen=True)
class Notebook:
    """A notebook's source: its code cells, and the one that declares the parameters."""

    name: str
    parameters_cell: str
    code: tuple[str, ...]
    digest: str
    """Of the source and tags of all cells, without outputs, ids and other metadata."""

    @classmethod
    def read(cls, path: Path) -> "Notebook":
        """Read it; it must have exactly one cell tagged `parameters`."""
        name = path.relative_to(ROOT)
        try:
            cells = nbformat.read(path, as_version=4).cells
        except Exception as error:  # nbformat raises many kinds
            raise PipelineError(f"{name} cannot be read as a notebook: {error}") from error
        code = [cell for cell in cells if cell.cell_type == "code"]
        tagged = [
            at for at, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])
        ]
        if len(tagged) != 1:
            raise PipelineError(
                f"{name} has {len(tagged)} cells tagged 'parameters': it needs exactly one"
            )
        sources = tuple(cell.source for cell in code)
        written = [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in cells]
        return cls(
            name=name.as_posix(),
            parameters_cell=sources[tagged[0]],
            code=tuple(source for source in sources if source.strip()),
            digest=hashlib.sha256(json.dumps(written).encode()).hexdigest(),
        )

    def modules(self) -> set[Path]:
        """The files of ohlora_lib that the notebook imports, and those that these import."""
        plain = TransformerManager().transform_cell  # %magics and !commands as calls
        try:
            return _closure(frozenset().union(*(_imports(plain(cell)) for cell in self.code)))
        except SyntaxError as error:
            raise PipelineError(f"{self.name}: a cell is not Python: {error}") from error


def check(stage: Stage) -> None:
    """Refuse parameters that the notebook does not declare, of the wrong type, or out of range."""
    notebook = Notebook.read(stage.notebook)
    where = f"stage {stage.name!r} of {stage.system}"
    notebook.modules()
    if "end()" not in notebook.code[-1]:
        raise PipelineError(f"{where}: the last cell of {notebook.name} does not call end()")
    scope: dict[str, object] = {}
    try:
        exec(notebook.parameters_cell, scope)
        parameters.checked(parameters.declared(scope), stage.given)
    except ParameterError as error:
        raise PipelineError(f"{where}, {notebook.name}: {error}") from error
    except Exception as error:
        raise PipelineError(
            f"{where}: the parameters of {notebook.name} fail: {error!r}"
        ) from error


def code_digest(notebook: Notebook) -> str:
    """One digest of all library modules that a notebook uses."""
    digest = hashlib.sha256()
    for path in sorted(notebook.modules()):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _imports(source: str) -> frozenset[str]:
    """The names of ohlora_lib's modules (or of things in them) that `source` imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if name.split(".")[0] == "ohlora_lib")


@cache
def _module_imports(path: Path) -> frozenset[str]:
    return _imports(path.read_text())


def _files(name: str) -> set[Path]:
    """The files of a module, and the __init__ files that importing it runs."""
    parts = name.split(".")
    packages = [ROOT.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    module = [ROOT.joinpath(*parts).with_suffix(suffix) for suffix in MODULE_FILES]
    return {path for path in [*packages, *module] if path.is_file()}


def _closure(names: frozenset[str]) -> set[Path]:
    found: set[Path] = set()
    waiting = set().union(*(_files(name) for name in names))
    while waiting:
        path = waiting.pop()
        found.add(path)
        for name in _module_imports(path) if path.suffix == ".py" else ():
            waiting |= _files(name) - found
    return found
