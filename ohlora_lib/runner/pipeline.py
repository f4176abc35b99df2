"""Pipelines: pipelines/SYSTEM.yaml, checked by pydantic, as frozen dataclasses at one scale.

A stage's `reads` and `parameters` are handed to its notebook; `{01_generate}` in a read path stands
for the folder of the stage of that name. `outputs` are what the stage must write into its own
folder; `publish` names those that are also copied into reports/, and where: a file's name, or a
CSV's (`file`) and patterns of the `columns` of a table that it has.
`extends: ohlora_v3/01_generate` puts that system's stages, up to the one named, before its own:
they keep that system's folders and pages, and run once for both.

`readme` declares what the READMEs show of the system, `cost` and `constants` (or the name of a
system that has them) what a run at paper scale costs (see `costs`), `scale_constants` those that
differ at another scale, and `resolver` a module that
knows names of weights (see `Resolver`): those that parameters name, and those that a stage needs
beside them, in its `weights`, where age-? stands for age-0, age-1 ….
"""

import importlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ohlora_lib.pages import index
from ohlora_lib.pages.comparison import Text
from ohlora_lib.runner import costs
from ohlora_lib.runner.launch import SCALES, systems
from ohlora_lib.runner.questions import QUESTIONS
from ohlora_lib.store import ROOT

FIRST = ("ohlora_v3", "ohlora_v2", "ohlora_v3_1", "steering", "steering_adversarial")
"""The systems that come first in the index, in order."""


class PipelineError(Exception):
    """A mistake in a pipeline file or in what was asked of it."""


class Resolver(Protocol):
    """What a pipeline's `resolver` module offers."""

    def files(self, word: str) -> list[Path]:
        """The files that the word stands for as far as they exist; [] if it names no weights."""

    def names(self, pattern: str) -> list[str]:
        """The names of weights that match a pattern with ?."""

    def problem(self, word: str) -> str:
        """Why the weights of this name cannot be loaded and what to do; "" otherwise."""

    def measure(self) -> None:
        """Measure the constants of this machine."""

    def measured(self) -> dict[str, object]:
        """The constants that were measured, with `device` (cpu or another) and `day`; or {}."""


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("must be a path inside the repository")
    return path


def _stage_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError("a name is made of letters, digits, '_', '-' and '.'")
    return name


def _expression(expression: str | float) -> str | float:
    costs.parsed(expression)
    return expression


InnerPath = Annotated[str, AfterValidator(_inside)]
Expression = Annotated[str | float, AfterValidator(_expression)]
Scale = Literal[SCALES]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Result(_Model):
    label: Text
    published: str = "–"
    stage: str
    headline: str
    count: str = ""
    note: Text | None = None


class _Rate(_Model):
    label: Text
    cutoffs: str
    stage: str
    method: str
    ending: str = ""


class _Highlight(_Model):
    label: Text
    stage: str
    headlines: Annotated[list[str], Field(min_length=1)]
    meter: Text
    count: str


class _Animation(_Model):
    stage: str
    file: InnerPath
    width: int
    alt: Text


class _Readme(_Model):
    picture: str = ""
    korean_alt: str = ""
    animation: _Animation | None = None
    results: list[_Result] = []
    rates: list[_Rate] = []
    highlights: list[_Highlight] = []


_ROWS = {"results": index.Result, "rates": index.Rate, "highlights": index.Highlight}
_PARTS = {"readme": _Readme, "results": _Result, "rates": _Rate, "highlights": _Highlight,
          "animation": _Animation}  # fmt: skip
_PARTS |= dict.fromkeys(("label", "meter", "alt", "note"), Text)
"""Key -> the model of what stands there."""


class _Published(_Model):
    file: InnerPath
    columns: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return {"file": value} if isinstance(value, str) else value


class _Stage(_Model):
    name: Annotated[str, AfterValidator(_stage_name)]
    notebook: InnerPath
    reads: dict[str, InnerPath] = {}
    outputs: list[InnerPath] = []
    publish: dict[InnerPath, _Published] = {}
    parameters: dict[str, Any] = {}
    scales: dict[Scale, dict[str, Any]] = {}
    cost: dict[Literal["seconds", "disk", "memory"], Expression] = {}
    weights: dict[Scale, list[str]] = {}


