"""What the image generation test of a latent costs: `python -m benchmarks.control_test`.

The same 50 pictures of one latent, by a plain float32 loop that sends one picture after the other
through generator, property CNN, parser and annotator, as a first implementation has it; by the same
loop over our own networks; and by `control_test`, in one process a core as the notebooks call it,
which also does the statistics. The networks are the notebooks' own and draw the embedded faces; at
`--resolution 256` generator and property CNN are the published ones with random weights, whose
noise takes the parser's maps longer than faces do.
Last come two bounds (`benchmarks.roofline`): the operations as they are, the CNN in float32, and
their multiplications alone at the chosen format's full speed, which no code can beat that makes
them; and how fast the chosen format's multiplications would have to be for an eighth, if all else
stayed. A machine's speed changes, so every round measures all of it, against its own plain loop.
Exit status 1 when the test costs more than an eighth of the plain loop in the median round.
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
from ohlora_lib.train.regressor import SMALL

SHARE = 1 / 8
PIECES = 4  # for the processes: of as many latents each as are drawn together
NETWORKS = {
    128: (partial(checkpoints.load, "original"), SMALL.network),
    256: (Generator, PropertyCNNConfig()),
}
"""Resolution -> how the generator is made, the property CNN's sizes."""


def seconds(run: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def loop(
    draw: Callable, generator, cnn, parse, annotator, steered: np.ndarray, together: int = 1
) -> None:
    """50 pictures, one after the other in float32, or some together as `control_test` has them."""
    chosen = "float32" if together == 1 else "auto"
    for w in torch.tensor(steered).split(together):
        with precision.inference(chosen):
            image = to_uint8(draw(generator, w))
        with torch.inference_mode():
            cnn(property_input(image))
        parse(image)
        with precision.inference(chosen):
            annotator.annotate(image)


OURS = "control_test"
AS_THEY_ARE = "bound, operations as they are"
REST = "control_test without the chosen format's multiplications"


def measured(resolution: int, rounds: int) -> pd.DataFrame:
    """A row for each round: seconds a latent of the plain loop, of the others, and the bounds."""
    build, cnn_config = NETWORKS[resolution]
    generator, cnn = precision.place(build().eval()), PropertyCNN(cnn_config).eval()
    annotator, parse = checkpoints.load("annotator"), ParserMeter(load_parser())
    quick = precision.place(fuse_for_inference(annotator))
    sampler = Sampler(generator)
    rng = np.random.default_rng(0)
    method = Method(
        MethodSpec("svm all"), LinearDirections(rng.normal(0, 0.05, (1, 3, 512)).astype(np.float32))
    )
    z = latents(0, range(PIECES * BATCH), sampler.z_size)
    steered = sampler.vectors(z[:1]) + method.directions.step(z[:1].repeat(50, 0), REQUESTS)
    population = sampler.images(sampler.vectors(latents(1, range(16), sampler.z_size)))
    meters = MeterSet.fit(CnnMeter(cnn), parse, quick, population)
    exact = ParserMeter(EmbeddedParser(checkpoints.load("parser"), number_format="float32"))
    singly = (generator, cnn, exact, annotator, steered)
    loops = {
        "plain loop, picture by picture": partial(loop, plain_synthesis, *singly),
        "the same loop over our networks": partial(loop, Generator.from_w, *singly),
    }
    networks = (generator, cnn, parse, quick, steered)
    together = partial(loop, Generator.from_w, *networks, together=len(REQUESTS))
    tested, rows = LatentSet(z, np.arange(len(z))), []
    with workers(sampler.device) as pool:
        test = partial(control_test, [method], sampler, meters, tested, executor=pool)
        for run in (*loops.values(), test):
            run()  # to warm up
        for _ in range(rounds):
            row = {name: seconds(run) for name, run in loops.items()}
            row[OURS] = seconds(test) / len(z)
            limits = Limits.measured(sampler.device)
            together()  # what is done once is not counted
            every = counted(together, limits)
            row[AS_THEY_ARE] = every.seconds
            chosen = precision.chosen()
            row["bound, multiplications"] = every.flops.total() / limits.flops[chosen]
            multiplying = every.flops[chosen] / limits.flops[chosen]
            row[REST] = row[OURS] - multiplying
            rows.append(row)
    return pd.DataFrame(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, choices=NETWORKS, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = measured(options.resolution, options.rounds)
    share = table.div(table.iloc[:, 0], axis=0)
    print(f"{torch.get_num_threads()} threads, computing in {precision.chosen()}, "
          f"{options.resolution} px: median (least … most) of {len(table)} rounds")  # fmt: skip
    for name in table:
        least, middle, most = share[name].quantile([0, 0.5, 1])
        print(f"{name}: {table[name].median():.2f} s a latent, "
              f"{middle:.3f} ({least:.3f} … {most:.3f}) of the plain loop")  # fmt: skip
    print(f"wanted of {OURS}: at most {SHARE:.3f}")
    beyond = (share[AS_THEY_ARE] > SHARE).sum()
    print(f"all operations at this device's full speed would miss that in {beyond} rounds")
    faster = (share[OURS] - share[REST]) / (SHARE - share[REST])
    faster = faster[share[REST] < SHARE]
    print(f"with {precision.chosen()} multiplications {faster.median():.1f} times as fast, else "
          f"as it is, it would be reached (in {len(faster)} rounds at some speed)")  # fmt: skip
    return 0 if share[OURS].median() <= SHARE else 1


if __name__ == "__main__":
    raise SystemExit(main())
