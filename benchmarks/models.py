"""Speed of the networks on this machine: `python -m benchmarks.models [NETWORK …] [--device cuda]`.

Images per second, side by side: a plain float32 loop over single images, as a first implementation
would do it; ours in float32, one by one and in batches; ours in `auto`. Next to them the upper
bound of the device for `auto` (`benchmarks.roofline`), from the FLOPs and bytes of our network. The
weights are random (MTCNN finds almost no faces: this is the time of its first network). Finally, on
a CPU, the embedded generator in one process per core, and the difference of `auto` to float32.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.plain_stylegan import plain_images, plain_scores
from benchmarks.roofline import Limits, counted, rate
from ohlora_lib import checkpoints
from ohlora_lib.compute.memory import keep_freed
from ohlora_lib.compute.workers import single_threaded, workers
from ohlora_lib.models import precision
from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.facexformer import FaceXFormer
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.property_cnn import PropertyCNN, property_input
from ohlora_lib.models.stylegan import Generator, GeneratorConfig, to_uint8
from ohlora_lib.steering.sampling import Sampler, latents

ROW = "{:20} {:>11} {:>6} {:>8} {:>8} {:>10} {:>8} {:>12} {:>8} {:>8} {:>6}"
WANTED = 200  # images/s of the embedded generator
SMALL = GeneratorConfig(resolution=128, fmaps_base=4096, fmaps_max=128)


@dataclass(frozen=True)
class Case:
    """One network: how to build it, its inputs, and its plain implementation."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]  # N -> (N, …)
    plain: Callable | None = None  # (network, inputs) -> outputs; None: the network itself
    batch: int = 8


def normal(*shape: int) -> Callable[[int], torch.Tensor]:
    return lambda n: torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def photographs(n: int) -> torch.Tensor:
    """Images with structure at every scale, so that MTCNN has candidates to process."""
    rng = torch.Generator().manual_seed(1)
    parts = [torch.rand(n, 3, s, s, generator=rng) for s in (4, 16, 64, 256)]
    whole = sum(F.interpolate(part, size=256) for part in parts) / len(parts)
    return (whole * 255).byte().permute(0, 2, 3, 1)


