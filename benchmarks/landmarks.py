"""Time of the external judge per face on one thread: `python -m benchmarks.landmarks`."""

import statistics
import sys
import time

import numpy as np

from ohlora_lib.measure.landmarks import load_judge
from ohlora_lib.toyworld.renderer import face

FACES, REPEATS = 20, 9


def main() -> int:
    judge = load_judge()
    if judge is None:
        print("the judge is missing: python -m ohlora_lib.checkpoints fetch landmarks")
        return 1
    images = np.stack([face(seed=1, index=index).image for index in range(FACES)])
    judge(images[:2])  # opens the file
    times = []
    for _ in range(REPEATS):
        start = time.thread_time()
        judge(images)
        times.append(1000 * (time.thread_time() - start) / FACES)
    print(f"{statistics.median(times):.1f} ms per face (median of {REPEATS}, {FACES} faces each)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
