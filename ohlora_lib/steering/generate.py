"""Many images of one generator on disk, made in shards so that an interrupted run resumes."""

import math
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import single_threaded, workers
from ohlora_lib.steering.sampling import BLOCK, Sampler, latents
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.work import keep_work


def random_labels(seed: int, indices: np.ndarray, size: int) -> np.ndarray:
    """Labels for a conditional generator, (N, size) from N(0, 1), as the published code draws them.

    The random stream depends on the seed and the label's size, and is not the one of z.
    """
    stream = np.random.SeedSequence([seed, size]).generate_state(1)[0]
    return latents(int(stream), indices, size)


def generate_images(sampler: Sampler, w: np.ndarray, folder: Path) -> ImageSet:
    """Generate the images of w (N, 512) into `folder`/images, on worker processes if on a CPU.

    Images of the same w by the same generator are kept: finished ones, and shards that an
    interrupted run has finished.
    """
    images, parts = ImageSet(folder / "images"), folder / "images" / "parts"
    keep_work(images.folder, "images", __name__, {"generator": sampler.generator, "w": w})
    shards = [range(start, min(start + BLOCK, len(w))) for start in range(0, len(w), BLOCK)]
    jobs = [Job(parts / f"{shard.start:06d}.txt", shard) for shard in shards]
    if not images.is_complete:
        work = partial(single_threaded, _generate_shard, sampler, images, w)
        with workers(sampler.device) as pool:
            run_jobs(work, jobs, "shards of images", pool)
        images.finish(pd.DataFrame({"index": np.arange(len(w))}))
    shutil.rmtree(parts, ignore_errors=True)
    return images


def _generate_shard(
    sampler: Sampler, images: ImageSet, w: np.ndarray, rows: range, done: Path
) -> None:
    images.write(rows, sampler.images(w[rows.start : rows.stop]))
    done.write_text(f"images {rows.start} to {rows.stop - 1}\n")


def images_per_second(sampler: Sampler, w: np.ndarray, seconds: float = 0.5) -> float:
    """How many images of w (N, 512) the generator makes per second, by repeating it."""
    sampler.images(w)  # warm-up: the first call takes longer
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        sampler.images(w)
        count += len(w)
    return count / elapsed


def round_down(rate: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50, ... up to `rate`: mostly the same when measured again."""
    step = 10 ** math.floor(math.log10(rate))
    return max(k * step for k in (1, 2, 5) if k * step <= rate)
