"""Pipelines: pipelines/SYSTEM.yaml read into frozen dataclasses, and every mistake in it named.

A stage's `reads` and `parameters` are handed to its notebook; `{01_generate}` in a read path stands
for the folder that the stage of that name fills. `outputs` are what it must write into its own
folder. `extends: ohlora_v3/01_generate` puts that system's stages, up to the one named, before its
own: they keep that system's folders and pages, and run once for both.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from ohlora_lib.pages import index
from ohlora_lib.runner.options import SCALES, systems
from ohlora_lib.store import ROOT

PIPELINE_KEYS = {"title": str, "summary": str, "extends": str, "readme": dict, "stages": list}
STAGE_KEYS = {
    "name": str,
    "notebook": str,
    "reads": dict,
    "outputs": list,
    "parameters": dict,
    "scales": dict,
}


class PipelineError(Exception):
    """A mistake in a pipeline file or in what was asked of it."""


@dataclass(frozen=True)
class Stage:
    """One notebook with everything that it is given, at one scale."""

    system: str
    scale: str
    name: str
    notebook: Path
    out: str
    reads: dict[str, str]
    outputs: tuple[str, ...]
    parameters: dict[str, object]

    @property
    def given(self) -> dict[str, object]:
        """All that papermill hands to the notebook."""
        return {**self.parameters, **self.reads, "out": self.out}

    @property
    def manifest(self) -> Path:
        """The record of what made the stage's files."""
        return ROOT / f"{self.out}.manifest.json"

    @property
    def executed(self) -> Path:
        """The executed notebook."""
        return ROOT / f"{self.out}.ipynb"

    @property
    def partial(self) -> Path:
        """The notebook while it runs, and after it failed."""
        return ROOT / f"{self.out}.partial.ipynb"


