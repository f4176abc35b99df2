"""How long finding directions takes: `python -m benchmarks.directions [--images N] [--letters L]`.

Made-up vectors (N, 512), memory-mapped, of decaying variance around a mean that is not 0, as w's;
scores that follow planted directions with some noise, so that SVMs are right about as often as the
published ones (96 to 99 %). With the defaults, VectorFind-v8's size: 240,000 vectors, 4 letters, 16
groups, 48 SVMs. Exit status 1 when those take more than 6 minutes or 6 GB, or a direction is not as
planted.
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
"""Of a score's variance by the vector."""
DEVIATIONS = np.arange(1, SIZE + 1) ** -0.5
"""Of the vectors' coordinates."""


def made_up(path: Path, count: int) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Vectors on disk, their scores, and the directions (3, D) that those follow."""
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
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def agreement(arrows: np.ndarray, truth: np.ndarray) -> float:
    """Directions (G, 3, D) and planted ones (3, D), as read-outs: their smallest correlation."""
    mine, theirs = arrows * DEVIATIONS, truth * DEVIATIONS
    lengths = np.linalg.norm(mine, axis=2) * np.linalg.norm(theirs, axis=1)
    return float(((mine * theirs).sum(axis=2) / lengths).min())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=240_000)
    parser.add_argument("--letters", type=int, default=4, help="of a group's name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        vectors, scores, truth = made_up(Path(folder) / "w.npy", options.images)
        grouping = median_grouping(scores, GROUP_PROPERTIES[: options.letters])
        before = gigabytes()
        start, used = time.perf_counter(), time.process_time()
        arrows, report = fit_svm(vectors, scores, grouping)
        seconds, used = time.perf_counter() - start, time.process_time() - used
        least = agreement(arrows.vectors, truth)
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
