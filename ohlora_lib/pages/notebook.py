"""What a notebook calls to fill its page: start, show, say, fold, finding and end.

Everything is an ordinary Jupyter output that also reads well in JupyterLab. What the report writer
needs in addition is in the output's metadata under the key `ohlora`.
"""

import base64
import contextlib
import re
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib import pyplot
from matplotlib.figure import Figure
from pydantic_core import to_jsonable_python

from ohlora_lib.pages import figures
from ohlora_lib.pages.parameters import validate
from ohlora_lib.plots.sheets import COLUMN, Sheet
from ohlora_lib.plots.style import use_style
from ohlora_lib.store.workfolder import claim

KEY = "ohlora"
WEBP = "image/webp"
MISSING = "–"
PADDING, LETTER = 27, 10
"""CSS pixels of a table cell's margins, and at most of a letter, on GitHub."""
_shown: dict[str, str | None] = {}
"""Names of the pictures shown so far -> id of the cell that showed them."""


def _emit(data: dict[str, str], metadata: dict[str, object]) -> None:
    display(data, metadata=metadata, raw=True)


def start(namespace: dict[str, Any]) -> Path:
    """Check a notebook's parameters and start its page: `folder = start(globals())`.

    Returns the folder `out`. It still contains the files of an interrupted run with the same
    parameters, and nothing else.
    """
    parameters = to_jsonable_python(validate(namespace))
    use_style()
    _shown.clear()
    shell = get_ipython()
    if shell is not None:
        formatter = shell.display_formatter.formatters["text/markdown"]
        formatter.for_type(pd.DataFrame, markdown_table)
        formatter.for_type(pd.Series, lambda series: markdown_table(series.to_frame()))
    folder = claim(parameters["out"], parameters)
    note = {"parameters": parameters}
    _emit({"text/plain": f"Writes into {parameters['out']}"}, {KEY: {"start": note}})
    return folder


def show(picture: Figure | np.ndarray, name: str, alt: str, title: str) -> None:
    """Show a figure, or an RGB array (H, W, 3) uint8; `alt` describes it in words."""
    _claim_name(name)
    content, width = figures.webp(picture)
    if isinstance(picture, Figure):
        pyplot.close(picture)
    figure = {"name": name, "alt": alt, "title": title, "width": width}
    if isinstance(picture, Sheet):
        figure["face"] = picture.face
    data = {WEBP: base64.b64encode(content).decode(), "text/plain": alt}
    _emit(data, {WEBP: {"width": width}, KEY: {"figure": figure}})


def _claim_name(name: str) -> None:
    """Refuse a name that cannot be a file name, or that another picture of the page has."""
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"picture name {name!r}: use letters, digits, _ and - only")
    shell = get_ipython()
    # JupyterLab sends the cell's id (the runner does not): running a cell again is allowed.
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    if name in _shown and (cell is None or _shown[name] != cell):
        raise ValueError(
            f"this page already has a picture {name!r}: give each its own name, "
            "or run the notebook again from start() on"
        )
    _shown[name] = cell


def say(sentence: str) -> None:
    """Put a sentence (Markdown) on the page."""
    _emit({"text/markdown": sentence, "text/plain": sentence}, {})


def fold(title: str, *parts: str | pd.DataFrame) -> None:
    """Put texts (Markdown) and tables on the page, folded away under a title."""
    texts = [part if isinstance(part, str) else markdown_table(part) for part in parts]
    say("\n\n".join([f"<details><summary>{title}</summary>", *filter(None, texts), "</details>"]))


def finding(
    sentence: str,
    headline: dict[str, str],
    picture: str,
    limitation: str = "",
    listed: int | None = None,
    more: str = "More numbers",
    table: pd.DataFrame | None = None,
) -> None:
    """The page's one-sentence answer, its headline numbers, the name of its main figure, and what
    the answer does not say.

    They are shown at the top of the page; all but the limitation also in the index of all reports
    and in the README. Numbers after the first `listed` are folded away under the heading `more`,
    or, if there is a `table` of them, shown as this.
    """
    sentence, limitation = _one_line(sentence), _one_line(limitation)
    # Pairs, not a mapping: a notebook file does not keep a mapping's order.
    pairs = [(_one_line(name), _one_line(value)) for name, value in headline.items()]
    note = {"sentence": sentence, "headline": pairs, "picture": picture, "limitation": limitation}
    numbers = [f"- {name}: **{value}**" for name, value in pairs]
    shown, folded = numbers[:listed], numbers[len(numbers[:listed]) :]
    lines = [f"**{sentence}**", "", *shown]
    if table is not None:
        lines += ["", *markdown_table(table).split("\n")]
    elif folded:
        lines += ["", f"<details><summary>{more}</summary>", "", *folded, "", "</details>"]
    if limitation:
        lines += ["", f"**Limitation:** {limitation}"]
    text = "\n".join(f"> {line}".rstrip() for line in lines)
    _emit({"text/markdown": text}, {KEY: {"finding": note}})


