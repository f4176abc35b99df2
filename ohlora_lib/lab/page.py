"""What a notebook says to its page: figures, sentences, its finding, and that it came to its end.

Everything is an ordinary Jupyter output that also reads well in JupyterLab; what the report writer
needs beside it travels in the output's metadata under the key `ohlora`.
"""

import base64
import resource
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.lab import figures
from ohlora_lib.lab.settings import Settings
from ohlora_lib.store.workfolder import claim

KEY = "ohlora"


def _emit(data: dict[str, str], metadata: dict[str, object]) -> None:
    display(data, metadata=metadata, raw=True)


def begin(settings: Settings, origin: str) -> Path:
    """Start the page: the folder to fill, with what this same work left there before.

    `origin` says where the data come from; it stands at the foot of the page.
    """
    figures.use_style()
    shell = get_ipython()
    if shell is not None:
        formatter = shell.display_formatter.formatters["text/markdown"]
        formatter.for_type(pd.DataFrame, markdown_table)
    given = asdict(settings)
    folder = claim(settings.out, given)
    _emit(
        {"text/plain": f"Data: {origin}"}, {KEY: {"begin": {"origin": origin, "parameters": given}}}
    )
    return folder


def show(picture: Figure | np.ndarray, name: str, alt: str, title: str) -> None:
    """Show a figure, or an RGB array (H, W, 3) uint8; `alt` says in words what can be seen."""
    content, width = figures.png(picture)
    if isinstance(picture, Figure):
        pyplot.close(picture)
    figure = {"name": name, "alt": alt, "title": title, "width": width}
    data = {"image/png": base64.b64encode(content).decode(), "text/plain": alt}
    _emit(data, {"image/png": {"width": width}, KEY: {"figure": figure}})


def say(sentence: str) -> None:
    """Put a sentence (Markdown), computed from a result, on the page."""
    _emit({"text/markdown": sentence, "text/plain": sentence}, {})


def finding(sentence: str, headline: dict[str, str], picture: str) -> None:
    """The page's one-sentence answer, its headline numbers and the name of its best figure.

    They stand on the page, in the index of all reports and in the README.
    """
    # Pairs, not a mapping: a notebook file does not keep a mapping's order.
    told = {"sentence": sentence, "headline": list(headline.items()), "picture": picture}
    numbers = "".join(f"\n> - {name}: **{value}**" for name, value in headline.items())
    _emit({"text/markdown": f"> **{sentence}**\n>{numbers}"}, {KEY: {"finding": told}})


def end() -> None:
    """The last cell of every notebook: without it the runner takes the page for unfinished."""
    _emit({"text/plain": "— end of the page —"}, {KEY: {"end": {"peak_mb": peak_mb()}}})


def peak_mb() -> int:
    """The most memory that this process, or any process it started, has held so far."""
    status = Path("/proc/self/status")
    # VmHWM is this program's own; ru_maxrss would count the launcher's before the program began.
    lines = status.read_text().splitlines() if status.exists() else []
    own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    own = own or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
    return round(max(own[0], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024)


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value).replace("|", "\\|")


def markdown_table(table: pd.DataFrame) -> str:
    """A DataFrame as a clean Markdown table; a plain row number is left out."""
    named = table.index.name is not None or not isinstance(table.index, pd.RangeIndex)
    shown = table.reset_index() if named else table
    sides = ["right" if pd.api.types.is_numeric_dtype(kind) else "left" for kind in shown.dtypes]
    texts = shown.astype(object).map(_cell)
    return texts.to_markdown(index=False, disable_numparse=True, colalign=sides)
