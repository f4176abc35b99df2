"""Progress bars: live in a terminal or notebook, one final line in a headless run."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
HEADLESS = "OHLORA_HEADLESS"
"""The environment variable that the runner sets for its kernels."""


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items and show progress under the label `what`."""
    if os.environ.get(HEADLESS):
        done = 0
        for item in items:
            yield item
            done += 1
        # No timing: the same run must give the same page.
        print(f"{what}: {done} done", file=sys.stderr)
    else:
        from tqdm.auto import tqdm

        yield from tqdm(items, desc=what, total=total)
