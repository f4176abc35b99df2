"""From an executed notebook to a Markdown page with its figures beside it."""

import base64
import re
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path

import nbformat
from nbconvert.exporters import TemplateExporter
from traitlets.config import Config

from ohlora_lib.pages.index import BEGIN, END
from ohlora_lib.pages.notebook import KEY, WEBP
from ohlora_lib.store import ROOT
from ohlora_lib.store.atomic import write_bytes, write_json, write_text

REPORTS = ROOT / "reports"
TEMPLATES = Path(__file__).parent / "templates"
ENDS = 20
"""Number of lines shown at the start and at the end of a long printout."""
WIDGET = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r"<.* at 0x[0-9a-f]+>")


class PageError(Exception):
    """An output that cannot be put on a page; the message names the cell and the remedy."""


@dataclass(frozen=True)
class Source:
    """What a page reports on; `notebook` is a path below the repository's root, `title` that of the
    system, and `files` lie in reports/, to be downloaded."""

    system: str
    stage: str
    scale: str
    notebook: str
    title: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """The contents of a page, ready to be written."""

    notebook: nbformat.NotebookNode
    title: str
    foot: dict[str, str]
    figures: dict[str, bytes]
    record: dict[str, object]

    def markdown(self, with_code: bool = False) -> str:
        """The page's text."""
        exporter = TemplateExporter(
            template_name="ohlora",
            template_file="index.md.j2",
            extra_template_basedirs=[str(TEMPLATES)],
            config=Config({"HighlightMagicsPreprocessor": {"enabled": False}}),
        )
        question, introduction = _opening(self.notebook)
        given = {
            "with_code": with_code,
            "title": self.title,
            "question": question,
            "introduction": introduction,
            "links": f"{BEGIN.format('links')}\n\n{END.format('links')}",
            "foot": self.foot,
            "finding": _found(self.notebook),
        }
        body, _ = exporter.from_notebook_node(self.notebook, given)
        return re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def emitted(notebook: nbformat.NotebookNode, what: str) -> list[dict]:
    """Everything that the notebook emitted of one kind: start, figure, finding or end."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    notes = [output.get("metadata", {}).get(KEY, {}) for output in outputs]
    return [note[what] for note in notes if what in note]


def is_finished(notebook: nbformat.NotebookNode) -> bool:
    """Whether the last code cell called end()."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code:
        return False
    last = nbformat.from_dict({**notebook, "cells": code[-1:]})
    return bool(emitted(last, "end"))