CASES = {
    "generator 256": Case(Generator, normal(512), plain_images),
    "generator 128 small": Case(lambda: Generator(SMALL), normal(512), plain_images, batch=16),
    "discriminator 256": Case(Discriminator, normal(3, 256, 256), plain_scores),
    "property CNN": Case(PropertyCNN, normal(3, 256, 256)),
    "FaceXFormer": Case(FaceXFormer, normal(3, 224, 224)),
    "MTCNN": Case(MTCNN, photographs),
}


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float:
    """MiB since the reset: of the process on a CPU, of the tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def timings(case: Case, choice: str, device: torch.device, seconds: float) -> list[float]:
    """Images/s: plain one by one, ours one by one, in batches, in batches in `choice`; MiB."""
    network, plain = case.build().eval(), case.plain or (lambda network, x: network(x))
    rates = []
    for form, name, batch in (
        (plain, "float32", 1),
        (lambda network, x: network(x), "float32", 1),
        (lambda network, x: network(x), "float32", case.batch),
        (lambda network, x: network(x), choice, case.batch),
    ):
        network = precision.place(network, name, device)
        x = case.inputs(batch).to(device)
        reset_peak_memory(device)
        with precision.inference(name, device):
            rates.append(rate(lambda: form(network, x), batch, seconds, device))  # noqa: B023
    return [*rates, peak_memory(device)]


def row(name: str, case: Case, options: argparse.Namespace, limits: Limits) -> str:
    """One line of the table."""
    network = precision.place(case.build().eval(), options.precision, options.device)
    x = case.inputs(case.batch).to(options.device)
    with precision.inference(options.precision, options.device):
        network(x)  # warm-up: cached weights are not counted
        ours = counted(lambda: network(x), limits)
    work, bound = f"{ours.flops.total() / case.batch / 1e9:.1f}", case.batch / ours.seconds
    if case.plain:
        plain = counted(lambda: case.plain(network.float(), x[:1]), limits)
        work = f"{plain.flops.total() / 1e9:.1f} > {work}"
    plain_one, one, many, auto, memory = timings(
        case, options.precision, options.device, options.seconds
    )
    moved = f"{ours.bytes / case.batch / 1e6:.0f}"
    rates = [f"{r:.2f}" for r in (plain_one, one, many, auto)]
    times = f"{auto / one:.1f} x", f"{bound:.1f}", f"{bound / one:.1f} x"
    return ROW.format(name, work, moved, *rates, *times, f"{memory:.0f}")


def agreement(choice: str, device: torch.device, images: int = 24) -> str:
    """Difference of generator and property CNN to float32 in the chosen format."""
    generator, meter = Generator(seed=3).to(device).eval(), PropertyCNN().to(device).eval()
    z, levels, scores = normal(512)(images).to(device), [], []
    for name in ("float32", choice):
        with precision.inference(name, device):
            levels.append(np.concatenate([to_uint8(generator(part)) for part in z.split(8)]))
        with precision.inference("float32", device):
            scores.append(meter(property_input(levels[-1]).to(device)).cpu().numpy())
    difference = np.abs(levels[0].astype(int) - levels[1]).mean()
    pairs = zip(scores[0].T, scores[1].T, strict=True)
    least = min(np.corrcoef(a, b)[0, 1] for a, b in pairs)
    return (
        f"{choice} against float32 on {images} images of generator 256: images differ by "
        f"{difference:.2f} levels of 255 on average; property scores correlate by at "
        f"least {least:.5f}"
    )


def same_classes(choice: str, device: torch.device, images: int = 8) -> str:
    """The fraction of pixels to which FaceXFormer (random weights) gives the same class."""
    network, faces = FaceXFormer().to(device).eval(), normal(3, 224, 224)(images).to(device)
    maps = []
    for name in ("float32", choice):
        with precision.inference(name, device):
            maps.append(network(faces).parse_map)
    same = (maps[0] == maps[1]).float().mean().item()
    return f"FaceXFormer with random weights: the same class at {same:.2%} of the pixels"


def by_processes(choice: str, seconds: float, limits: Limits, images: int = 512) -> str:
    """The embedded generator in one process per core, as in the notebooks, and how much faster its
    convolutions would have to be to reach WANTED images/s."""
    sampler = Sampler(precision.place(checkpoints.load("original"), choice), choice)
    w_blocks = [sampler.vectors(latents(0, range(images), sampler.z_size))] * os.cpu_count()

    def draw() -> None:
        list(pool.map(partial(single_threaded, sampler.images), w_blocks))

    with workers(sampler.device) as pool:
        done = rate(draw, images * len(w_blocks), seconds, sampler.device)
    summary = f"embedded generator (128 px), one process per core: {done:.1f} images/s"
    with precision.inference(choice):
        w = torch.tensor(w_blocks[0][: sampler.batch])
        flops = counted(lambda: sampler.generator.from_w(w), limits).flops
    dtype = precision.chosen(choice)
    multiplying = flops[dtype] / len(w) / limits.flops[dtype]  # seconds per image at peak
    spare = 1 / WANTED - (1 / done - multiplying)
    if spare <= 0:
        return f"{summary}; the rest alone takes too long for {WANTED} images/s"
    return (
        f"{summary}, of which FLOPs in {dtype} take {multiplying * done:.0%} at the device's peak; "
        f"for {WANTED} images/s they would have to be {multiplying / spare:.2f} times as fast"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help=f"some of {', '.join(CASES)}; default: all")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--precision", choices=precision.PRECISIONS, default="auto")
    parser.add_argument("--seconds", type=float, default=3, help="of timing per number")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(CASES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(CASES)}")
    torch.manual_seed(0)
    keep_freed()  # as the runner's kernels do
    chosen = precision.chosen(options.precision, options.device)
    limits = Limits.measured(options.device)
    print(f"{options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for dtype, most in limits.flops.items():
        print(f"{dtype}: {most / 1e9:.0f} GFLOP/s")
    print(f"memory: {limits.bytes / 1e9:.0f} GB/s")
    print(f"{options.precision} is {chosen} here\n")
    heads = "network GFLOP MB plain/1 ours/1 float32/n auto/n auto:ours/1 bound at-most MiB"
    print(ROW.format(*heads.split()))
    for name, case in CASES.items():
        if not options.networks or name in options.networks:
            print(row(name, case, options, limits), flush=True)
    print()
    if options.device.type == "cpu":
        print(by_processes(options.precision, 4 * options.seconds, limits))
    print(agreement(options.precision, options.device))
    print(same_classes(options.precision, options.device))


if __name__ == "__main__":
    main()
