"""How fast the networks are here: `python -m benchmarks.models [NETWORK …] [--device cuda]`.

Images per second, side by side: a plain float32 loop over single images, as a first implementation
has it; ours in float32, singly and in batches; ours in `auto`. Beside them what the convolutions
alone would allow: this device's own rate over the network's multiplications. The weights are random
(so MTCNN finds next to nothing: that is its first network's time). At the end, how far `auto` is
from float32.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_stylegan import plain_images, plain_scores
from ohlora_lib.models import precision
from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.facexformer import FaceXFormer
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.property_cnn import PropertyCNN, property_input
from ohlora_lib.models.stylegan import Generator, GeneratorConfig, to_uint8

ROW = "{:20} {:>11} {:>8} {:>8} {:>10} {:>8} {:>12} {:>8} {:>6}"
SMALL = GeneratorConfig(resolution=128, fmaps_base=4096, fmaps_max=128)


@dataclass(frozen=True)
class Case:
    """One network: how to build it, what it takes, and the plain form of it."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]  # how many -> (N, …)
    plain: Callable | None = None  # (network, inputs) -> outputs; None: the network itself
    batch: int = 8


def normal(*shape: int) -> Callable[[int], torch.Tensor]:
    return lambda n: torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def photographs(n: int) -> torch.Tensor:
    """Pictures with structure at every scale, so that MTCNN has something to look at."""
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


def rate(run: Callable[[], object], images: int, seconds: float, device: torch.device) -> float:
    """Images per second: the best of all runs that fit into `seconds`, after one to warm up."""
    best, end = float("inf"), None
    while end is None or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if end is None:
            end = time.perf_counter() + seconds
        else:
            best = min(best, time.perf_counter() - start)
    return images / best


def convolution_rate(dtype: torch.dtype, device: torch.device, seconds: float) -> float:
    """GFLOP/s of a large convolution, of the kind that StyleGAN spends its time in."""
    x = torch.zeros(4, 256, 64, 64, dtype=dtype, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    kernel = torch.zeros(256, 256, 3, 3, dtype=dtype, device=device)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        done = rate(lambda: F.conv2d(x, kernel, padding=1), len(x), seconds, device)
    return done * 2 * 256 * 256 * 9 * 64 * 64 / 1e9


def gflop(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        run()
    return counter.get_total_flops() / 1e9


def forget_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float:
    """MiB since it was forgotten: of the process on a CPU, of the tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def timings(case: Case, choice: str, device: torch.device, seconds: float) -> list[float]:
    """Images/s: plain singly, ours singly, ours in batches, ours in batches as chosen; MiB."""
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
        forget_peak_memory(device)
        with precision.inference(name, device):
            rates.append(rate(lambda: form(network, x), batch, seconds, device))  # noqa: B023
    return [*rates, peak_memory(device)]


def row(name: str, case: Case, options: argparse.Namespace, peak: float) -> str:
    """One line of the table; `peak` is the device's GFLOP/s in the chosen format."""
    network, x = case.build().eval(), case.inputs(1)
    ours = gflop(lambda: network(x))
    plain = gflop(lambda: case.plain(network, x)) if case.plain else ours
    singly, one, many, auto, memory = timings(
        case, options.precision, options.device, options.seconds
    )
    times = f"{auto / one:.1f} x"
    work = f"{plain:.1f} > {ours:.1f}" if case.plain else f"{ours:.1f}"
    bound = f"{peak / ours:.1f}" if ours else ""
    rates = [f"{r:.2f}" for r in (singly, one, many, auto)]
    return ROW.format(name, work, *rates, times, bound, f"{memory:.0f}")


def agreement(choice: str, device: torch.device, images: int = 24) -> str:
    """How far generator and property CNN are from float32 in the chosen format."""
    generator, meter = Generator(seed=3).to(device).eval(), PropertyCNN().to(device).eval()
    z, levels, scores = normal(512)(images).to(device), [], []
    for name in ("float32", choice):
        with precision.inference(name, device):
            levels.append(np.concatenate([to_uint8(generator(part)) for part in z.split(8)]))
        with precision.inference("float32", device):
            scores.append(meter(property_input(levels[-1]).to(device)).cpu().numpy())
    apart = np.abs(levels[0].astype(int) - levels[1]).mean()
    pairs = zip(scores[0].T, scores[1].T, strict=True)
    least = min(np.corrcoef(a, b)[0, 1] for a, b in pairs)
    return (
        f"{choice} against float32 on {images} images of generator 256: {apart:.2f} levels of 255 "
        f"apart on average; property scores correlate {least:.5f} or better"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--precision", choices=precision.PRECISIONS, default="auto")
    parser.add_argument("--seconds", type=float, default=3, help="of timing per figure")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(CASES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    torch.manual_seed(0)
    chosen = precision.chosen(options.precision, options.device)
    peaks = {
        dtype: convolution_rate(dtype, options.device, 1)
        for dtype in (torch.float32, torch.bfloat16)
    }
    where = f"{options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(where, *(f"{dtype}: {peak:.0f} GFLOP/s" for dtype, peak in peaks.items()), sep="; ")
    print(f"{options.precision} is {chosen} here\n")
    heads = "network GFLOP plain/1 ours/1 float32/n auto/n auto:ours/1 bound MiB"
    print(ROW.format(*heads.split()))
    for name, case in CASES.items():
        if not options.networks or name in options.networks:
            print(row(name, case, options, peaks[chosen]), flush=True)
    print("\n" + agreement(options.precision, options.device))


if __name__ == "__main__":
    main()
