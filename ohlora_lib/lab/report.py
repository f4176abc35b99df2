"""From an executed notebook to a Markdown page with its figures beside it."""

import base64
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbconvert.exporters import TemplateExporter
from traitlets.config import Config

from ohlora_lib.lab.options import ROOT
from ohlora_lib.lab.page import KEY
from ohlora_lib.lab.pipeline import Stage
from ohlora_lib.store.atomic import write_bytes, write_json, write_text

REPORTS = ROOT / "reports"
TEMPLATES = Path(__file__).parent / "templates"


class UnfinishedPage(Exception):
    """The executed notebook does not end with its sentinel."""


@dataclass(frozen=True)
class Page:
    """What an executed notebook says, ready to be written."""

    markdown: str
    with_code: str
    figures: dict[str, bytes]
    record: dict[str, object]


def told(notebook: nbformat.NotebookNode, what: str) -> list[dict]:
    """All that the notebook emitted of one kind: begin, figure, finding, end."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    notes = [output.get("metadata", {}).get(KEY, {}) for output in outputs]
    return [note[what] for note in notes if what in note]


def is_finished(notebook: nbformat.NotebookNode) -> bool:
    """Does the last code cell carry the sentinel that only `page.end()` leaves?"""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code:
        return False
    last = nbformat.from_dict({**notebook, "cells": code[-1:]})
    return bool(told(last, "end"))


def strip(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs between two runs of the same thing: times, ids, versions, streams."""
    keep = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook.metadata = nbformat.from_dict(keep)
    for number, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [_steady(output) for output in cell.outputs if _is_steady(output)]
    return notebook


def _is_steady(output: nbformat.NotebookNode) -> bool:
    return output.output_type != "stream" or output.name != "stderr"


def _steady(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    if "execution_count" in output:
        output.execution_count = None
    note = output.get("metadata", {}).get(KEY, {})
    if "end" in note:
        note["end"] = {}
    return output


def render(notebook: nbformat.NotebookNode, stage: Stage) -> Page:
    """Turn a finished notebook into its page. What it returns depends on the notebook alone."""
    if not is_finished(notebook):
        raise UnfinishedPage(f"{stage.notebook.relative_to(ROOT)} did not come to its last cell")
    figures: dict[str, bytes] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output["page"] = _show(output, stage, figures)
    begun, found = told(notebook, "begin")[-1:], told(notebook, "finding")[-1:]
    foot = _foot(stage, begun[0] if begun else {"origin": "—", "parameters": {}})
    return Page(
        markdown=_export(notebook, foot, finding=_found(notebook), with_code=False),
        with_code=_export(notebook, foot, finding=_found(notebook), with_code=True),
        figures=figures,
        record={
            "title": _title(notebook, stage.name),
            "notebook": foot["notebook"],
            "scale": stage.scale,
            "origin": foot["origin"],
            "finding": found[0] if found else {"sentence": "", "headline": [], "picture": ""},
            "figures": {f["name"]: f["alt"] for f in told(notebook, "figure")},
        },
    )


def _show(output: nbformat.NotebookNode, stage: Stage, figures: dict[str, bytes]) -> str:
    """One output as Markdown; a figure's picture is put into `figures` under its file name."""
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    data, note = output.get("data", {}), output.get("metadata", {}).get(KEY, {})
    if "figure" in note:
        figure = note["figure"]
        path = f"figures/{stage.name}/{figure['name']}.png"
        figures[path] = base64.b64decode(data["image/png"])
        alt, title = (figure[key].replace('"', "&quot;") for key in ("alt", "title"))
        image = f'<img src="{path}" alt="{alt}" title="{title}" width="{figure["width"]}">'
        return f"**{figure['title']}**\n\n{image}"
    if "finding" in note:
        return ""  # it stands at the top of the page
    if "text/markdown" in data:
        return data["text/markdown"]
    if "begin" in note or "end" in note or "text/plain" not in data:
        return ""
    return f"```text\n{data['text/plain']}\n```"


def _title(notebook: nbformat.NotebookNode, otherwise: str) -> str:
    lines = (
        line for c in notebook.cells if c.cell_type == "markdown" for line in c.source.split("\n")
    )
    return next((line[2:].strip() for line in lines if line.startswith("# ")), otherwise)


def _foot(stage: Stage, begun: dict) -> dict[str, str]:
    shown = {key: value for key, value in begun["parameters"].items() if key not in ("out", "seed")}
    return {
        "origin": begun["origin"],
        "scale": stage.scale,
        "seed": str(begun["parameters"].get("seed", "—")),
        "parameters": ", ".join(f"{key} = `{value}`" for key, value in shown.items()) or "—",
        "notebook": stage.notebook.relative_to(ROOT).as_posix(),
        "stage": stage.name,
        "system": stage.system,
    }


def _found(notebook: nbformat.NotebookNode) -> str:
    """The finding as the notebook shows it, in Markdown; empty if it has none."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [
        o.data["text/markdown"] for o in outputs if "finding" in o.get("metadata", {}).get(KEY, {})
    ]
    return shown[-1] if shown else ""


def _export(notebook: nbformat.NotebookNode, foot: dict, finding: str, with_code: bool) -> str:
    exporter = TemplateExporter(
        template_name="ohlora",
        template_file="index.md.j2",
        extra_template_basedirs=[str(TEMPLATES)],
        config=Config({"HighlightMagicsPreprocessor": {"enabled": False}}),
    )
    body, _ = exporter.from_notebook_node(
        notebook, {"with_code": with_code, "foot": foot, "finding": finding}
    )
    return re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def publish(page: Page, stage: Stage, with_code: bool, cost: dict[str, object]) -> Path:
    """Write the page into reports/SYSTEM/, figures first, and remove figures that it lost."""
    folder = REPORTS / stage.system
    for name, content in page.figures.items():
        write_bytes(folder / name, content)
    target = folder / f"{stage.name}.md"
    write_text(target, page.markdown)
    code_target = folder / f"{stage.name}.with_code.md"
    if with_code:
        write_text(code_target, page.with_code)
    else:
        code_target.unlink(missing_ok=True)  # it would tell of an older run
    write_json(folder / f"{stage.name}.json", {**page.record, **cost})
    for path in (folder / "figures" / stage.name).glob("*.png"):
        if path.relative_to(folder).as_posix() not in page.figures:
            path.unlink()
    return target
