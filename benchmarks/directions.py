"""Time and memory of fitting directions: `python -m benchmarks.directions [--images N]`.

Synthetic vectors (N, 512), memory-mapped, with decaying variance and a nonzero mean like those of
w, and scores that follow planted directions with noise, so that the SVMs are about as accurate as
the published ones (96 to 99 %). The defaults have the size of VectorFind-v8: 240,000 vectors, 16
groups, 48 SVMs. Exit status 1 if the SVMs take more than 6 minutes or 6 GB, or a direction differs
from the planted one.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION, GROUP_PROPERTIES
from ohlora_lib.steering.groups import median_grouping
from ohlora_lib.steering.ridge import fit_ridge
from ohlora_lib.steering.svm import fit_svm, overall_accuracy

SIZE = 512
SECONDS, GIGABYTES = 360, 6
EXPLAINED = 0.85
"""Part of a score's variance that the vector determines."""
DEVIATIONS = np.arange(1, SIZE + 1) ** -0.5
"""Standard deviations of the vectors' coordinates."""


def synthetic(path: Path, count: int) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Vectors on disk, their scores, and the directions (3, D) that the scores follow."""
    rng = np.random.default_rng(0)
    names = (*EXPRESSION, *GROUP_PROPERTIES)
    mean = rng.standard_normal(SIZE)
    planted = np.linalg.qr(rng.standard_normal((SIZE, len(names))))[0]
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (count, SIZE))
    scores = np.empty((count, len(names)))
    for start in range(0, count, 10_000):
        rows = slice(start, min(start + 10_000, count))
        white = rng.standard_normal((rows.stop - start, SIZE))
        vectors[rows] = (white + mean) * DEVIATIONS
        noise = rng.standard_normal((len(white), len(names)))
        scores[rows] = EXPLAINED**0.5 * white @ planted + (1 - EXPLAINED) ** 0.5 * noise
    vectors.flush()
    truth = planted[:, : len(EXPRESSION)].T / DEVIATIONS
    return np.load(path, mmap_mode="r"), pd.DataFrame(scores, columns=names), truth


def gigabytes() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def agreement(directions: np.ndarray, truth: np.ndarray) -> float:
    """Directions (G, 3, D) and planted ones (3, D) as readouts: their smallest correlation."""
    mine, theirs = directions * DEVIATIONS, truth * DEVIATIONS
    lengths = np.linalg.norm(mine, axis=2) * np.linalg.norm(theirs, axis=1)
    return float(((mine * theirs).sum(axis=2) / lengths).min())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=240_000)
    parser.add_argument("--group-bits", type=int, default=4, help="properties that define groups")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        vectors, scores, truth = synthetic(Path(folder) / "w.npy", options.images)
        grouping = median_grouping(scores, GROUP_PROPERTIES[: options.group_bits])
        before = gigabytes()
        start, used = time.perf_counter(), time.process_time()
        directions, report = fit_svm(vectors, scores, grouping)
        seconds, used = time.perf_counter() - start, time.process_time() - used
        least = agreement(directions.vectors, truth)
        print(f"{len(report)} SVMs on {options.images} x {SIZE}: {seconds:.1f} s (at most "
              f"{SECONDS}; {used:.1f} s of processor time), {gigabytes():.2f} GB (at most "
              f"{GIGABYTES}; {before:.2f} before)")  # fmt: skip
        accuracy = ", ".join(f"{n} {v:.4f}" for n, v in overall_accuracy(report).items())
        print(f"accuracy {accuracy}; correlation with the planted directions at least {least:.3f}")
        start = time.perf_counter()
        fit_ridge(vectors, scores, grouping)
        print(f"ridge, all images and each group: {time.perf_counter() - start:.1f} s, "
              f"{gigabytes():.2f} GB")  # fmt: skip
    return 0 if seconds <= SECONDS and gigabytes() <= GIGABYTES and least >= 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
