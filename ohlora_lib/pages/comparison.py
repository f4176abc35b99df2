"""reports/comparison.md: systems side by side, from the records beside their pages.

`pipelines/compare/*.yaml` says which systems, what changed in each, and which headline of which
stage (SYSTEM/STAGE) stands in which row. Texts are given in English and Korean.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ohlora_lib.pages.index import REPORTS, Report, System
from ohlora_lib.store import ROOT, StoreError
from ohlora_lib.store.atomic import write_text

FOLDER = ROOT / "pipelines" / "compare"
INTERVAL = re.compile(r"\(([\d.]+)%–([\d.]+)%\)")
WORDS = {
    "en": {
        "suffix": "",
        "other": "[한국어]({}.ko.md)",
        "back": "[all reports](README.md) · [glossary](../docs/glossary.md)",
        "changed": "What changed",
        "system": "| system | what is new in it |",
        "gained": "What it gained",
        "absent": "Not run here, so left out: {}.",
        "apart": "Rows in which the intervals of two systems do not overlap: {}. All others "
        "state no order.",
        "together": "In every row with intervals, those of the systems overlap (of before → after: "
        "those after), so no row states an order of the systems.",
        "sources": "Where the numbers come from",
    },
    "ko": {
        "suffix": ".ko",
        "other": "[English]({}.md)",
        "back": "[전체 보고서](README.ko.md) · [용어집](../docs/glossary.ko.md)",
        "changed": "무엇이 바뀌었나",
        "system": "| 시스템 | 새로운 점 |",
        "gained": "무엇이 나아졌나",
        "absent": "이 저장소에서 실행하지 않아 제외한 시스템: {}.",
        "apart": "두 시스템의 구간이 겹치지 않는 행: {}. 나머지 행에서는 우열이 확정되지 않습니다.",
        "together": "구간이 있는 행에서는 모두 시스템들의 구간이 겹치므로(전 → 후는 후끼리 비교) "
        "시스템의 우열은 확정되지 않습니다.",
        "sources": "수치의 출처",
    },
}


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Text(_Model):
    """A text in both languages."""

    en: str
    ko: str


class _Column(_Model):
    name: str
    system: str
    changed: Text


class _Row(_Model):
    label: Text
    headlines: list[str]
    """The first of these that the stage's record has."""
    stages: dict[str, str]
    """Column -> SYSTEM/STAGE."""


class _File(_Model):
    title: Text
    introduction: Text
    columns: list[_Column]
    rows: list[_Row]


@dataclass(frozen=True)
class Comparison:
    """One file of pipelines/compare/, checked."""

    name: str
    content: _File

    @classmethod
    def read(cls, path: Path, systems: Sequence[System]) -> "Comparison":
        """Read and check it; a StoreError names the file and its mistake."""
        shown = path.relative_to(ROOT)
        try:
            content = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, ValidationError) as error:
            raise StoreError(f"{shown}: {_explain(error)}") from error
        known = {f"{one.name}/{stage}" for one in systems for stage in one.stages}
        names = {column.name for column in content.columns}
        for column in content.columns:
            if column.system not in {one.name for one in systems}:
                raise StoreError(f"{shown}: there is no system {column.system!r}")
        for row in content.rows:
            for column, stage in row.stages.items():
                if column not in names:
                    raise StoreError(f"{shown}: {row.label.en!r}: there is no column {column!r}")
                if stage not in known:
                    raise StoreError(f"{shown}: {row.label.en!r}: there is no stage {stage!r}")
        return cls(path.stem, content)

    def page(self, language: str) -> str:
        """The page; columns whose system has no report of its own are left out, and named."""
        words = WORDS[language]
        shown = [one for one in self.content.columns if _has_run(one.system)]
        absent = [one.name for one in self.content.columns if one not in shown]
        other, back = words["other"].format(self.name), words["back"]
        parts = [f"# {_in(self.content.title, language)}", f"{other} · {back}"]
        parts += [_in(self.content.introduction, language), f"## {words['changed']}"]
        changes = [f"| {one.name} | {_in(one.changed, language)} |" for one in shown]
        parts.append("\n".join([words["system"], "|---|---|", *changes]))
        if absent:
            parts.append(words["absent"].format(", ".join(absent)))
        header = "| " + "".join(f"| {_with_scale(one)} " for one in shown) + "|"
        lines, sources, apart = [header, "|---" + "|---:" * len(shown) + "|"], [], []
        for row in self.content.rows:
            found = {one.name: self._value(row, one.name) for one in shown}
            if not any(found.values()):
                continue
            label = _in(row.label, language)
            values = "".join(f"| {found[one.name] or '–'} " for one in shown)
            lines.append(f"| {label} {values}|")
            if _apart(list(found.values())):
                apart.append(label)
            used = [row.stages[name] for name, value in found.items() if value]
            links = ", ".join(f"[{stage}]({stage}.md)" for stage in dict.fromkeys(used))
            sources.append(f"* {label}: {links}")
        said = words["apart"].format("; ".join(apart)) if apart else words["together"]
        parts += [f"## {words['gained']}", "\n".join(lines), said]
        details = "\n".join(sources)
        parts.append(f"<details>\n<summary>{words['sources']}</summary>\n\n{details}\n\n</details>")
        return "\n\n".join(parts) + "\n"

    def _value(self, row: _Row, column: str) -> str:
        """The headline of the row's stage; "" if there is none."""
        if column not in row.stages or not (report := _report(row.stages[column])):
            return ""
        values = dict(report.headline)
        return next((values[name] for name in row.headlines if name in values), "")


def _apart(values: list[str]) -> bool:
    """Whether the intervals "(22%–61%)" of two values do not overlap; the last of "before → after"
    counts."""
    found = [INTERVAL.findall(value)[-1:] for value in values]
    bounds = [tuple(map(float, pair)) for pairs in found for pair in pairs]
    return bool(bounds) and max(low for low, _ in bounds) > min(high for _, high in bounds)


def _in(text: Text, language: str) -> str:
    return getattr(text, language)


def _report(page: str) -> Report | None:
    path = REPORTS / f"{page}.json"
    return Report.read(page.split("/")[0], path) if path.exists() else None


def _records(system: str) -> list[Report]:
    return [Report.read(system, path) for path in sorted((REPORTS / system).glob("*.json"))]


def _has_run(system: str) -> bool:
    return bool(_records(system))


def _with_scale(column: _Column) -> str:
    scales = dict.fromkeys(one.scale for one in _records(column.system))
    return f"{column.name}<br>({', '.join(scales)})"


def _explain(error: Any) -> str:
    if not isinstance(error, ValidationError):
        return f"not YAML: {error}"
    first = error.errors()[0]
    return ": ".join([*map(str, first["loc"]), first["msg"]])


def comparisons(systems: Sequence[System]) -> list[Comparison]:
    """All of them; raises a StoreError for a mistake in a file."""
    return [Comparison.read(path, systems) for path in sorted(FOLDER.glob("*.yaml"))]


def write(systems: Sequence[System]) -> None:
    """Write the page of each comparison, in both languages."""
    for one in comparisons(systems):
        for language, words in WORDS.items():
            write_text(REPORTS / f"{one.name}{words['suffix']}.md", one.page(language))
