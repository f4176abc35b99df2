"""The embedded conditional NVAE: 64 px faces of women, with the renderer's values as conditions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.measure.conditions import conditions_of
from ohlora_lib.models.condition_cnn import ConditionCNN
from ohlora_lib.models.conv_tower import SLOPE
from ohlora_lib.models.nvae import CONDITIONS, NVAE
from ohlora_lib.models.pixels import channels_first
from ohlora_lib.toyworld.attributes import FEMALE
from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.nvae import ConditionedFaces, NVAEPlan, likelihood
from ohlora_lib.train.toy.generator_quality import quality
from ohlora_lib.train.toy.loop import rate, set_rate

SEED = 20_035  # of the rendered faces that it sees; no other network sees them
PLAN = NVAEPlan(batch=32, learning_rate=4e-3, warm_up=0.03, power_iterations=1)
FURTHER = replace(PLAN, learning_rate=1e-3, beta_warm_up=0.0, swap=1e4)
"""To go on from trained weights; the `MeasureTraining`'s network measures the swap loss."""
MEASURE_STEPS = 1_500
HEAD = CONDITIONS.index("head")


def women(faces: Faces) -> ConditionedFaces:
    """The women among rendered faces, and their true conditions."""
    rows = np.flatnonzero(faces.column("gender") > FEMALE)
    some = faces.part(rows)
    values = {name: some.column(name) for name in ("eyes", "mouth", "hair_color", "pose")}
    values["background_mean"] = some.column("background_mean")
    return ConditionedFaces(np.array(some.images), conditions_of(values), f"women of {faces.name}")


class MeasureTraining:
    """Of the network that measures the conditions of the swap loss: true values of rendered faces
    by their pixels, for `loop.fit`. Some faces are blurred or noisy, as generated ones are."""

    def __init__(self, faces: ConditionedFaces, seed: int, batch: int = 64):
        self.faces, self.seed, self.batch = faces, seed, batch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = ConditionCNN().train()
            for module in self.network.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, a=SLOPE)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 2e-3)
        self.parts = {"network": self.network, "optimizer": self.optimizer}
        self.identity = {"what": type(self).__name__, "seed": seed, "faces": faces.name}

    def step(self, step: int, progress: float) -> dict[str, float]:
        set_rate(self.optimizer, 2e-3 * rate(progress))
        rng = stream(self.seed, step)
        rows = np.sort(rng.choice(len(self.faces.images), self.batch))
        true = torch.from_numpy(np.array(self.faces.conditions[rows], np.float32))
        images = channels_first(np.array(self.faces.images[rows])).float() / 127.5 - 1
        flip = torch.from_numpy(rng.random(len(rows)) < 0.5)
        images[flip] = images[flip].flip(3)
        true[flip, HEAD] = 1 - true[flip, HEAD]
        some = torch.from_numpy(rng.random(len(rows)) < 0.5)
        images[some] = F.interpolate(
            F.avg_pool2d(images[some], 2), scale_factor=2, mode="bilinear", align_corners=False
        )
        some = torch.from_numpy(rng.random(len(rows)) < 0.5)
        noise = rng.standard_normal(images[some].shape, np.float32) * 0.06
        images[some] += torch.from_numpy(noise)
        loss = (self.network(images) - true).square().sum(1).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"squared error": loss.item()}

    def measure(self) -> ConditionCNN:
        return self.network.eval().requires_grad_(False)


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
