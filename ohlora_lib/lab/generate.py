"""What notebook 01 does and draws: a generator's faces, and what can be asked of it itself."""

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib import checkpoints
from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import BLOCK_ROWS, prepared, single_threaded, workers
from ohlora_lib.models import precision
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.runner.settings import Between, OneOf, Settings, SettingsError
from ohlora_lib.steering.sampling import BLOCK, Sampler, latents
from ohlora_lib.store import inside_root
from ohlora_lib.store.atomic import atomic_path
from ohlora_lib.store.images import ImageSet

LOOKED_AT = 2000
"""Of more images than this, the page looks at the first."""
FILES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class GenerateSettings(Settings):
    """Which generator (a name of ohlora_lib.checkpoints.registry, or a file), and how many images.

    `label` is what a conditional generator is told: numbers drawn from N(0, 1), as the published
    code does, or zeros. `rendered` is the size of each set of rendered faces to compare with.
    """

    generator: str
    images: Annotated[int, Between(16, 1_000_000)]
    label: Annotated[str, OneOf(("random", "zeros"))]
    rendered: Annotated[int, Between(8, 100_000)]
    columns: Annotated[int, Between(4, 16)]


@dataclass(frozen=True)
class Made:
    """The faces that a generator made and what they were made of, numbered alike.

    Arrays: z (N, 512), w (N, 512), label (N, 7) or None; `pictures` the first LOOKED_AT images.
    """

    images: ImageSet
    z: np.ndarray
    w: np.ndarray
    label: np.ndarray | None
    pictures: np.ndarray

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """z and w of the pictures."""
        return self.z[: len(self.pictures)], self.w[: len(self.pictures)]


def open_generator(name: str) -> Sampler:
    """The generator of that name or file, on the GPU if there is one."""
    network = checkpoints.load(inside_root(name) if name.endswith(FILES) else name)
    if not isinstance(network, Generator):
        raise SettingsError(
            f"generator = {name!r}: it holds a {type(network).__name__}, not a generator"
        )
    device = precision.fastest_device()
    return Sampler(precision.place(network, "auto", device))


def of_the_toy_world(generator: Generator) -> bool:
    """Whether it makes toy faces: whether it is of the embedded one's sizes, fine-tuned or not.

    The published ones, and what is tuned from them, are larger: people, of unknown truth.
    """
    before_tuning = replace(generator.config, label_size=0, split_size=0)
    return before_tuning == checkpoints.load("original").config


def draw(settings: GenerateSettings, sampler: Sampler) -> tuple[np.ndarray, np.ndarray | None]:
    """z (N, 512) and label (N, 7) or None of the seed's first N faces."""
    size, numbers = sampler.generator.config.label_size, np.arange(settings.images)
    z = latents(settings.seed, numbers, sampler.z_size)
    if not size:
        return z, None
    if settings.label == "zeros":
        return z, np.zeros((len(z), size), np.float32)
    of_labels = np.random.SeedSequence([settings.seed, size]).generate_state(1)[0]
    return z, latents(int(of_labels), numbers, size)


def make(folder: Path, settings: GenerateSettings, sampler: Sampler) -> Made:
    """Make the images and leave images/, z.npy, w.npy and label.npy; goes on where it was."""
    z, label = draw(settings, sampler)
    w = sampler.vectors(z, "w", label)
    for name, values in (("z", z), ("w", w), ("label", label)):
        if values is not None:
            with atomic_path(folder / f"{name}.npy") as temporary:
                np.save(temporary, values)
    images = ImageSet(folder / "images")
    blocks = [range(at, min(at + BLOCK, len(z))) for at in range(0, len(z), BLOCK)]
    jobs = [Job(folder / "parts" / f"{block.start:06d}.txt", block) for block in blocks]
    work = partial(single_threaded, _make_block, sampler, images, w)
    with workers(sampler.device) as pool:
        run_jobs(work, jobs, "blocks of faces", pool)
    images.finish(pd.DataFrame({"index": np.arange(len(z))}))
    return Made(images, z, w, label, images.read(range(min(len(z), LOOKED_AT))))


def _make_block(sampler: Sampler, images: ImageSet, w: np.ndarray, rows: range, done: Path) -> None:
    images.write(rows, sampler.images(w[rows.start : rows.stop]))
    done.write_text(f"faces {rows.start} to {rows.stop - 1}\n")


TRUNCATIONS = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)


