"""The embedded conditional NVAE: 64 px faces of women, with the renderer's values as conditions."""

from dataclasses import replace

import numpy as np
import pandas as pd

from ohlora_lib.measure.conditions import conditions_of
from ohlora_lib.models.nvae import CONDITIONS, NVAE
from ohlora_lib.toyworld.attributes import FEMALE
from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.nvae import ConditionedFaces, NVAEPlan, likelihood
from ohlora_lib.train.toy.generator_quality import quality

SEED = 20_035  # of the rendered faces that it sees; no other network sees them
PLAN = NVAEPlan(batch=32, learning_rate=4e-3, warm_up=0.03, power_iterations=1)
FURTHER = replace(PLAN, learning_rate=1e-3, beta_warm_up=0.0)
"""To go on from trained weights."""


def women(faces: Faces) -> ConditionedFaces:
    """The women among rendered faces, and their true conditions."""
    rows = np.flatnonzero(faces.column("gender") > FEMALE)
    some = faces.part(rows)
    values = {name: some.column(name) for name in ("eyes", "mouth", "hair_color", "pose")}
    values["background_mean"] = some.column("background_mean")
    return ConditionedFaces(np.array(some.images), conditions_of(values), f"women of {faces.name}")


def enlarged(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) -> (N, 2 S, 2 S, 3): 64 px as the annotator's 128 px, each pixel four times."""
    return images.repeat(2, 1).repeat(2, 2)


def evaluate(network: NVAE, annotator, held_out: ConditionedFaces) -> dict[str, float]:
    """Figures on held-out women: of each of them with its condition, and of a generated face with
    the condition of every second one."""
    images, conditions = held_out.images, held_out.conditions
    bound = likelihood(network, images, conditions, samples=1)
    shuffled = likelihood(network, images, np.roll(conditions, 1, axis=0), samples=1)
    active = (bound.kl > 0.1).sum() / bound.kl.size
    figures = {
        "bits per dimension (bound)": bound.bits.mean(),
        "the same, conditions shuffled": shuffled.bits.mean(),
        "fraction of latent channels with a KL above 0.1": active,
    }
    again = network.reconstruct(images, conditions)
    errors = ((images.astype(np.float32) - again) ** 2).mean((1, 2, 3))
    figures["PSNR of reconstructions"] = (10 * np.log10(255**2 / errors)).mean()
    wanted = conditions[::2]
    made = network.generate(range(len(wanted)), wanted)
    figures |= quality(annotator, enlarged(images), enlarged(made))
    rows = {"rendered": (enlarged(images), conditions), "generated": (enlarged(made), wanted)}
    for kind, (shown, true) in rows.items():
        found = conditions_of(annotator.annotate(shown).attributes)
        for column, name in enumerate(CONDITIONS):
            r = pd.Series(found[:, column]).corr(pd.Series(true[:, column]))
            figures[f"r of {name} with the annotator's, {kind}"] = r
    return {name: float(value) for name, value in figures.items()}
