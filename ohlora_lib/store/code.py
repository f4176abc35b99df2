"""Digests of the library's code: what is computed, without comments, docstrings and formatting."""

import ast
import hashlib
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

from ohlora_lib.store import ROOT

COMPUTING = ("faces", "models", "toyworld", "measure", "train", "steering", "gai_p3")
"""The layers whose code decides the value of a result. The others store it, distribute the work or
show the result; weights that `checkpoints` loads are identified by their contents."""

FILES = (".py", ".html", ".js", ".css")
"""A module's code, and a page, script or style sheet of the same name that it reads."""


@cache
def _tree(path: Path) -> ast.Module:
    """A module without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(getattr(node, "body", None), list):
            node.body = [one for one in node.body if not _is_text(one)] or [ast.Pass()]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return (
        isinstance(statement, ast.Expr)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


@cache
def digest(path: Path) -> str:
    """Of a module's code, or of a page or script that belongs to it."""
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return hashlib.sha256(ast.unparse(_tree(path)).encode()).hexdigest()[:16]


def imported(tree: ast.AST) -> frozenset[str]:
    """The names of the library's modules (or of things in them) that a tree imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if name.split(".")[0] == "ohlora_lib")


@cache
def _module_imports(path: Path) -> frozenset[str]:
    return imported(_tree(path))


def _files(name: str) -> set[Path]:
    """The files of a module, and the __init__ files that importing it runs."""
    parts = name.split(".")
    packages = [ROOT.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    module = [ROOT.joinpath(*parts).with_suffix(suffix) for suffix in FILES]
    return {path for path in [*packages, *module] if path.is_file()}


def modules(names: Iterable[str], layers: Collection[str] | None = None) -> set[Path]:
    """The files of these modules, and of those that they import: of all layers, or of some."""

    def counts(path: Path) -> bool:
        return layers is None or path.relative_to(ROOT).parts[1] in layers

    found: set[Path] = set()
    waiting = set().union(*(_files(name) for name in names))
    while waiting:
        path = waiting.pop()
        if not counts(path):
            continue
        found.add(path)
        for name in _module_imports(path) if path.suffix == ".py" else ():
            waiting |= _files(name) - found
    return found


def computing_code(module: str) -> dict[str, str]:
    """File -> digest of all code of the COMPUTING layers that a module uses, its own included.

    Empty for code outside the repository, as of an installed library.
    """
    found = sorted(modules([module], COMPUTING))
    return {path.relative_to(ROOT).as_posix(): digest(path) for path in found}