class _Pipeline(_Model):
    title: str
    summary: str
    korean: str = ""
    extends: str = ""
    korean_title: str = ""
    resolver: str = ""
    constants: dict[str, float | Expression] | str = {}
    scale_constants: dict[Scale, dict[str, float | Expression]] = {}
    readme: _Readme = _Readme()
    stages: Annotated[list[_Stage], Field(min_length=1)]


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
    cost: dict[str, str | float] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    resolver: str = ""
    publish: dict[str, str] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    title: str = ""

    @property
    def given(self) -> dict[str, object]:
        """All that papermill hands to the notebook."""
        return {**self.parameters, **self.reads, "out": self.out}

    @property
    def words(self) -> list[str]:
        """What may be names of weights: texts among the parameters, and the declared names."""
        texts = [text for text in self.parameters.values() if isinstance(text, str)]
        return list(dict.fromkeys([*(text for text in texts if "/" not in text), *self.weights]))

    @property
    def resolve(self) -> Resolver | None:
        """The module that knows names of weights."""
        return importlib.import_module(self.resolver) if self.resolver else None

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

    scale: str
    shown: index.System
    stages: tuple[Stage, ...]
    constants: dict[str, float | str]
    declared: dict[str, float | str]  # constants of all scales that declare no others
    resolver: str

    @property
    def system(self) -> str:
        """The name of the pipeline's file."""
        return self.shown.name

    @classmethod
    def load(cls, system: str, scale: str, extended_by: tuple[str, ...] = ()) -> "Pipeline":
        """Read pipelines/SYSTEM.yaml at one scale; `extended_by`: the systems that led here."""
        path = ROOT / "pipelines" / f"{system}.yaml"
        name = path.relative_to(ROOT).as_posix()
        try:
            spec = _validated(path.read_text(encoding="utf-8"), name)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise PipelineError(f"{name}: not YAML: {error}") from error
        constants, declared = (_constants(spec, one, name) for one in (scale, ""))
        resolver, stages = spec.resolver, []
        if spec.extends:
            base, stages = _base(spec.extends, scale, (*extended_by, system), f"{name}: extends")
            constants = {**base.constants, **constants}
            declared = {**base.declared, **declared}
            resolver = resolver or base.resolver
        for one in spec.stages:
            where = f"{name}: stage {one.name!r}"
            made = _stage(system, scale, one, tuple(stages), resolver, where)
            stages.append(replace(made, title=spec.title))
        own = tuple(stage.name for stage in stages if stage.system == system)
        shown = {
            kind: tuple(made(**row.model_dump()) for row in getattr(spec.readme, kind))
            for kind, made in _ROWS.items()
        }
        animation = spec.readme.animation and index.Animation(**spec.readme.animation.model_dump())
        rows = [*itertools.chain(*shown.values()), *filter(None, [animation])]
        for stage in filter(None, [spec.readme.picture, *(row.stage for row in rows)]):
            if stage not in own:
                raise PipelineError(
                    f"{name}: readme: no stage {stage!r}: choose from {', '.join(own)}"
                )
        about = index.System(
            name=system,
            title=spec.title,
            summary=spec.summary,
            stages=own,
            **shown,
            animation=animation,
            picture=spec.readme.picture,
            extends=spec.extends,
            korean=spec.korean,
            korean_title=spec.korean_title,
            korean_alt=spec.readme.korean_alt,
            questions={
                stage.name: QUESTIONS.get(stage.notebook.stem, "")
                for stage in stages
                if stage.system == system
            },
        )
        return cls(scale, about, tuple(stages), constants, declared, resolver)

    @property
    def resolve(self) -> Resolver | None:
        """The module that knows names of weights."""
        return importlib.import_module(self.resolver) if self.resolver else None

    @property
    def measured(self) -> dict[str, object]:
        """See `Resolver`."""
        return self.resolve.measured() if self.resolver else {}

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

    def costs(self, processes: int = 1) -> dict[str, costs.Cost]:
        """Stage name -> its cost at this scale, with what was measured on this machine.

        Constants are measured for the published networks. A scale with constants of its own has
        other networks: its times are multiplied by how much slower than assumed those run here.
        """
        own = {name: one for name, one in self.measured.items() if name in self.declared}
        constants, slower = self.constants, float(self.measured.get("small_slower", 1.0))
        if constants == self.declared:
            constants, slower = {**constants, **own}, 1.0
        try:
            found = costs.costs(self.stages, constants, processes)
        except costs.CostError as error:
            raise PipelineError(f"pipelines/{self.system}.yaml: cost: {error}") from error
        return {name: one.slowed(slower) for name, one in found.items()}


def shown_systems() -> list[index.System]:
    """Every system, for the index and in its order."""
    names = sorted(systems(), key=lambda name: (name not in FIRST, (*FIRST, name).index(name)))
    return [Pipeline.load(name, "quick").shown for name in names]


@cache
def _validated(text: str, name: str) -> _Pipeline:
    """What a YAML text says; a PipelineError names the file, the stage and the key of a mistake."""
    raw = yaml.safe_load(text)
    try:
        return _Pipeline.model_validate(raw)
    except ValidationError as error:
        raise PipelineError(f"{name}: {_explain(error.errors()[0], raw)}") from error


