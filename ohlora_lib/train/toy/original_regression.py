"""The original generator, step 2: regression on pairs of z and rendered face.

Adversarial training from scratch takes days on a CPU; regression learns to draw faces within
minutes, blurred where z does not determine them. `original_adversarial` sharpens them.
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
from ohlora_lib.train.toy.perceptual import PerceptualLoss

CURLY = 0.7  # fewer than one face in ten
SMALL_PARTS = (LEFT_BROW, RIGHT_BROW, LEFT_EYE, RIGHT_EYE, UPPER_LIP, INNER_MOUTH, LOWER_LIP)


@dataclass(frozen=True)
class RegressionPlan:
    """Optimization settings. `stages`: from which progress on which lod (2: quarter size)."""

    batch: int = 16
    learning_rate: float = 8e-3
    mapping_rate: float = 4.0  # times the learning rate: mapping layers learn 100 times slower
    stages: tuple[tuple[float, int], ...] = ((0.0, 3), (0.03, 2), (0.1, 1), (0.25, 0))
    rare: float = 8.0  # how much more often rare faces are sampled; see `shares`
    region_weight: float = 5.0
    defect_weight: float = 8.0  # of a pixel with a defect
    perceptual: float = 0.2  # weight of the loss in the annotator's features
    perceptual_quality: float = 0.3  # and in those of the quality network
    perceptual_up_to: int = 1  # lod; in smaller images those networks see no faces
    average: float = 0.995  # decay of the moving average of the weights

    def lod(self, progress: float) -> int:
        return [lod for start, lod in self.stages if start <= progress][-1]


class RegressionTraining:
    """A `loop.Training` of `generator`; `average` is the moving average of its weights.

    With `defect_maps`, pixels with a defect have a higher weight.
    """

    def __init__(
        self,
        start: Generator,
        faces,
        z,
        device,
        seed=0,
        plan=None,
        perceptual=None,
        defect_maps=None,
    ):
        self.faces, self.z, self.device, self.seed = faces, torch.from_numpy(z), device, seed
        self.plan = plan or RegressionPlan()
        self.perceptual, self.defect_maps = perceptual, defect_maps
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
        perceptual = self.perceptual if lod <= self.plan.perceptual_up_to else None
        loss = regression_loss(drawn, *self.targets(rows, lod), self.plan, perceptual)
        set_rates(self.optimizer, self.plan, _rate(progress))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        average_weights(self.average, self.generator, min(self.plan.average, step / (step + 10)))
        return {"lod": lod, "loss": loss.item()}

    def targets(self, rows, lod=0):
        """Faces at a lod: images (N, 3, r, r) and each pixel's weight (N, 1, r, r), mean 1."""
        images = as_images(self.faces.images[rows], self.device)
        maps = torch.from_numpy(self.faces.maps[rows]).to(self.device)
        small = torch.isin(maps, torch.tensor(SMALL_PARTS, dtype=maps.dtype, device=self.device))
        weight = 1 + self.plan.region_weight * F.avg_pool2d(small[:, None].float(), 7, 1, 3)
        if self.defect_maps is not None:
            where = torch.from_numpy(self.defect_maps.of(rows)).to(self.device)
            weight = weight + self.plan.defect_weight * where[:, None]
        if lod:
            images, weight = F.avg_pool2d(images, 2**lod), F.avg_pool2d(weight, 2**lod)
        return images, weight / weight.mean()


def shares(faces: Faces, rare: float) -> np.ndarray:
    """(N,) sampling probabilities: faces with glasses, defects or curls `rare` times as often.

    Pairs of z and face stay the same, so the generator's own frequencies do too.
    """
    chosen = (faces.column("glasses") > GLASSES) | (faces.column("quality") < DEFECTS_BELOW)
    share = np.where(chosen | (faces.column("curl") > CURLY), rare, 1.0)
    return share / share.sum()


def set_rates(optimizer, plan, factor: float) -> None:
    """Set the plan's learning rate times a factor in both parameter groups of `trained`."""
    for group, times in zip(optimizer.param_groups, (plan.mapping_rate, 1.0), strict=True):
        group["lr"] = plan.learning_rate * times * factor


def trained(generator: Generator) -> list[dict]:
    """Parameter groups: mapping, and synthesis without noise strengths, which stay 0 (no grain)."""
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


def regression_loss(drawn, images, weight, plan, perceptual: PerceptualLoss | None = None):
    """Weighted L1 of pixels, L1 of their differences and of smaller sizes, perceptual loss."""
    error = drawn - images
    loss = (error.abs() * weight).mean() + 0.5 * sum(d.abs().mean() for d in _differences(error))
    for size in (2, 4):
        loss = loss + 0.5 * F.avg_pool2d(error, size).abs().mean()
    if perceptual is not None:
        loss = loss + perceptual(drawn, images, plan)
    return loss


def _differences(x):
    """Between neighbors, across and down."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def _rate(progress: float) -> float:
    """A short warm-up, the full rate for two thirds of the time, then a decay to a twentieth."""
    return min(1.0, 0.1 + 30 * progress, max(0.05, (1 - progress) / 0.33))


@torch.no_grad()
def average_weights(average, network, decay: float) -> None:
    """Update the moving average of the network's weights."""
    for own, new in zip(average.parameters(), network.parameters(), strict=True):
        own.lerp_(new, 1 - decay)
