"""What the CPU fast paths gain: `python -m benchmarks.cpu_paths [REPEATS]`.

Runs each network on one thread with the fast paths of `ohlora_lib.models.cpu` and without
(OHLORA_PLAIN_CPU=1), in turns, and compares CPU time: other processes hardly affect it. Prints the
median ratio and its range, and the largest difference of the results.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable

import torch

from ohlora_lib import checkpoints
from ohlora_lib.models import precision
from ohlora_lib.models.cpu import SWITCH
from ohlora_lib.models.cpu.fused import fuse_for_inference
from ohlora_lib.models.nvae import NVAE, QUICK
from ohlora_lib.models.stylegan import Generator


def inference(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        output = network(x)
    return output[0] if isinstance(output, tuple) else output


def training_step(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    network.zero_grad()
    images = network(x)
    images.square().mean().backward()
    return images.detach()


def nvae_step(network: NVAE, x: torch.Tensor) -> torch.Tensor:
    network.zero_grad()
    noise = network.random_noise(len(x), torch.Generator().manual_seed(0))
    with precision.autocast():
        output = network(x, torch.full((len(x), 5), 0.5), noise)
    (sum(kl.sum() for kl in output.kl) - output.log_likelihood(x).sum()).div(x.numel()).backward()
    return output.mixture.mean().detach()


def timed(run: Callable, plain: bool) -> tuple[float, torch.Tensor]:
    os.environ[SWITCH] = "1" if plain else "0"
    start = time.process_time()
    output = run()
    return time.process_time() - start, output


def compare(name: str, run: Callable, repeats: int) -> None:
    fast, plain = timed(run, False)[1], timed(run, True)[1]
    pairs = [(timed(run, False)[0], timed(run, True)[0]) for _ in range(repeats)]
    ratios = sorted(slow / quick for quick, slow in pairs)
    difference = (fast - plain).abs().max()
    print(
        f"{name:36} {1e3 * min(q for q, _ in pairs):8.0f} ms, plain "
        f"{1e3 * min(s for _, s in pairs):8.0f} ms; ratio {statistics.median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}); results differ by {difference:.1e}",
        flush=True,
    )


def main(repeats: int = 7) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    small, large = checkpoints.load("original"), Generator().eval()
    z, faces = torch.randn(16, small.config.z_size), torch.rand(16, 3, 128, 128) * 2 - 1
    compare("generator 128 px, 16 images", lambda: inference(small, z), repeats)
    compare("generator 128 px, training step of 8", lambda: training_step(small, z[:8]), repeats)
    compare("generator 256 px, 4 images", lambda: inference(large, torch.ones(4, 512)), repeats)
    nvae, crops = precision.place(NVAE(QUICK)), faces[..., :64, :64].repeat(2, 1, 1, 1)
    compare("NVAE 64 px, training step of 32", lambda: nvae_step(nvae, crops), repeats)
    for name in ("parser", "annotator"):
        network = checkpoints.load(name)
        os.environ[SWITCH] = "0"
        fused = fuse_for_inference(network)

        def run(network=network, fused=fused) -> torch.Tensor:
            return inference(network if os.environ[SWITCH] == "1" else fused, faces)

        compare(f"{name}, 16 faces", run, repeats)


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