def truncated(sampler: Sampler, w: np.ndarray) -> np.ndarray:
    """w (N, 512) -> (N * 6, R, R, 3): each drawn toward the average w, by TRUNCATIONS."""
    average = sampler.generator.truncation.w_avg.cpu().numpy()
    drawn = average + np.array(TRUNCATIONS, np.float32)[:, None] * (w - average)[:, None]
    return sampler.images(drawn.reshape(-1, w.shape[1]))


def style_bands(sampler: Sampler) -> dict[str, tuple[int, int]]:
    """The styled layers that set the coarse, the middle and the fine of a face, as in StyleGAN."""
    layers = sampler.generator.config.layers
    return {"coarse": (0, 4), "middle": (4, 8), "fine": (8, layers)}


def mixed(sampler: Sampler, sources: np.ndarray, target: np.ndarray) -> np.ndarray:
    """w of sources (N, 512), of one target (512,) -> rows of N faces: the sources, then the target
    with the coarse, the middle and the fine styles of each."""
    targets = np.broadcast_to(target, sources.shape).copy()
    bands = style_bands(sampler).values()
    rows = [sampler.images(sources, unedited=targets, styles=band) for band in bands]
    return np.concatenate([sampler.images(sources), *rows])


def between(sampler: Sampler, made: Made, pairs: list[tuple[int, int]], steps: int) -> np.ndarray:
    """Two rows of faces from the first to the second of each pair: through z, and through w."""
    shares = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    rows = []
    for first, second in pairs:
        z = (1 - shares) * made.z[first] + shares * made.z[second]
        label = made.label
        if label is not None:
            label = (1 - shares) * label[first] + shares * label[second]
        w = (1 - shares) * made.w[first] + shares * made.w[second]
        # z's length says nothing (the mapping normalizes it), so a straight line is an arc.
        rows += [sampler.images(sampler.vectors(z, "w", label)), sampler.images(w)]
    return np.concatenate(rows)


def framing(pictures: np.ndarray) -> Figure:
    """The average face, and where faces differ: shows how they are framed."""
    mean = pictures.mean(0, dtype=np.float64)
    squares = np.square(pictures, dtype=np.uint16).mean(0, dtype=np.float64)
    spread = np.sqrt(np.maximum(squares - mean**2, 0)).mean(-1)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(6.4, 3.2))
    left.imshow(mean.round().astype(np.uint8))
    left.set_title("mean of the faces")
    shown = right.imshow(spread, cmap="magma")
    right.set_title("standard deviation")
    figure.colorbar(shown, ax=right, label="gray levels (of 255)", shrink=0.85)
    for axes in (left, right):
        axes.set_axis_off()
    return figure


def speed(sampler: Sampler, w: np.ndarray, seconds: float = 0.5) -> str:
    """How many faces a second it makes here, drawing w (N, 512) again and again.

    Said so roughly that a second run says the same.
    """
    sampler.images(w)  # whoever draws has drawn before: the first time takes longer
    began, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        sampler.images(w)
        count += len(w)
    rate = count / spent
    step = 10 ** math.floor(math.log10(rate))
    return f"{max(k * step for k in (1, 2, 5) if k * step <= rate):,.10g}"


def size_told(sampler: Sampler, made: Made) -> str:
    """What was made, and of what."""
    config, (height, width) = sampler.generator.config, made.pictures.shape[1:3]
    values = sum(p.numel() for p in sampler.generator.parameters())
    label = f" and a label ({config.label_size})" if config.label_size else ""
    return (
        f"{len(made.z):,} pictures of {height} × {width} pixels, each from a z ({config.z_size})"
        f"{label}; a generator of {values / 1e6:.1f} million values, {config.layers} styled layers."
    )


def speed_told(sampler: Sampler, made: Made) -> str:
    """The sentence about speed, and about what drew."""
    w = made.w[:BLOCK]
    rate, where = speed(sampler, w), _drawn_on(sampler, len(w))
    return f"More than {rate} faces a second on {where}, {len(w)} at a time."


def _drawn_on(sampler: Sampler, rows: int) -> str:
    """What draws so many rows, as `compute.workers.map_row_blocks` shares them out."""
    if sampler.device.type == "cuda":
        return "a GPU"
    if prepared() and rows > BLOCK_ROWS:
        return f"{min(prepared(), -(-rows // BLOCK_ROWS))} processes of one CPU thread each"
    return f"{torch.get_num_threads()} CPU threads"


def found(settings: GenerateSettings) -> str:
    """What can be said of any generator."""
    return (
        f"{settings.images:,} faces of generator '{settings.generator}'; the truth about them is "
        "not known."
    )
