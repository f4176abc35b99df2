"""What the terminal shows: one line per stage, alive while it runs."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass(frozen=True)
class StageLine:
    """The line of stage `number` of `count`."""

    number: int
    count: int
    name: str
    width: int

    def _head(self) -> str:
        return f"[{self.number}/{self.count}] {self.name:<{self.width}}"

    def done(self, text: str) -> None:
        """Print the line as it stays."""
        alive = sys.stdout.isatty()
        print(f"{chr(13) + chr(27) + '[K' if alive else ''}{self._head()}  {text}", flush=True)

    @contextmanager
    def running(self, why: str, expected: float | None) -> Iterator[None]:
        """Keep elapsed against expected time on the line, where a person watches."""
        stop = threading.Event()
        about = f" of about {clock(expected)}" if expected else ""
        began = time.monotonic()

        def tick() -> None:
            while not stop.wait(1):
                passed = clock(time.monotonic() - began)
                print(f"\r\x1b[K{self._head()}  {passed}{about}  ({why})", end="", flush=True)

        ticker = threading.Thread(target=tick, daemon=True)
        if sys.stdout.isatty():
            ticker.start()
        try:
            yield
        finally:
            stop.set()
            if ticker.ident:
                ticker.join()
                print("\r\x1b[K", end="", flush=True)
