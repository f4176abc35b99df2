"""Execute a notebook with papermill, and turn its errors into a few readable lines."""

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
# It warns of annotations that it cannot read, such as Int(1, 9); `notebook.check` has checked them.
logging.getLogger("papermill").setLevel(logging.ERROR)


@contextmanager
def private_sockets() -> Iterator[Config]:
    """A configuration whose kernels use Unix sockets in a folder of this user.

    On TCP, the default, every user of the machine could connect to them.
    """
    # A socket's path has at most 107 characters, so it cannot lie below a long TMPDIR.
    with tempfile.TemporaryDirectory(prefix="ohlora-", dir="/tmp") as folder:
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def execute(source: Path, target: Path, parameters: dict[str, object]) -> str | None:
    """Run a notebook into `target`; returns None, or a few lines on what went wrong.

    `target` alone does not prove success: after a kill papermill leaves cells marked as completed.
    The caller checks that the last cell called end().
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
                shutdown_kernel="immediate",  # after the last cell there is nothing to wait for
                config=config,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # no messages at shutdown
            )
    except DeadKernelError:
        return f"{name}: its kernel died (killed, or out of memory)"
    except RuntimeError as error:  # jupyter_client raises it for a kernel that does not start
        return f"{name}: its kernel did not start: {error}"
    except PapermillExecutionError as error:
        return _explain(name, error, target)
    return None


def _explain(name: Path, error: PapermillExecutionError, target: Path) -> str:
    """The notebook, the cell, the exception and the last lines of output."""
    # Counted from 0 with the injected parameters' cell, which is the same as from 1 without it.
    lines = [f"{name}, cell {error.cell_index}: {error.ename}: {error.evalue}"]
    lines += [f"    {line}" for line in error.source.strip().splitlines()[:LAST_LINES]]
    last = _last_output(target)
    if last:
        lines += ["  last lines of output:", *(f"    {line}" for line in last)]
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
