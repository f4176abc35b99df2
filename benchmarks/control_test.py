"""Cost of the image generation test: `python -m benchmarks.control_test`.

The same 50 images of one latent are made and measured in three ways:

* a plain float32 loop, one image after the other, through generator, property CNN, parser and
  annotator, as in a first implementation;
* the same loop with our networks;
* `control_test` with one process per core, as the notebooks call it, including its statistics.

At 128 pixels the networks are those of the notebooks and generate toy faces. With `--resolution
256`, generator and property CNN have the published sizes and random weights; parsing their noise
takes longer than parsing faces.

Then two lower bounds from `benchmarks.roofline`: all operations as they are (the CNN in float32),
and only the multiplications at the full rate of the chosen number format. The last line says how
much faster these multiplications would have to be to reach the target if nothing else changed.

The speed of a machine varies, so each round measures everything and compares with its own plain
loop. Exit status 1 if, in the median round, the test takes more than 1/8 of the plain loop.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch

from benchmarks.plain_stylegan import plain_synthesis
from benchmarks.roofline import Limits, counted
from ohlora_lib import checkpoints
from ohlora_lib.compute.workers import workers
from ohlora_lib.measure.parse import EmbeddedParser, load_parser
from ohlora_lib.models import precision
from ohlora_lib.models.cpu.fused import fuse_for_inference
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig, property_input
from ohlora_lib.models.stylegan import Generator, to_uint8
from ohlora_lib.steering.control_test import BATCH, LatentSet, control_test
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.meters import CnnMeter, MeterSet, ParserMeter
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.responses import REQUESTS
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.train.regressor import SMALL_PLAN

TARGET = 1 / 8  # of the plain loop
BATCHES = 4  # of latents, spread over the processes
NETWORKS = {
    128: (partial(checkpoints.load, "original"), SMALL_PLAN.network),
    256: (Generator, PropertyCNNConfig()),
}
"""Resolution -> function that makes the generator, configuration of the property CNN."""


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def loop(
    synthesize: Callable, generator, cnn, parse, annotator, edited: np.ndarray, batch: int = 1
) -> None:
    """Make and measure the images of `edited` (50, D): one at a time in float32, or in batches."""
    number_format = "float32" if batch == 1 else "auto"
    for w in torch.tensor(edited).split(batch):
        with precision.inference(number_format):
            image = to_uint8(synthesize(generator, w))
        with torch.inference_mode():
            cnn(property_input(image))
        parse(image)
        with precision.inference(number_format):
            annotator.annotate(image)


OURS = "control_test"
ALL_OPERATIONS = "lower bound, all operations"
REST = "control_test without its multiplications"


def measured(resolution: int, rounds: int) -> pd.DataFrame:
    """One row per round: seconds per latent of the three ways, and the lower bounds."""
    build, cnn_config = NETWORKS[resolution]
    generator, cnn = precision.place(build().eval()), PropertyCNN(cnn_config).eval()
    annotator, parse = checkpoints.load("annotator"), ParserMeter(load_parser())
    quick = precision.place(fuse_for_inference(annotator))
    sampler = Sampler(generator)
    rng = np.random.default_rng(0)
    method = Method(
        MethodSpec("svm all"), LinearDirections(rng.normal(0, 0.05, (1, 3, 512)).astype(np.float32))
    )
    z = latents(0, range(BATCHES * BATCH), sampler.z_size)
    edited = sampler.vectors(z[:1]) + method.directions.step(z[:1].repeat(50, 0), REQUESTS)
    population = sampler.images(sampler.vectors(latents(1, range(16), sampler.z_size)))
    meters = MeterSet.fit(CnnMeter(cnn), parse, quick, population)
    exact = ParserMeter(EmbeddedParser(checkpoints.load("parser"), number_format="float32"))
    singly = (generator, cnn, exact, annotator, edited)
    loops = {
        "plain loop, one image at a time": partial(loop, plain_synthesis, *singly),
        "the same loop with our networks": partial(loop, Generator.from_w, *singly),
    }
    networks = (generator, cnn, parse, quick, edited)
    in_one_batch = partial(loop, Generator.from_w, *networks, batch=len(REQUESTS))
    tested, rows = LatentSet(z, np.arange(len(z))), []
    with workers(sampler.device) as pool:
        test = partial(control_test, [method], sampler, meters, tested, executor=pool)
        for run in (*loops.values(), test):
            run()  # warm-up
        for _ in range(rounds):
            row = {name: seconds(run) for name, run in loops.items()}
            row[OURS] = seconds(test) / len(z)
            limits = Limits.measured(sampler.device)
            in_one_batch()  # warm-up: caches are not counted
            operations = counted(in_one_batch, limits)
            row[ALL_OPERATIONS] = operations.seconds
            chosen = precision.chosen()
            row["lower bound, multiplications"] = operations.flops.total() / limits.flops[chosen]
            multiplying = operations.flops[chosen] / limits.flops[chosen]
            row[REST] = row[OURS] - multiplying
            rows.append(row)
    return pd.DataFrame(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, choices=NETWORKS, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = measured(options.resolution, options.rounds)
    fraction = table.div(table.iloc[:, 0], axis=0)
    number_format = precision.chosen()
    print(f"{torch.get_num_threads()} threads, {number_format}, {options.resolution} px: "
          f"median (minimum to maximum) of {len(table)} rounds")  # fmt: skip
    for name in table:
        low, median, high = fraction[name].quantile([0, 0.5, 1])
        print(f"{name}: {table[name].median():.2f} s per latent, "
              f"{median:.3f} ({low:.3f} to {high:.3f}) of the plain loop")  # fmt: skip
    print(f"target for {OURS}: at most {TARGET:.3f} of the plain loop")
    missed = (fraction[ALL_OPERATIONS] > TARGET).sum()
    print(f"rounds in which the lower bound of all operations misses the target: {missed}")
    speedup = (fraction[OURS] - fraction[REST]) / (TARGET - fraction[REST])
    speedup = speedup[fraction[REST] < TARGET]
    print(f"{number_format} multiplications would have to be {speedup.median():.1f} times as fast "
          f"({len(speedup)} rounds in which that could suffice)")  # fmt: skip
    return 0 if fraction[OURS].median() <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
