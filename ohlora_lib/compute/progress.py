"""Progress bars: live where a person watches, one final line in a headless run."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
HEADLESS = "OHLORA_HEADLESS"
"""The environment variable that the runner sets for its kernels."""


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items and show how far it is."""
    if os.environ.get(HEADLESS):
        done = 0
        for item in items:
            yield item
            done += 1
        # No time in it: the same run leaves the same output.
        print(f"{what}: {done} done", file=sys.stderr)
    else:
        from tqdm.auto import tqdm

        yield from tqdm(items, desc=what, total=total)
