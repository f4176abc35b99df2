"""How fast this machine runs the networks: the seconds that costs are computed from.

`measure` runs every published network with random weights, and some of the toy world's, for a few
seconds each, on a GPU if there is one, else on one CPU thread. CPU time is counted, so that other
programs hardly matter.
"""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from ohlora_lib.checkpoints.registry import load
from ohlora_lib.checkpoints.resolver import SPEED
from ohlora_lib.models import precision
from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.facexformer import FaceXFormer
from ohlora_lib.models.filter_cnn import FilterCNN
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.property_cnn import PropertyCNN
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.store.atomic import write_json

BATCH = 8
SECONDS = 4.0  # per network
SMALL = {"generator": 0.012, "parser": 0.0066, "annotator": 0.0025}
"""Seconds per image of the toy world's networks on one thread of the machine (an EPYC with
AVX512-BF16) on which the pipelines' constants of the smaller scales were measured."""


def measure() -> dict[str, object]:
    """Constant of the pipelines -> seconds per image; also device and day. Written to SPEED.

    `small_slower`: how many times longer than on the machine of SMALL the toy world's take.
    """
    device, threads = precision.fastest_device(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {name: _seconds(work, device) for name, work in _works(device).items()}
        small = {name: _seconds(work, device) for name, work in _small_works(device).items()}
    finally:
        torch.set_num_threads(threads)
    found["facexformer_seconds"] += found.pop("mtcnn_seconds")
    found["cnn_seconds"] = max(found["cnn_seconds"], found.pop("filter_seconds"))
    found["small_slower"] = median(small[name] / SMALL[name] for name in SMALL)
    found |= {"device": device.type, "day": time.strftime("%Y-%m-%d")}
    write_json(SPEED, found)
    return found


def _works(device: torch.device) -> dict[str, Callable[[], object]]:
    """One batch through each network, and one training step of the CNNs."""
    normal = torch.Generator().manual_seed(1)

    def pixels(size: int) -> torch.Tensor:
        return torch.randn(BATCH, 3, size, size, generator=normal).to(device)

    generator, discriminator, reader = (
        precision.place(build().eval(), device=device)
        for build in (Generator, Discriminator, FaceXFormer)
    )
    detector = MTCNN().to(device).eval()
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.zero_()  # no candidates: random weights would find thousands of faces
    properties, filtering = PropertyCNN().to(device).eval(), FilterCNN().to(device).eval()
    z = torch.randn(BATCH, generator.config.z_size, generator=normal).to(device)
    faces, images = pixels(224), pixels(256)
    photos = np.zeros((BATCH, 256, 256, 3), np.uint8)

    def fast(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with precision.inference(device=device):
                return work()

        return run

    def exact(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with torch.inference_mode():
                return work()

        return run

    def training(network: torch.nn.Module) -> Callable[[], object]:
        optimizer = torch.optim.AdamW(network.parameters())

        def run() -> None:
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()

        return run

    return {
        "generator_seconds": fast(lambda: generator(z)),
        "discriminator_seconds": fast(lambda: discriminator(images)),
        "facexformer_seconds": fast(lambda: reader(faces)),
        "mtcnn_seconds": exact(lambda: detector(photos)),
        "cnn_seconds": exact(lambda: properties(images)),
        "filter_seconds": exact(lambda: filtering(images)),
        "filter_training_seconds": training(FilterCNN().to(device)),
        "property_training_seconds": training(PropertyCNN().to(device)),
    }


def _small_works(device: torch.device) -> dict[str, Callable[[], object]]:
    """One batch through networks of the toy world."""
    generator = precision.place(load("original").eval(), device=device)
    parser, annotator = (load(name).to(device) for name in ("parser", "annotator"))
    normal = torch.Generator().manual_seed(1)
    z = torch.randn(BATCH, generator.config.z_size, generator=normal).to(device)
    photos = np.zeros((BATCH, 128, 128, 3), np.uint8)

    def draw() -> object:
        with precision.inference(device=device):
            return generator(z)

    return {
        "generator": draw,
        "parser": lambda: parser.parse(photos),
        "annotator": lambda: annotator.annotate(photos),
    }


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Per image: the fastest of the batches after the first, which is a warm-up."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    work()
    best, end = float("inf"), clock() + SECONDS
    while best == float("inf") or clock() < end:
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, clock() - start)
    return best / BATCH
