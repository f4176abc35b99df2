"""Faces rendered per second of CPU time: `python -m benchmarks.renderer [SIZE] [COUNT]`."""

import sys
import time

from ohlora_lib.toyworld import face


def main(size: int = 128, count: int = 100) -> None:
    """Render `count` faces of `size` pixels and print the rate."""
    face(0, 0, size)
    start = time.process_time()
    for index in range(count):
        face(1, index, size)
    seconds = time.process_time() - start
    print(f"{count / seconds:.1f} faces/s at {size} px ({1e3 * seconds / count:.1f} ms per face)")


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