def end() -> None:
    """The last cell of every notebook: without it the runner does not publish the page."""
    _emit({"text/plain": "— end of the page —"}, {KEY: {"end": {"peak_mb": peak_mb()}}})


def peak_mb() -> int:
    """The peak memory, in MB, of this process or of the largest process that it started."""
    # VmHWM is a program's own; ru_maxrss would count the launcher's before the program began.
    children = [
        number
        for path in Path("/proc/self/task").glob("*/children")
        for number in path.read_text().split()
    ]
    held = [_peak_kb(number) for number in ("self", *children)]
    held[0] = held[0] or _most_kb(resource.RUSAGE_SELF)
    return round(max(*held, _most_kb(resource.RUSAGE_CHILDREN)) / 1024)


def _most_kb(who: int) -> int:
    """Peak of this process, or of its largest child that has ended, in kB."""
    most = resource.getrusage(who).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most  # macOS counts bytes


def _peak_kb(process: str) -> int:
    """Peak of a running process in kB; 0 for one that has ended, or without /proc."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    return 0


def _one_line(text: object) -> str:
    """Text for a table cell: no line breaks, every | escaped."""
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(str(text).split()))


def _number(value: float) -> str:
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size == 0:
        return "0.000"  # whatever its sign
    return f"{value:.3f}" if size >= 0.001 else f"{value:.1e}"


def _cell(value: object) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return _number(value)
    return f"{value:,}" if isinstance(value, int | np.integer) else _one_line(value)


def _side(values: pd.Series | pd.Index) -> str:
    kinds = pd.api.types
    numbers = kinds.is_numeric_dtype(values.dtype) and not kinds.is_bool_dtype(values.dtype)
    return "right" if numbers else "left"


def _header(name: object) -> str:
    """A column's name; the levels of a MultiIndex are joined."""
    levels = name if isinstance(name, tuple) else (name,)
    return " · ".join(_one_line(level) for level in levels if level not in (None, ""))


def markdown_table(table: pd.DataFrame) -> str:
    """A DataFrame as a Markdown table; an unnamed integer index is omitted.

    One that is too wide for a page becomes several, one below the other, with the same index; rows
    without a value in one of them are left out there.
    """
    index = table.index
    counted = index.name is None and pd.api.types.is_integer_dtype(index.dtype)
    levels = [] if counted else [index.get_level_values(at) for at in range(index.nlevels)]
    columns = [*levels, *(table.iloc[:, at] for at in range(table.shape[1]))]
    texts = pd.DataFrame({at: [_cell(v) for v in column] for at, column in enumerate(columns)})
    texts.columns = [_header(column.name) for column in columns]
    sides = [_side(column) for column in columns]
    parts = _parts([_width(texts.iloc[:, at]) for at in range(len(columns))], len(levels))
    tables = []
    for part in parts:
        empty = (texts.iloc[:, part[len(levels) :]] == MISSING).all(axis=1)
        rows = texts[~empty] if len(parts) > 1 and not empty.all() else texts
        align = [sides[at] for at in part]
        tables.append(
            rows.iloc[:, part].to_markdown(index=False, disable_numparse=True, colalign=align)
        )
    return "\n\n".join(tables)


def _width(column: pd.Series) -> int:
    """About the CSS pixels that a column needs: its longest word, and its margins."""
    words = [word for text in (column.name, *column) for word in re.split(r"[\s-]+", text)]
    return PADDING + round(LETTER * max(map(len, words), default=0))


def _parts(widths: list[int], levels: int) -> list[list[int]]:
    """The columns in parts that fit a page, each after the columns of the index."""
    index, free = list(range(levels)), COLUMN - sum(widths[:levels])
    parts, left = [[]], free
    for at in range(levels, len(widths)):
        if widths[at] > left and parts[-1]:
            parts.append([])
            left = free
        parts[-1].append(at)
        left -= widths[at]
    return [index + part for part in parts]