@dataclass(frozen=True)
class Pipeline:
    """A system's stages at one scale, in order; the first may be those of another system."""

    system: str
    scale: str
    title: str
    summary: str
    stages: tuple[Stage, ...]
    results: tuple[index.Result, ...] = ()
    picture: str = ""

    @classmethod
    def load(cls, system: str, scale: str, led_here: tuple[str, ...] = ()) -> "Pipeline":
        """Read pipelines/SYSTEM.yaml at one scale; `led_here`: the systems that extend it."""
        path = ROOT / "pipelines" / f"{system}.yaml"
        name = path.relative_to(ROOT)
        try:
            raw = _parsed(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise PipelineError(f"{name}: not YAML: {error}") from error
        _expect(str(name), raw, PIPELINE_KEYS, {"title", "summary", "stages"})
        if not raw["stages"]:
            raise PipelineError(f"{name}: it has no stages")
        stages: list[Stage] = []
        if "extends" in raw:
            stages += _first_stages(raw["extends"], scale, (*led_here, system), f"{name}: extends")
        for entry in raw["stages"]:
            stages.append(_stage(system, scale, entry, stages, str(name)))
        readme = raw.get("readme", {})
        rows = tuple(index.Result(**row) for row in readme.get("results", []))
        picture = readme.get("picture", "")
        return cls(system, scale, raw["title"], raw["summary"], tuple(stages), rows, picture)

    @property
    def own(self) -> tuple[Stage, ...]:
        """The stages without another system's."""
        return tuple(stage for stage in self.stages if stage.system == self.system)

    @property
    def shown(self) -> index.System:
        """What the index and the README show of it."""
        stages = tuple(stage.name for stage in self.own)
        return index.System(
            self.system, self.title, self.summary, stages, self.results, self.picture
        )

    def chosen(self, start: str | None, only: str | None) -> tuple[Stage, ...]:
        """The stages from `start` on, or `only` that one, or all."""
        names = [stage.name for stage in self.stages]
        wanted = start or only
        if wanted is None:
            return self.stages
        if wanted not in names:
            raise PipelineError(
                f"{self.system} has no stage {wanted!r}: choose from {', '.join(names)}"
            )
        at = names.index(wanted)
        return self.stages[at : at + 1] if only else self.stages[at:]


def shown_systems() -> list[index.System]:
    """Every system, for the index."""
    return [Pipeline.load(name, "quick").shown for name in systems()]


@cache
def _parsed(text: str) -> object:
    """What a YAML text says, parsed once: every page of the index asks for every pipeline."""
    return yaml.safe_load(text)


def _expect(where: str, entry: object, known: dict[str, type], needed: set[str]) -> None:
    """Refuse an entry with unknown or missing keys, or with a value of another type."""
    if not isinstance(entry, dict):
        raise PipelineError(f"{where}: expected a mapping with {', '.join(known)}")
    for key, value in entry.items():
        if key not in known:
            raise PipelineError(f"{where}: unknown key {key!r} (known: {', '.join(known)})")
        if not isinstance(value, known[key]):
            raise PipelineError(f"{where}: {key} = {value!r}: must be a {known[key].__name__}")
    for key in sorted(needed - entry.keys()):
        raise PipelineError(f"{where}: {key!r} is missing")


def _expect_paths(where: str, paths: Iterable[object]) -> None:
    for path in paths:
        if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
            raise PipelineError(f"{where}: {path!r} must be a path inside the repository")


def _first_stages(
    last: str, scale: str, led_here: tuple[str, ...], where: str
) -> tuple[Stage, ...]:
    """The stages of `last`, SYSTEM/STAGE, up to that one."""
    system, _, name = last.partition("/")
    if not (ROOT / "pipelines" / f"{system}.yaml").is_file():
        raise PipelineError(f"{where} {last!r}: there is no pipelines/{system}.yaml")
    if system in led_here:
        raise PipelineError(f"{where} {last!r}, which extends {led_here[-1]} itself")
    pipeline = Pipeline.load(system, scale, led_here)
    stages = pipeline.stages
    return stages[: stages.index(pipeline.chosen(None, name)[0]) + 1]


def _stage(system: str, scale: str, entry: dict, before: list[Stage], where: str) -> Stage:
    """Check one entry against the stages before it and fill in the folders."""
    _expect(f"{where}: a stage", entry, STAGE_KEYS, {"name", "notebook"})
    name, where = entry["name"], f"{where}: stage {entry['name']!r}"
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise PipelineError(f"{where}: a name is made of letters, digits, '_', '-' and '.'")
    if any(stage.name == name for stage in before):
        raise PipelineError(f"{where} is there twice")
    reads, outputs = entry.get("reads", {}), entry.get("outputs", [])
    _expect_paths(where, [entry["notebook"], *reads.values(), *outputs])
    notebook = ROOT / entry["notebook"]
    if not notebook.is_file():
        raise PipelineError(f"{where}: there is no notebook {entry['notebook']}")
    sizes = entry.get("scales", {})
    _expect(f"{where}: scales", sizes, dict.fromkeys(SCALES, dict), set())
    folders = {stage.name: stage.out for stage in before}
    parameters = {**entry.get("parameters", {}), **sizes.get(scale, {})}
    for key in (reads.keys() | {"out"}) & parameters.keys():
        raise PipelineError(f"{where}: {key!r} cannot be a parameter: the runner gives it")
    return Stage(
        system=system,
        scale=scale,
        name=name,
        notebook=notebook,
        out=f"data/{system}/{scale}/{name}",
        reads={key: _fill(value, folders, where) for key, value in reads.items()},
        outputs=tuple(outputs),
        parameters=parameters,
    )


def _fill(path: str, folders: dict[str, str], where: str) -> str:
    """Put the folders of earlier stages in the place of their names in braces."""

    def folder(match: re.Match) -> str:
        if match[1] not in folders:
            raise PipelineError(f"{where} reads from {match[1]!r}, which no earlier stage is named")
        return folders[match[1]]

    return re.sub(r"\{([^{}]*)\}", folder, path)
