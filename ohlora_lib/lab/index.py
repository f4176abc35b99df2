"""The index of all reports, and the README's results: both from the records beside the pages.

`python -m ohlora_lib.lab.index` writes them; the runner does so after every run.
"""

import json
from dataclasses import dataclass

from ohlora_lib.lab import options
from ohlora_lib.lab.options import ROOT
from ohlora_lib.lab.pipeline import Pipeline
from ohlora_lib.lab.terminal import clock
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_text

REPORTS = ROOT / "reports"
READMES = ("README.md", "README.ko.md")
BEGIN = "<!-- results: written by the runner, not by hand -->"
END = "<!-- results end -->"


@dataclass(frozen=True)
class Report:
    """One page's record."""

    system: str
    stage: str
    record: dict

    @property
    def sentence(self) -> str:
        """What was found."""
        return self.record["finding"]["sentence"]

    def image(self, base: str, width: int) -> str:
        """Its chosen picture as HTML, linked to the page; empty if it has none."""
        name = self.record["finding"]["picture"]
        if not name:
            return ""
        alt = self.record["figures"][name].replace('"', "&quot;")
        source = f"{base}{self.system}/figures/{self.stage}/{name}.png"
        page = f"{base}{self.system}/{self.stage}.md"
        return f'<a href="{page}"><img src="{source}" alt="{alt}" width="{width}"></a>'


def reports(pipeline: Pipeline) -> list[Report]:
    """The pages that a system has, in its stages' order."""
    found = []
    for stage in pipeline.stages:
        path = REPORTS / pipeline.system / f"{stage.name}.json"
        if path.exists():
            try:
                record = json.loads(path.read_text())
            except ValueError as error:
                raise StoreError(f"{path} is damaged: run that stage with --force") from error
            found.append(Report(pipeline.system, stage.name, record))
    return found


def systems() -> list[tuple[Pipeline, list[Report]]]:
    """Every system that has a page."""
    pipelines = [Pipeline.load(name, "quick") for name in options.systems()]
    return [(one, pages) for one in pipelines if (pages := reports(one))]


def index_page() -> str:
    """reports/README.md."""
    parts = ["# Reports\n\nEvery page was written by a run of its notebook; "]
    parts[0] += "no figure on it was typed by hand.\n"
    for pipeline, pages in systems():
        parts.append(f"## {pipeline.title}\n\n{pipeline.summary}\n\n{_stages(pages)}\n")
        parts.append(_headlines(pages, ""))
        parts.append(" ".join(image for one in pages if (image := one.image("", 400))) + "\n")
    return "\n".join(parts)


def _stages(pages: list[Report]) -> str:
    rows = ["| stage | what it found | scale | time | memory |", "|---|---|---|---:|---:|"]
    for one in pages:
        cost = f"{clock(one.record['seconds'])} | {one.record['peak_mb']:,} MB"
        link = f"[{one.stage}]({one.system}/{one.stage}.md)"
        rows.append(f"| {link} | {one.sentence} | {one.record['scale']} | {cost} |")
    return "\n".join(rows)


def _headlines(pages: list[Report], base: str) -> str:
    rows = ["| headline | | from |", "|---|---:|---|"]
    for one in pages:
        link = f"[{one.stage}]({base}{one.system}/{one.stage}.md)"
        rows += [f"| {n} | {v} | {link} |" for n, v in one.record["finding"]["headline"]]
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def results() -> str:
    """What stands between the README's markers. No durations: it changes only with the results."""
    parts = []
    for pipeline, pages in systems():
        scales = ", ".join(dict.fromkeys(one.record["scale"] for one in pages))
        parts.append(f"### {pipeline.title} ({scales} scale)\n")
        parts.append(
            " ".join(image for one in pages if (image := one.image("reports/", 260))) + "\n"
        )
        parts.append(_headlines(pages, "reports/"))
        parts += [f"* [{p.stage}](reports/{p.system}/{p.stage}.md): {p.sentence}" for p in pages]
        parts.append("")
    return "\n".join(parts)


def with_results(text: str, name: str) -> str:
    """A README's text with its results brought up to date."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise StoreError(f"{name} must have the lines '{BEGIN}' and '{END}' once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{results()}\n{END}{rest.split(END)[1]}"


def write() -> None:
    """Write the index, and the READMEs whose results changed."""
    write_text(REPORTS / "README.md", index_page())
    for name in READMES:
        path = ROOT / name
        text = path.read_text()
        fresh = with_results(text, name)
        if fresh != text:
            write_text(path, fresh)


if __name__ == "__main__":
    write()
