"""Faces scored per second, vectorized and by loops: `python -m benchmarks.scores [COUNT]`.

The same scores of the same rendered faces in one process, compared value by value. Exit status 1 if
a value differs, or if the loop is less than 60 times slower.
"""

import sys
import time

import numpy as np
import pandas as pd

from benchmarks.plain_scores import plain_scores
from ohlora_lib.measure.scores import ALL, score
from ohlora_lib.toyworld import face

LEAST = 60
REPEATS = 20
PUBLISHED = {name: name for name in ALL if name != "hairstyle_whole_blocks"}


def main(count: int = 40) -> int:
    """Render, score twice, compare and print; the exit status."""
    faces = [face(0, index, 224) for index in range(count)]
    maps = np.stack([one.parse_map for one in faces]).astype(np.uint8)
    images = np.stack([one.image for one in faces])
    score(maps, images, PUBLISHED)
    # CPU time: other processes hardly affect it.
    start = time.process_time()
    for _ in range(REPEATS):
        ours = score(maps, images, PUBLISHED)
    fast = (time.process_time() - start) / REPEATS / count
    start = time.process_time()
    plain = [plain_scores(*pair) for pair in zip(maps, images, strict=True)]
    slow = (time.process_time() - start) / count
    same = np.allclose(ours, pd.DataFrame(plain)[list(PUBLISHED)], 1e-9, 1e-12, equal_nan=True)
    results = "the same results" if same else "NOT the same results"
    print(f"{count} faces, {len(PUBLISHED)} scores each, {results}")
    print(f"loop over pixels {1 / slow:8.1f} images/s ({1e3 * slow:.2f} ms an image)")
    print(f"batches          {1 / fast:8.1f} images/s ({1e3 * fast:.2f} ms an image)")
    print(f"{slow / fast:.0f} times as fast (required: {LEAST})")
    return 0 if same and slow >= LEAST * fast else 1


if __name__ == "__main__":
    sys.exit(main(*(int(value) for value in sys.argv[1:])))
