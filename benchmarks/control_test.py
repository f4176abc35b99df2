"""What the image generation test of a latent costs: `python -m benchmarks.control_test`.

The same 50 pictures of one latent, by a plain float32 loop that sends one picture after the other
through generator, property CNN, parser and annotator, as a first implementation has it; by the same
loop over our own networks; and by `control_test`, in one process a core as the notebooks call it,
which also does the statistics. The networks are the notebooks' own, at `--resolution 256` with the
published generator and property CNN; the weights of these two are random (which costs the same).
Exit status 1 when the test costs more than an eighth of the plain loop. Last come two bounds: all
multiplications at the chosen format's full speed, which no code can beat that makes them, and the
operations as they are, the CNN in float32 (`benchmarks.roofline`).
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks.plain_stylegan import plain_synthesis
from benchmarks.roofline import Limits, counted
from ohlora_lib.measure.parse import EmbeddedParser, load_parser
from ohlora_lib.models import precision, weights
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig, property_input
from ohlora_lib.models.stylegan import Generator, GeneratorConfig, to_uint8
from ohlora_lib.models.workers import workers
from ohlora_lib.train.regressor import SMALL
from ohlora_lib.vectors.control_test import TOGETHER, Latents, control_test
from ohlora_lib.vectors.directions import Arrows
from ohlora_lib.vectors.instruments import Instruments
from ohlora_lib.vectors.latents import Studio, latents
from ohlora_lib.vectors.meters import CnnMeter, ParseMeter
from ohlora_lib.vectors.method import Method
from ohlora_lib.vectors.responses import LEVELS

SHARE = 1 / 8
PIECES = 4  # for the processes: of as many latents each as are drawn together
CONFIGS = {
    128: (GeneratorConfig(128, fmaps_base=4096, fmaps_max=128), SMALL.network),
    256: (GeneratorConfig(), PropertyCNNConfig()),
}


def seconds(run: Callable[[], object], least: int) -> float:
    """The median of some runs, after one to warm up."""
    run()
    times = []
    for _ in range(least):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, choices=CONFIGS, default=128)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    config, cnn_config = CONFIGS[options.resolution]
    generator, cnn = Generator(config).eval(), PropertyCNN(cnn_config).eval()
    annotator, parse = weights.load("annotator"), ParseMeter(load_parser())
    studio = Studio(generator)
    rng = np.random.default_rng(0)
    method = Method("ours", Arrows(rng.normal(0, 0.05, (1, 3, 512)).astype(np.float32)))
    z = latents(0, range(PIECES * TOGETHER))
    steered = studio.vectors(z[:1]) + method.directions.step(z[:1].repeat(50, 0), LEVELS)
    population = studio.images(studio.vectors(latents(1, range(16))))
    instruments = Instruments.over(CnnMeter(cnn), parse, annotator, population)
    networks = (generator, cnn, parse, annotator, steered)
    exact = ParseMeter(EmbeddedParser(weights.load("parser"), number_format="float32"))
    singly = (generator, cnn, exact, annotator, steered)
    first = seconds(lambda: loop(plain_synthesis, *singly), options.runs)
    own = seconds(lambda: loop(Generator.from_w, *singly), options.runs)
    tested = Latents(z, np.arange(len(z)))
    with workers(studio.device) as pool:
        test = partial(control_test, [method], studio, instruments, tested, executor=pool)
        ours = seconds(test, options.runs) / len(z)
    print(f"{torch.get_num_threads()} threads, computing in {precision.chosen()}, "
          f"{options.resolution} px")  # fmt: skip
    print(f"plain loop, picture by picture: {first:.2f} s a latent")
    print(f"the same loop over our networks: {own:.2f} s, {own / first:.2f} of the plain loop")
    print(
        f"control_test, {len(z)} latents: {ours:.2f} s, {ours / first:.3f} of the "
        f"plain loop (wanted: at most {SHARE:.3f}), {ours / own:.2f} of the loop over ours"
    )
    limits = Limits.measured(studio.device, seconds=3)
    every = counted(lambda: loop(Generator.from_w, *networks, together=len(LEVELS)), limits)
    multiplied = every.flops / limits.flops[precision.chosen()]
    for what, least in (("multiplications", multiplied), ("operations as they are", every.seconds)):
        print(f"bound, {what}: {least:.2f} s, {least / first:.3f} of the plain loop")
    return 0 if ours <= SHARE * first else 1


if __name__ == "__main__":
    raise SystemExit(main())
