"""pyproject.toml, requirements.txt and environment.yml agree, and so do the installed packages."""

import ast
import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"torch": "pytorch", "opencv-python-headless": "py-opencv"}


def pins():
    """All pins of requirements.txt by lower-case name, and the names of its first, chosen part."""
    text = (ROOT / "requirements.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line), (
            f"not an exact pin: {line}"
        )
    found = {line.split("==")[0].lower(): line.split("==")[1] for line in lines}
    chosen = re.findall(r"^([A-Za-z0-9_.-]+)==", text.split("# What the packages")[0], re.M)
    return found, [name.lower() for name in chosen]


def conda():
    """The packages and their versions, also those that conda gets from PyPI, without Python."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    from_pypi = next(part["pip"] for part in listed if isinstance(part, dict))
    packages = [line for line in listed if isinstance(line, str) and line != "pip"]
    packages = [line for line in packages if not line.startswith("python>")]
    return dict(re.split("==?", line) for line in packages + from_pypi)


def test_both_files_name_the_same_packages_in_the_same_versions():
    found, chosen = pins()
    wanted = {CONDA_NAMES.get(name, name): found[name] for name in chosen}
    there = conda()
    assert there.keys() == wanted.keys()
    for name, pinned in wanted.items():
        assert pinned == there[name] or pinned.startswith(there[name] + "."), name


def test_pinned_packages_are_those_that_the_package_declares():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert sorted(declared) == sorted(set(declared)) and sorted(pins()[1]) == sorted(declared)


def test_every_conda_line_has_its_reason():
    lines = (ROOT / "environment.yml").read_text().split("dependencies:")[1].splitlines()
    packages = [line for line in lines if "=" in line and ">=" not in line]
    assert packages and all(line.partition("#")[2].strip() for line in packages)


def test_installed_versions_are_the_pinned_ones():
    found, chosen = pins()
    for name in chosen:
        assert version(name).split("+")[0] == found[name], name


def test_library_imports_only_what_is_declared():
    """Otherwise it works only as long as another package depends on it."""
    imported = set()
    for path in (ROOT / "ohlora_lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0].lower() for name in names}
    names = {"cv2": "opencv-python-headless", "yaml": "pyyaml", "pil": "pillow"}
    names |= {"sklearn": "scikit-learn", "ipython": "ipykernel", "traitlets": "nbclient"}
    names |= {"pydantic_core": "pydantic", "ai_edge_litert": "ai-edge-litert"}
    names |= {"dask": "distributed"}  # which pins its version
    standard = {module.lower() for module in sys.stdlib_module_names}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {names.get(name, name) for name in imported - standard - {"ohlora_lib"}}
    assert packages - set(project["dependencies"]) == set()