def _explain(error: dict[str, Any], raw: object) -> str:
    """One pydantic error as stage, key, value and remedy."""
    model, where, place = _Pipeline, [], list(error["loc"])
    if place[:1] == ["stages"] and len(place) > 1:
        model, at = _Stage, place[1]
        entry = raw["stages"][at]
        named = isinstance(entry, dict) and "name" in entry
        where, place = [f"stage {entry['name']!r}" if named else f"stage {at + 1}"], place[2:]
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    last = place[-1] if place else ""
    if kind == "extra_forbidden":
        for key in place[:-1]:
            model = _PARTS.get(key, model)
        known = ", ".join(model.model_fields)
        return ": ".join([*where, *map(str, place[:-1]), f"unknown key {last!r} (known: {known})"])
    if kind == "missing":
        return ": ".join([*where, *map(str, place[:-1]), f"{last!r} is missing"])
    return ": ".join([*where, *map(str, place), f"{error['input']!r}: {message}"])


def _constants(spec: _Pipeline, scale: str, where: str) -> dict[str, float | str]:
    """Those that a pipeline declares for a scale, or for all scales if that is "".

    SYSTEM or SYSTEM/SCALE stands for that system's: of all scales, or of this one at every scale.
    """
    if isinstance(spec.constants, str):
        system, _, same = spec.constants.partition("/")
        path = ROOT / "pipelines" / f"{system}.yaml"
        if not path.is_file():
            raise PipelineError(f"{where}: constants: there is no {path.relative_to(ROOT)}")
        if same not in ("", *SCALES):
            raise PipelineError(f"{where}: constants: {same!r} is none of {', '.join(SCALES)}")
        name = path.relative_to(ROOT).as_posix()
        other = _validated(path.read_text(encoding="utf-8"), name)
        return _constants(other, same if scale else "", name)
    return {**spec.constants, **spec.scale_constants.get(scale, {})}


def _base(
    last: str, scale: str, extended_by: tuple[str, ...], where: str
) -> tuple[Pipeline, list[Stage]]:
    """The pipeline of `last` (SYSTEM/STAGE), and its stages up to that one."""
    system, _, name = last.partition("/")
    if not (ROOT / "pipelines" / f"{system}.yaml").is_file():
        raise PipelineError(f"{where} {last!r}: there is no pipelines/{system}.yaml")
    if system in extended_by:
        raise PipelineError(f"{where} {last!r}, which extends {extended_by[-1]} itself")
    pipeline = Pipeline.load(system, scale, extended_by)
    stages = pipeline.stages
    return pipeline, list(stages[: stages.index(pipeline.chosen(None, name)[0]) + 1])


def _stage(
    system: str, scale: str, spec: _Stage, before: tuple[Stage, ...], resolver: str, where: str
) -> Stage:
    """Check one entry against the stages before it and fill in the folders."""
    if any(stage.name == spec.name for stage in before):
        raise PipelineError(f"{where} is defined twice")
    notebook = ROOT / spec.notebook
    if not notebook.is_file():
        raise PipelineError(f"{where}: there is no notebook {spec.notebook}")
    parameters = {**spec.parameters, **spec.scales.get(scale, {})}
    for key in (spec.reads.keys() | {"out"}) & parameters.keys():
        raise PipelineError(f"{where}: {key!r} cannot be a parameter: the runner gives it")
    for name in spec.publish.keys() - set(spec.outputs):
        raise PipelineError(f"{where}: publish: {name!r} is not one of its outputs")
    folders = {stage.name: stage.out for stage in before}
    return Stage(
        system=system,
        scale=scale,
        name=spec.name,
        notebook=notebook,
        out=f"data/{system}/{scale}/{spec.name}",
        reads={key: _fill(value, folders, where) for key, value in spec.reads.items()},
        outputs=tuple(spec.outputs),
        parameters=parameters,
        cost=dict(spec.cost),
        weights=tuple(_weights(spec.weights.get(scale, ()), resolver, where)),
        resolver=resolver,
        publish={name: target.file for name, target in spec.publish.items()},
        columns={name: tuple(target.columns) for name, target in spec.publish.items()},
    )


def _weights(declared: Sequence[str], resolver: str, where: str) -> Iterator[str]:
    """The names of weights that a stage declares, with those that its patterns stand for."""
    for word in declared:
        if "?" not in word:
            yield word
            continue
        if not resolver:
            raise PipelineError(f"{where}: weights {word!r}: only a resolver knows patterns")
        if not (found := importlib.import_module(resolver).names(word)):
            raise PipelineError(f"{where}: no weights match {word!r}")
        yield from found


def _fill(path: str, folders: dict[str, str], where: str) -> str:
    """Put the folders of earlier stages in the place of their names in braces."""

    def folder(match: re.Match) -> str:
        if match[1] not in folders:
            raise PipelineError(f"{where} reads from {match[1]!r}: no earlier stage has that name")
        return folders[match[1]]

    return re.sub(r"\{([^{}]*)\}", folder, path)
