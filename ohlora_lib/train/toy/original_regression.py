"""The original generator's second step: draw, for each rendered face's z, that face.

Adversarial training from scratch needs days on a CPU; regression on pairs (z, face) finds faces
within minutes, blurred where z does not explain them. `original_adversarial` sharpens.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.faces.classes import (
    INNER_MOUTH,
    LEFT_BROW,
    LEFT_EYE,
    LOWER_LIP,
    RIGHT_BROW,
    RIGHT_EYE,
    UPPER_LIP,
)
from ohlora_lib.models.precision import autocast
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.toyworld.attributes import GLASSES
from ohlora_lib.toyworld.face_sets import DEFECTS_BELOW, Faces, as_images
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.loop import identity
from ohlora_lib.train.toy.perceptual import Judges

CURLY = 0.7  # hardly one in ten
SMALL_PARTS = (LEFT_BROW, RIGHT_BROW, LEFT_EYE, RIGHT_EYE, UPPER_LIP, INNER_MOUTH, LOWER_LIP)


@dataclass(frozen=True)
class RegressionPlan:
    """How it is trained. `stages`: from which progress on at which lod (2: a quarter the size)."""

    batch: int = 16
    learning_rate: float = 8e-3
    mapping_rate: float = 4.0  # times the learning rate: its layers learn 100 times slower
    stages: tuple[tuple[float, int], ...] = ((0.0, 3), (0.03, 2), (0.1, 1), (0.25, 0))
    rare: float = 8.0  # how many times as often as others rare faces come up; see `shares`
    region_weight: float = 5.0
    defect_weight: float = 8.0  # of a spoiled pixel
    perceptual: float = 0.2  # of the loss: what the annotator sees
    perceptual_quality: float = 0.3  # and what the quality filter's start does
    perceptual_up_to: int = 1  # lod; smaller pictures are no faces to the judges
    average: float = 0.995  # of the weights, per step

    def lod(self, progress: float) -> int:
        return [lod for start, lod in self.stages if start <= progress][-1]


class RegressionTraining:
    """`generator`, and its running `average`, after some steps; see `loop.Training`.

    With `spoiled` (see there) a pixel counts more where a defect shows.
    """

    def __init__(
        self, start: Generator, faces, z, device, seed=0, plan=None, judges=None, spoiled=None
    ):
        self.faces, self.z, self.device, self.seed = faces, torch.from_numpy(z), device, seed
        self.plan, self.judges, self.spoiled = plan or RegressionPlan(), judges, spoiled
        self.shares = shares(faces, self.plan.rare)
        self.generator = start.to(device)
        self.average = Generator(start.config).to(device).requires_grad_(False)
        self.average.load_state_dict(self.generator.state_dict())
        self.optimizer = torch.optim.Adam(trained(self.generator), betas=(0.9, 0.99))
        self.parts = {
            "generator": self.generator,
            "average": self.average,
            "optimizer": self.optimizer,
        }
        self.identity = identity(self, start.config, faces)

    def step(self, step, progress):
        rng, lod = stream(self.seed, step), self.plan.lod(progress)
        rows = np.sort(rng.choice(len(self.faces), self.plan.batch, replace=False, p=self.shares))
        drawn = draw(self.generator, self.z[rows].to(self.device), lod)
        seen_by = self.judges if lod <= self.plan.perceptual_up_to else None
        loss = regression_loss(drawn, *self.wanted(rows, lod), self.plan, seen_by)
        set_rates(self.optimizer, self.plan, _rate(progress))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        average_weights(self.average, self.generator, min(self.plan.average, step / (step + 10)))
        return {"lod": lod, "loss": loss.item()}

    def wanted(self, rows, lod=0):
        """Faces at a lod: images (N, 3, r, r) and each pixel's weight (N, 1, r, r), mean 1."""
        images = as_images(self.faces.images[rows], self.device)
        maps = torch.from_numpy(self.faces.maps[rows]).to(self.device)
        small = torch.isin(maps, torch.tensor(SMALL_PARTS, dtype=maps.dtype, device=self.device))
        weight = 1 + self.plan.region_weight * F.avg_pool2d(small[:, None].float(), 7, 1, 3)
        if self.spoiled is not None:
            where = torch.from_numpy(self.spoiled.of(rows)).to(self.device)
            weight = weight + self.plan.defect_weight * where[:, None]
        if lod:
            images, weight = F.avg_pool2d(images, 2**lod), F.avg_pool2d(weight, 2**lod)
        return images, weight / weight.mean()


def shares(faces: Faces, rare: float) -> np.ndarray:
    """(N,) how often each face comes up, in all 1: with glasses, defects or curls `rare` times.

    Which z has which face stays as it is, so the generator's own rates do too.
    """
    chosen = (faces.column("glasses") > GLASSES) | (faces.column("quality") < DEFECTS_BELOW)
    share = np.where(chosen | (faces.column("curl") > CURLY), rare, 1.0)
    return share / share.sum()


def set_rates(optimizer, plan, factor: float) -> None:
    """The plan's learning rate, times a factor, for both of `trained`'s groups."""
    for group, times in zip(optimizer.param_groups, (plan.mapping_rate, 1.0), strict=True):
        group["lr"] = plan.learning_rate * times * factor


def trained(generator: Generator) -> list[dict]:
    """Mapping and synthesis, but for the noise's strengths, which stay zero: noise makes grain."""
    for name, parameter in generator.named_parameters():
        parameter.requires_grad_(not name.endswith("apply_noise.weight"))
    drawing = (p for p in generator.synthesis.parameters() if p.requires_grad)
    return [{"params": list(generator.mapping.parameters())}, {"params": list(drawing)}]


def draw(generator: Generator, z: torch.Tensor, lod: int = 0) -> torch.Tensor:
    """z -> images (N, 3, R / 2^lod, R / 2^lod) in -1..1."""
    w = generator.mapping(z)
    with autocast(device=z.device):
        images = generator.from_w(w, lod=lod)
    images = images.float()
    return images[..., :: 2**lod, :: 2**lod] if lod else images


def regression_loss(drawn, images, weight, plan, judges: Judges | None = None):
    """Weighted L1 of pixels, of their differences, and at half and quarter size."""
    error = drawn - images
    loss = (error.abs() * weight).mean() + 0.5 * sum(d.abs().mean() for d in _differences(error))
    for size in (2, 4):
        loss = loss + 0.5 * F.avg_pool2d(error, size).abs().mean()
    if judges is not None:
        loss = loss + judges.loss(drawn, images, plan)
    return loss


def _differences(x):
    """Between neighbors, across and down."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def _rate(progress: float) -> float:
    """A short rise, the full rate for two thirds of the time, then down to a twentieth."""
    return min(1.0, 0.1 + 30 * progress, max(0.05, (1 - progress) / 0.33))


@torch.no_grad()
def average_weights(average, network, decay: float) -> None:
    """Moves `average` toward the network's weights."""
    for own, new in zip(average.parameters(), network.parameters(), strict=True):
        own.lerp_(new, 1 - decay)
