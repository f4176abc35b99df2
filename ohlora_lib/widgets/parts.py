"""What all widgets share: their module for the browser, and errors as one line."""

from pathlib import Path

FOLDER = Path(__file__).parent


def es_module(*names: str) -> str:
    """One ES module: the source files of these names, of which the last has the export."""
    return "\n".join((FOLDER / f"{name}.js").read_text() for name in names)


def one_line(error: Exception) -> str:
    """The error's message without line breaks."""
    return " ".join(str(error).split())
