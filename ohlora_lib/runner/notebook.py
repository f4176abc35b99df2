"""What a notebook declares, and the library code that it depends on: read without running it."""

import ast
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from ohlora_lib.pages import parameters
from ohlora_lib.pages.parameters import ParameterError
from ohlora_lib.runner.pipeline import PipelineError, Stage
from ohlora_lib.store import ROOT, code


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
        written = [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in cells]
        cells = [cell for cell in cells if cell.cell_type == "code"]
        tagged = [
            at for at, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])
        ]
        if len(tagged) != 1:
            raise PipelineError(
                f"{name} has {len(tagged)} cells tagged 'parameters': it needs exactly one"
            )
        sources = tuple(cell.source for cell in cells)
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
            trees = [ast.parse(plain(cell)) for cell in self.code]
        except SyntaxError as error:
            raise PipelineError(f"{self.name}: a cell is not Python: {error}") from error
        return code.modules(frozenset().union(*map(code.imported, trees)))


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
    """One digest of the code of all library modules that a notebook uses."""
    used = sorted(notebook.modules())
    lines = [f"{path.relative_to(ROOT).as_posix()} {code.digest(path)}" for path in used]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