def strip(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs between two equal runs: times, ids, versions, stderr."""
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


def render(notebook: nbformat.NotebookNode, source: Source) -> Page:
    """Turn a finished notebook into its page, which depends on the notebook only."""
    name = source.notebook
    figures: dict[str, bytes] = {}
    # Counted from 0 and with the injected parameters' cell: from 1 and without it is the same.
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            try:
                output["page"] = _show(output, source, figures)
            except PageError as error:
                raise PageError(f"{name}, cell {number}: {error}") from None
    started, found = emitted(notebook, "start")[-1:], emitted(notebook, "finding")[-1:]
    finding = found[0] if found else {"sentence": "", "headline": [], "picture": ""}
    kept = ("alt", "file", "width", "face")
    shown = {
        f["name"]: {key: f[key] for key in kept if key in f} for f in emitted(notebook, "figure")
    }
    if finding["picture"] and finding["picture"] not in shown:
        raise PageError(
            f"{name}: the finding's picture {finding['picture']!r} is not on the page: "
            f"give the name of a shown one ({', '.join(shown) or 'there is none'}) or ''"
        )
    return Page(
        notebook=notebook,
        title=f"{source.title or source.system} · {source.stage} · {source.scale} scale",
        foot=_foot(source, started[0]["parameters"] if started else {}),
        figures=figures,
        record={"scale": source.scale, "finding": finding, "figures": shown},
    )


def _show(output: nbformat.NotebookNode, source: Source, figures: dict[str, bytes]) -> str:
    """One output as Markdown; a picture is added to `figures` under its file name."""
    if output.output_type == "stream":
        return _fenced(_ends(output.text.rstrip()))
    data, note = output.get("data", {}), output.get("metadata", {}).get(KEY, {})
    if "figure" in note:
        return _figure(note["figure"], base64.b64decode(data[WEBP]), source, figures)
    if "start" in note or "end" in note or "finding" in note or WIDGET in data:
        return ""  # a finding is shown at the top of the page; a widget needs its kernel
    if any(kind.startswith("image/") for kind in data):
        raise PageError("a picture without a name and alt text: use show()")
    if "text/markdown" in data:
        return data["text/markdown"]
    text = data.get("text/plain", "")
    if found := ADDRESS.search(text):
        raise PageError(f"its output {found[0]} differs in every run: print something else")
    return _fenced(text)


def _figure(figure: dict, content: bytes, source: Source, figures: dict[str, bytes]) -> str:
    # Named by its content, so that a killed run does not overwrite pictures of the older page.
    path = f"figures/{source.stage}/{figure['name']}-{sha256(content).hexdigest()[:8]}.webp"
    figures[path] = content
    figure["file"] = path
    alt, title = escape(figure["alt"]), escape(figure["title"])
    image = f'<img src="{path}" alt="{alt}" title="{title}" width="{figure["width"]}">'
    return f"**{figure['title']}**\n\n{image}"


def _ends(text: str) -> str:
    """The first and last lines of a long printout."""
    lines = text.split("\n")
    if len(lines) <= 2 * ENDS:
        return text
    left_out = f"… {len(lines) - 2 * ENDS:,} lines omitted …"
    return "\n".join([*lines[:ENDS], left_out, *lines[-ENDS:]])


def _fenced(text: str) -> str:
    """Text as a code block that may itself contain backticks; "" for no text."""
    if not text:
        return ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _foot(source: Source, parameters: dict) -> dict[str, str]:
    shown = {key: value for key, value in parameters.items() if key not in ("out", "seed")}
    return {
        "scale": source.scale,
        "seed": str(parameters.get("seed", "—")),
        "parameters": ", ".join(f"{k} = `{v if v != '' else repr(v)}`" for k, v in shown.items())
        or "—",
        "notebook": source.notebook,
        "stage": source.stage,
        "system": source.system,
        "files": ", ".join(f"[{Path(name).name}](../{name})" for name in source.files),
    }


def _opening(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """The question of the notebook's title without its number, and the text below; "" if none."""
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown":
        return "", ""
    title, _, text = first.source.partition("\n")
    if not title.startswith("# "):
        return "", first.source
    return re.sub(r"^# (\d+ · )?", "", title), text.strip()


def _found(notebook: nbformat.NotebookNode) -> str:
    """The finding in Markdown; "" if the notebook has none."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [
        o.data["text/markdown"] for o in outputs if "finding" in o.get("metadata", {}).get(KEY, {})
    ]
    return shown[-1] if shown else ""


def publish(page: Page, source: Source, with_code: bool) -> Path:
    """Write the page into reports/SYSTEM/: figures first, then the page; last, remove old figures.

    If this is interrupted at any point, the page that is there has all its figures.
    """
    folder = REPORTS / source.system
    for name, content in page.figures.items():
        write_bytes(folder / name, content)
    target = folder / f"{source.stage}.md"
    write_text(target, page.markdown())
    code_target = folder / f"{source.stage}.with_code.md"
    if with_code:
        write_text(code_target, page.markdown(with_code=True))
    else:
        code_target.unlink(missing_ok=True)  # it would show an older run
    write_json(folder / f"{source.stage}.json", page.record)
    for path in (folder / "figures" / source.stage).glob("*"):
        if path.relative_to(folder).as_posix() not in page.figures:
            path.unlink()
    return target
