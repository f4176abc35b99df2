"""papermill, with its traps closed: what it is given, and what its errors mean to a person."""

import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from ohlora_lib.store import ROOT

COLORS = re.compile(r"\x1b\[[0-9;]*m")
LAST_LINES = 8
# It calls parameters unknown whose annotations it cannot read; `notebook.check` has checked them.
logging.getLogger("papermill").setLevel(logging.ERROR)


@contextmanager
def private_sockets() -> Iterator[Config]:
    """How to start a kernel that is reached through sockets in a folder of this user's own.

    On TCP, the default, every user of the machine could read along.
    """
    # A socket's path has 107 characters at most: not below a long TMPDIR.
    with tempfile.TemporaryDirectory(prefix="ohlora-", dir="/tmp") as folder:
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def execute(source: Path, target: Path, parameters: dict[str, object]) -> str | None:
    """Run a notebook into `target`; None, or what went wrong in a few lines.

    `target` proves nothing by itself: after a kill papermill leaves cells marked as completed in
    it. The caller looks for the last cell's sentinel.
    """
    name = source.relative_to(ROOT)
    try:
        with warnings.catch_warnings(), private_sockets() as config:
            warnings.simplefilter("ignore")  # papermill's own; a notebook's stay in its outputs
            papermill.execute_notebook(
                source,
                target,
                parameters,
                kernel_name="python3",
                language="python",
                cwd=ROOT,
                progress_bar=False,
                coalesce_streams=True,
                shutdown_kernel="immediate",  # its last cell has run: nothing is left to wait for
                config=config,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # or it chats at shutdown
            )
    except DeadKernelError:
        return f"{name}: its kernel died: killed, or out of memory"
    except RuntimeError as error:  # jupyter_client's word for a kernel that does not start
        return f"{name}: its kernel did not start: {error}"
    except PapermillExecutionError as error:
        return _explain(name, error, target)
    return None


def _explain(name: Path, error: PapermillExecutionError, target: Path) -> str:
    """The notebook, the cell, the exception and the last lines of output."""
    # Counted from 0 and with the injected parameters' cell: from 1 and without it is the same.
    lines = [f"{name}, cell {error.cell_index}: {error.ename}: {error.evalue}"]
    lines += [f"    {line}" for line in error.source.strip().splitlines()[:LAST_LINES]]
    last = _last_output(target)
    if last:
        lines += ["  its last lines of output:", *(f"    {line}" for line in last)]
    return "\n".join(COLORS.sub("", line) for line in lines)


def _last_output(target: Path) -> list[str]:
    import nbformat

    streams = [
        output.text
        for cell in nbformat.read(target, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    ]
    return "".join(streams).strip().splitlines()[-LAST_LINES:]
