"""Train an embedded model: `python -m ohlora_lib.train.toy parser --minutes 3`.

Renders the faces (once), trains for the given minutes, resumes an interrupted run, measures the
result on held-out faces, and writes weights and a model card.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from ohlora_lib import checkpoints
from ohlora_lib.models.nvae import NVAE, QUICK
from ohlora_lib.store import ROOT
from ohlora_lib.toyworld.face_sets import (
    PAIR_SEED,
    POOR_SEED,
    TEST_SEED,
    TRAIN_SEED,
    Faces,
    FaceSet,
    load_faces,
)
from ohlora_lib.train.nvae import ConditionedFaces, NVAETraining
from ohlora_lib.train.toy import annotator, nvae, parser, quality, second_generator
from ohlora_lib.train.toy.card import Card, write_card
from ohlora_lib.train.toy.change_maps import load_change_maps
from ohlora_lib.train.toy.entangle import latents
from ohlora_lib.train.toy.loop import Budget, Reached, fit, resume
from ohlora_lib.train.toy.original_adversarial import AdversarialPlan, AdversarialTraining
from ohlora_lib.train.toy.original_colors import fit_colors
from ohlora_lib.train.toy.original_defects import strengthen
from ohlora_lib.train.toy.original_mapping import MappingTraining
from ohlora_lib.train.toy.original_regression import FURTHER, RegressionPlan, RegressionTraining

WORK = ROOT / "data" / "toyworld" / "train"
MAPPING_SHARE, REGRESSION_SHARE = 0.06, 0.3  # of the minutes of `original`


def train_parser(options) -> None:
    """The parser: image -> class map."""
    real, test = training_and_test_faces(options)
    plan = planned(parser.ParserPlan(), options)
    training = parser.ParserTraining(real, options.device, options.seed, plan)
    reached = run(training, options, "parser")
    network = ship(training.network, options, "parser")
    figures = parser.evaluate(network, test)
    about = Card(
        "Parser",
        "A compact U-Net: 128 px face -> class map (background, skin, brows, eyes, nose, lips, "
        "inner mouth, hair). The table has the intersection over union.",
        f"{describe(real)}; augmented by mirroring, shifts, rotation, zoom, color changes, blur "
        "and noise",
        command(options, "parser"),
        describe(test),
    )
    finish(options, "parser", about, reached, figures)


def train_annotator(options) -> None:
    """The annotator: image -> attributes and filter probabilities."""
    real, test = training_and_test_faces(options)
    poor = faces(options, POOR_SEED, options.faces // 3, poor=True)
    plan = planned(annotator.AnnotatorPlan(), options)
    training = annotator.AnnotatorTraining(real, options.device, options.seed, plan, poor=poor)
    reached = run(training, options, "annotator")
    half = len(test) // 2
    annotator.calibrate(training.network, test.part(slice(None, half)))
    network = ship(training.network, options, "annotator")
    rest = test.part(slice(half, None))
    about = Card(
        "Annotator",
        "A small CNN: 128 px face -> attributes, and the probabilities that the face is female, of "
        "good quality, old, and wears glasses. Fréchet distances are computed in its features. It "
        "takes the place of the person who labels images.",
        f"{describe(real)} and {describe(poor)}; augmented by shifts of up to 2 px, blur and noise",
        command(options, "annotator"),
        f"{len(rest)} held-out faces of seed {TEST_SEED}; calibrated on {half} others of that seed",
    )
    finish(options, "annotator", about, reached, annotator.evaluate(network, rest))


def train_quality(options) -> None:
    """The start of the quality filter's folds: image -> probability of good quality."""
    real, test = training_and_test_faces(options)
    poor = faces(options, POOR_SEED, options.faces // 3, poor=True)
    plan = planned(quality.QualityPlan(), options)
    training = quality.QualityTraining(real, poor, options.device, options.seed, plan)
    reached = run(training, options, "quality-start")
    network = ship(training.network, options, "quality-start")
    about = Card(
        "Start of the quality filter",
        "A filter CNN for the whole face at 96 px: the probability that an image is of good "
        "quality. The folds of notebook 02 start from it.",
        f"{describe(real)} and {describe(poor)}; augmented by mirroring and shifts of up to 2 px",
        command(options, "quality"),
        describe(test),
    )
    finish(options, "quality-start", about, reached, quality.evaluate(network, test))


def train_original(options) -> None:
    """The original generator and its discriminator, step by step.

    The mapping (`original_mapping`), colors (`original_colors`, if it goes on), regression on pairs
    of z and face (`original_regression`), adversarial training (`original_adversarial`), and
    stronger defects (`original_defects`).
    """
    where = (options.device, options.seed)
    before = critic = None
    if options.go_on:
        before, critic = (checkpoints.load(n) for n in ("original", "original-discriminator"))
    mapping = MappingTraining(*where, before=before)
    reached = [run(mapping, options, "original-mapping", MAPPING_SHARE)]
    wanted = FaceSet(PAIR_SEED, options.faces, size=256, shared_texture=True, own_hair=True)
    real = load_faces(wanted, workers=options.workers)
    start, z = mapping.settle(), latents(PAIR_SEED, len(real))
    if options.go_on and not checkpoint_of(options, "original-regression").exists():
        fit_colors(start, real, z, options.seed)
    regression = RegressionTraining(
        start,
        real,
        z,
        *where,
        planned(FURTHER if before else RegressionPlan(), options),
        change_maps=load_change_maps(wanted, real, workers=options.workers),
    )
    share = options.regression_share
    reached.append(run(regression, options, "original-regression", share))
    plan = planned(AdversarialPlan(), options)
    training = AdversarialTraining(regression, *where, plan, critic=critic)
    rest = 1 - share - MAPPING_SHARE
    reached.append(run(training, options, "original-adversarial", rest))
    training.settle()
    strengthen(training.average, options.seed)
    ship(training.average, options, "original")
    ship(training.discriminator, options, "original-discriminator")
    about = Card(
        "Original generator and discriminator",
        "StyleGAN1 in GenForce's layout: z -> 256 px face, 128 px at `lod` 1; the attributes are "
        "entangled in z. `python -m ohlora_lib.train.toy.generator_quality` compares it with "
        "rendered faces.",
        f"{describe(real)}, each with the z that its attributes are mapped to",
        command(options, "original"),
        "its own training pairs (generator_quality measures the rest)",
    )
    total = Reached(sum(r.steps for r in reached), sum(r.seconds for r in reached))
    finish(options, "original", about, total, training.figures())


def train_adversarial(options) -> None:
    """The second generator and its discriminator, by adversarial loss alone."""
    real = load_faces(
        FaceSet(second_generator.SEED, options.faces, size=64), workers=options.workers
    )
    start = None
    if options.go_on:
        start = [checkpoints.load(name) for name in ("adversarial", "adversarial-discriminator")]
    plan = planned(second_generator.SecondGeneratorPlan(), options)
    training = second_generator.SecondGeneratorTraining(
        real, options.device, options.seed, plan, start
    )
    reached = run(training, options, "adversarial")
    ship(training.average, options, "adversarial")
    ship(training.discriminator, options, "adversarial-discriminator")
    test = load_faces(FaceSet(TEST_SEED, options.test_faces, size=64), workers=options.workers)
    about = Card(
        "Second generator and its discriminator",
        "StyleGAN1 in GenForce's layout: z -> 64 px face, trained by adversarial loss alone: no "
        "attributes, no class maps, no network trained on them.",
        f"{describe(real)}; mirrored",
        command(options, "adversarial"),
        describe(test),
    )
    figures = second_generator.evaluate(
        training.average, checkpoints.load("annotator"), test.images
    )
    finish(options, "adversarial", about, reached, figures)


def train_nvae(options) -> None:
    """The conditional NVAE of GAI-P3."""
    shown = nvae.women(faces(options, nvae.SEED, options.faces, size=64))
    network, plan, measure = NVAE(QUICK, options.seed), nvae.PLAN, None
    if options.go_on:
        network, plan = checkpoints.load("nvae"), nvae.FURTHER
        meter = nvae.MeasureTraining(shown, options.seed)
        steps = Budget(steps=nvae.MEASURE_STEPS)
        fit(meter, checkpoint_of(options, "nvae-measure"), steps)
        measure = meter.measure().to(options.device)
    training = NVAETraining(
        network, shown, planned(plan, options), options.seed, options.device, measure
    )
    reached = run(training, options, "nvae")
    network = ship(training.network, options, "nvae")
    test = nvae.women(faces(options, TEST_SEED, options.test_faces, size=64))
    about = Card(
        "Conditional NVAE",
        "A hierarchical variational autoencoder: noise and five conditions in 0 … 1 -> 64 px face "
        "of a woman. The conditions are eyes open, mouth open, hair dark, background bright, and "
        "head turned to the image's right. In training, each face came with the renderer's true "
        "values; the decoder did not see them for one face in ten.",
        f"{describe(shown)}; mirrored, and head with them",
        command(options, "nvae"),
        describe(test),
    )
    finish(
        options, "nvae", about, reached, nvae.evaluate(network, checkpoints.load("annotator"), test)
    )


TRAININGS = {
    "parser": train_parser,
    "annotator": train_annotator,
    "quality": train_quality,
    "original": train_original,
    "adversarial": train_adversarial,
    "nvae": train_nvae,
}


def faces(options, seed: int, count: int, **which: bool | int) -> Faces:
    return load_faces(FaceSet(seed, count, **which), workers=options.workers)


def training_and_test_faces(options) -> tuple[Faces, Faces]:
    """Disjoint sets for training and for measuring."""
    test = faces(options, TEST_SEED, options.test_faces)
    return faces(options, TRAIN_SEED, options.faces), test


def checkpoint_of(options, name: str) -> Path:
    return options.work / f"{name}-{options.seed}.pt"


def run(training, options, name: str, share: float = 1.0) -> Reached:
    """Run a training for its share of the budget."""
    checkpoint = checkpoint_of(options, name)
    if options.anew:
        checkpoint.unlink(missing_ok=True)
    if options.ship:
        if not (reached := resume(training, checkpoint)).steps:
            raise SystemExit(
                f"{checkpoint} holds no such training: give --ship the options of the training"
            )
        return reached
    budget = Budget(options.minutes * share, options.steps and round(options.steps * share))
    return fit(training, checkpoint, budget, lambda line: print(f"{name}: {line}", flush=True))


def ship(network, options, name: str):
    """Write the weights as bfloat16 and read them back, so that the file is what is measured."""
    path = options.out / f"{name}.safetensors"
    checkpoints.save(network, path, torch.bfloat16)
    return checkpoints.load(path).to(options.device)


def describe(some: Faces | ConditionedFaces) -> str:
    return f"{len(some.images)} rendered faces ({some.name})"


def planned(plan, options):
    """The plan, with the batch size of the options if given."""
    return replace(plan, batch=options.batch) if options.batch else plan


def command(options, what: str) -> str:
    limit = f"--steps {options.steps}" if options.steps else f"--minutes {options.minutes:g}"
    batch = f" --batch {options.batch}" if options.batch else ""
    return (
        f"python -m ohlora_lib.train.toy {what} {limit} --seed {options.seed} "
        f"--faces {options.faces}{batch}{' --go-on' * options.go_on}{' --ship' * options.ship}"
    )


def finish(options, name: str, card: Card, reached: Reached, figures: dict[str, float]) -> None:
    write_card(options.out / f"{name}.md", card, reached, figures)
    for key, value in figures.items():
        print(f"{name}: {key} {value:.4g}")
    print(f"{name}: weights and card are in {options.out}")


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    reader = argparse.ArgumentParser(prog="python -m ohlora_lib.train.toy", description=__doc__)
    add = reader.add_argument
    add("what", choices=TRAININGS)
    add("--minutes", type=float, default=10, help="of training, without rendering")
    add("--steps", type=int, help="instead of minutes: the same result on every machine")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--seed", type=int, default=0)
    add("--faces", type=int, default=9_000, help="rendered faces to train on")
    add("--test-faces", type=int, default=3_000)
    add("--workers", type=int, help="rendering processes (default: one per core)")
    add("--batch", type=int, help="images per step (default: the plan's; use more on a GPU)")
    add(
        "--regression-share",
        type=float,
        default=REGRESSION_SHARE,
        help="original: fraction of the minutes for regression",
    )
    add("--out", type=Path, help="folder for weights and card (default: data/toyworld/train)")
    add(
        "--go-on",
        action="store_true",
        help="original, adversarial, nvae: start from the embedded weights",
    )
    add("--anew", action="store_true", help="discard the checkpoint of an earlier run")
    add(
        "--ship",
        action="store_true",
        help="do not train: write weights and card of the newest checkpoint of this training",
    )
    options = reader.parse_args(arguments)
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cuda" and not torch.cuda.is_available():
        reader.error("--device cuda: PyTorch sees no GPU here; use --device cpu")
    if min(options.faces, options.test_faces) < 50:
        reader.error("--faces and --test-faces: at least 50 are needed")
    options.device, options.work = torch.device(options.device), WORK
    options.out = options.out or WORK
    return options


def main(arguments: list[str] | None = None) -> int:
    options = read_options(arguments)
    TRAININGS[options.what](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
