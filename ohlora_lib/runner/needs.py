"""What a run at paper scale needs, told before it starts: weights, labels, disk, memory, hours.

The hours are those of the networks alone, from their times on two CPU cores; a GPU needs far fewer.
"""

from dataclasses import dataclass

from ohlora_lib import checkpoints
from ohlora_lib.models.filter_cnn import FILTERS
from ohlora_lib.runner.pipeline import Pipeline, PipelineError, Stage
from ohlora_lib.steering import scene
from ohlora_lib.store import ROOT
from ohlora_lib.train.classifier import FILTER_TRAININGS

SECONDS = {"generator": 0.14, "discriminator": 0.11, "facexformer": 0.60, "cnn": 0.02}
"""An image of 256 px through the published networks (`python -m benchmarks.models`, two cores of a
Xeon without AMX, float32); a face through FaceXFormer with MTCNN before it; a filter or property
CNN."""
TRAINING = 3  # times a forward pass
KEPT = 4930 / 13000  # of the images, by the published cutoffs
TRIES = 20  # epochs until a filter CNN stops gaining
IMAGE, FACE = 110e3, 130e3  # bytes on disk: a picture of 256 px; a face and its map
LEAST_MEMORY = 4e9
WIDTHS = {"z": 512, "w": 512, "mapping_split1": 2560, "mapping_split2": 1024}
"""Numbers of four bytes that a sample keeps of a latent, by layer."""
SCORES = 8 * 9
"""Bytes that it keeps beside them, but for the scene: the latent's number and eight scores."""
IMPLIED = {
    ("parser", "facexformer"): ("facexformer", "mtcnn"),
}
"""Settings that ask for checkpoints without naming them all."""
PHOTO = {
    # What the filter CNNs start from.
    "02": tuple(t.plan.start for t in FILTER_TRAININGS["published"].values() if t.plan.start),
    # Meters of photographs: see `FaceEvaluator`.
    "05": tuple(f"{name}-{fold}" for name in FILTERS for fold in range(5)),
}
"""The same by notebook, for `domain: photo`."""


@dataclass(frozen=True)
class Needs:
    """Of one stage."""

    hours: float
    disk: float  # bytes
    memory: float = LEAST_MEMORY


def told(pipeline: Pipeline, stages: tuple[Stage, ...]) -> list[str]:
    """Lines that say what these stages need, and what of it is not there."""
    images, lines, whole = 0, [], Needs(0, 0)
    for stage in pipeline.stages:
        if stage.name.startswith("01_"):
            images = stage.parameters["images"]
        if stage not in stages:
            continue
        one = needs(stage, images)
        whole = Needs(whole.hours + one.hours, whole.disk + one.disk, max(whole.memory, one.memory))
        lines.append(f"  {stage.name:32} {_amounts(one)}")
    lines = [f"needs, without a GPU:             {_amounts(whole)}", *lines]
    lines += [f"  labels by a person: {path} ({state})" for path, state in _labels(stages)]
    here = {name: checkpoints.missing(name) for name in named_checkpoints(stages)}
    lines += [f"  {why or f'weights {name!r} are here'}" for name, why in here.items()]
    return lines


def refuse_without_weights(stages: tuple[Stage, ...]) -> None:
    """A clear end before the start, rather than hours after it."""
    absent = [why for name in named_checkpoints(stages) if (why := checkpoints.missing(name))]
    if absent:
        raise PipelineError("; ".join(absent))


def named_checkpoints(stages: tuple[Stage, ...]) -> list[str]:
    """The published weights that the stages' parameters name or imply, each once."""
    given = [(key, str(value)) for stage in stages for key, value in stage.parameters.items()]
    names = [name for pair in given for name in IMPLIED.get(pair, pair[1:])]
    for stage in stages:
        if stage.parameters.get("domain") == "photo":
            names += PHOTO.get(stage.notebook.name[:2], ())
    return [name for name in dict.fromkeys(names) if name in checkpoints.CHECKPOINTS]


def needs(stage: Stage, images: int) -> Needs:
    """What a stage needs by its parameters; `images` are those of the last 01 before it."""
    given, kept = stage.parameters, images * KEPT
    number = stage.notebook.name[:2]
    drawn = SECONDS["generator"]
    seen = drawn + SECONDS["cnn"]
    judged = seen + SECONDS["facexformer"]
    if number == "01":
        return _needs(images * drawn, images * IMAGE)
    if number == "02":
        networks = 4 * given["folds"]
        return _needs(networks * SECONDS["cnn"] * (images + TRAINING * TRIES * 2000), 1e8)
    if number == "03":
        return _needs(kept * SECONDS["facexformer"], kept * FACE)
    if number == "05":
        both = drawn + 2 * SECONDS["discriminator"]
        return _needs(given["epochs"] * kept * TRAINING * both, 5e8)
    if number == "06":
        every = given["images"] + given["test_images"]
        learning = TRAINING * given["epochs"] * given["images"] * SECONDS["cnn"]
        return _needs(every * judged + learning, every * 256 * 256 * 3)
    if number == "07":
        size = given["images"] * (4.0 * WIDTHS[given["layer"]] + scene.COLORS + SCORES)
        seconds = given["images"] * seen + given["population"] * judged
        # On disk twice: the shards go when all lies in one file.
        return _needs(seconds, 2 * size, LEAST_MEMORY + 2 * size)
    if number == "08":
        tested = given["test_latents"] * len(given["methods"])
        tested += given["confirmation_latents"] * len(given["confirmed"])
        return _needs(50 * tested * judged, 1e7)
    if number == "09":
        return _needs(50 * given["test_latents"] * judged, 1e7)
    return _needs(0, 1e7)


def _needs(seconds: float, disk: float, memory: float = LEAST_MEMORY) -> Needs:
    return Needs(seconds / 3600, disk, memory)


def _amounts(one: Needs) -> str:
    return (
        f"{one.hours:7.1f} hours {one.disk / 1e9:6.1f} GB of disk {one.memory / 1e9:5.1f} GB of "
        "memory"
    )


def _labels(stages: tuple[Stage, ...]):
    """CSV files that a person writes, and whether they are there."""
    for stage in stages:
        if path := stage.parameters.get("labels"):
            there = (ROOT / str(path)).exists()
            yield path, "here" if there else f"not here yet: {stage.name} asks for it"
