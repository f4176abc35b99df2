"""The index of all reports, and the README's results: both from the records beside the pages.

`python -m ohlora_lib.pages.index` writes them; the runner does so after every run.
"""

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ohlora_lib.runner import options
from ohlora_lib.runner.options import ROOT
from ohlora_lib.runner.pipeline import Pipeline
from ohlora_lib.runner.terminal import clock
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import write_text

REPORTS = ROOT / "reports"
READMES = ("README.md", "README.ko.md")
BEGIN = "<!-- {}: written by the runner, not by hand -->"
END = "<!-- {} end -->"


@dataclass(frozen=True)
class Report:
    """What the record beside a page says."""

    system: str
    stage: str
    scale: str
    cost: str
    sentence: str
    headline: list[tuple[str, str]]
    alt: str
    picture: str
    """The chosen picture's file, from the system's folder; empty if there is none."""

    @classmethod
    def read(cls, system: str, path: Path) -> "Report":
        """Read a record; a damaged one is a StoreError that names it."""
        try:
            record = json.loads(path.read_text())
            found = record["finding"]
            figure = record["figures"].get(found["picture"], {"alt": "", "file": ""})
            return cls(
                system=system,
                stage=path.stem,
                scale=record["scale"],
                cost=f"{clock(record['seconds'])} | {record['peak_mb']:,} MB",
                sentence=found["sentence"],
                headline=[(name, value) for name, value in found["headline"]],
                alt=figure["alt"],
                picture=figure["file"],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path} is damaged: delete it and run again") from error

    def page(self, base: str) -> str:
        """The page's address."""
        return f"{base}{self.system}/{self.stage}.md"

    def image(self, base: str, width: int) -> str:
        """Its chosen picture as HTML, linked to the page; empty if it has none."""
        if not self.picture:
            return ""
        source = f"{base}{self.system}/{self.picture}"
        image = f'<img src="{source}" alt="{escape(self.alt)}" width="{width}">'
        return f'<a href="{self.page(base)}">{image}</a>'


def reports(pipeline: Pipeline) -> list[Report]:
    """The pages that a system has, in its own stages' order."""
    paths = [REPORTS / pipeline.system / f"{stage.name}.json" for stage in pipeline.own]
    return [Report.read(pipeline.system, path) for path in paths if path.exists()]


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
        parts.append(_headlines(pages))
        parts.append(" ".join(image for one in pages if (image := one.image("", 400))) + "\n")
    return "\n".join(parts)


def _stages(pages: list[Report]) -> str:
    rows = ["| stage | what it found | scale | time | memory |", "|---|---|---|---:|---:|"]
    for one in pages:
        link = f"[{one.stage}]({one.page('')})"
        rows.append(f"| {link} | {one.sentence} | {one.scale} | {one.cost} |")
    return "\n".join(rows)


def _headlines(pages: list[Report]) -> str:
    rows = ["| headline | | from |", "|---|---:|---|"]
    for one in pages:
        link = f"[{one.stage}]({one.page('')})"
        rows += [f"| {name} | {value} | {link} |" for name, value in one.headline]
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


PUBLISHED = (
    ("women among the faces, before and after FineTune-v1", "55.6% → 93.7%",
     "ohlora_v3", "05_finetune_v1", "female"),
    ("images that pass all four cutoffs (theirs are stricter)", "4,930 of 13,000 (37.9%)",
     "ohlora_v3", "02_label_and_filter_v1", "images kept"),
    ("accuracy of the eyes' SVMs", "0.9634", "ohlora_v3", "07_find_vectors", "SVM accuracy, eyes"),
    ("accuracy of the mouth's SVMs", "0.9932",
     "ohlora_v3", "07_find_vectors", "SVM accuracy, mouth"),
    ("accuracy of the pose's SVMs", "0.9896", "ohlora_v3", "07_find_vectors", "SVM accuracy, pose"),
    ("latents that steer at .92/.88/.92, `svm` as published (v8)", "16 of 2,000 (0.8%)",
     "steering", "08_test_vectors", "svm, CNN"),
    ("the same, on the independent meter", "–",
     "steering", "08_test_vectors", "svm, independent meter"),
    ("`svm, steps`", "–", "steering", "08_test_vectors", "svm, steps, CNN"),
    ("the same, on the independent meter", "–",
     "steering", "08_test_vectors", "svm, steps, independent meter"),
    ("`ridge scene, measured, steps, recenterd`", "–",
     "steering", "08_test_vectors", "ridge scene, measured, steps, recenterd, CNN"),
    ("the same, on the independent meter", "–",
     "steering", "08_test_vectors", "ridge scene, measured, steps, recenterd, independent meter"),
)  # fmt: skip
"""What is measured; the published figure; system, stage and name of ours."""


def results() -> str:
    """What stands between the README's markers. No durations: it changes only with the results."""
    parts = [_beside_published()]
    for pipeline, pages in systems():
        scales = ", ".join(dict.fromkeys(one.scale for one in pages))
        parts.append(f"### {pipeline.title} ({scales} scale)\n\n{pipeline.summary}\n")
        if pipeline.system == options.DEFAULT_SYSTEM:
            parts.append(" ".join(one.image("reports/", 200) for one in pages if one.picture))
            parts.append("")
        parts += [f"* [{p.stage}]({p.page('reports/')}): {p.sentence}" for p in pages]
        parts.append("")
    return "\n".join(parts)


def _beside_published() -> str:
    """The table of our figures beside the published ones; empty before any of them is there."""
    pages = {(one.system, one.stage): one for _, there in systems() for one in there}
    rows = []
    for what, published, system, stage, name in PUBLISHED:
        if (one := pages.get((system, stage))) and (value := dict(one.headline).get(name)):
            link = f"[{system}/{stage}]({one.page('reports/')})"
            rows.append(f"| {what} | {published} | {value} | {link} |")
    if not rows:
        return ""
    head = "| | published: celeba faces | here: toy world | from |\n|---|---:|---:|---|\n"
    return head + "\n".join(rows) + "\n"


def picture() -> str:
    """The picture at the README's top: the default system's latest that it chose for its index."""
    shown = [
        image
        for pipeline, pages in systems()
        if pipeline.system == options.DEFAULT_SYSTEM or len(options.systems()) == 1
        for one in pages
        if (image := one.image("reports/", 860))
    ]
    return "".join(f"{image}\n" for image in shown[-1:])


def with_results(text: str, name: str) -> str:
    """A README's text with its picture and its results brought up to date."""
    for block, content in (("picture", picture()), ("results", results())):
        begin, end = BEGIN.format(block), END.format(block)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise StoreError(f"{name} must have the lines '{begin}' and '{end}' once each")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{content}\n{end}{rest.split(end)[1]}"
    return text


def check() -> None:
    """Refuse, before a long run, what would keep `write` from working at its end."""
    index_page()
    for name in READMES:
        with_results((ROOT / name).read_text(), name)


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
