"""The original generator, step 2: regression on pairs of z and rendered face.

Adversarial training from scratch takes days on a CPU; regression learns to draw faces within
minutes, blurred where z does not determine them. `original_adversarial` sharpens them. The mapping
stays as it is: trained on a fixed set of z, it would memorize them.

What a style depends on may be a direction in which w hardly varies: variances differ 2,500 times,
and gradient descent is slow there. So styles are trained as functions of whitened w.

Each face has strands of its own, which its z does not determine. So pixels inside hair hardly
count; their colors do, and how strong strands of each direction are (`perceptual`).
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from ohlora_lib.faces.classes import (
    HAIR,
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
from ohlora_lib.train.toy.loop import identity, set_rate
from ohlora_lib.train.toy.perceptual import texture_distance

CURLY = 0.7  # fewer than one face in ten
SMALLER = (64, 32)  # pixels: at these sizes strands are a color, and hair counts like all else
WHITENED_BY = 20_000  # z
ENLARGED = 4.0
NOISE = 0.01  # of w's mean variance: directions with less are not enlarged further
SMALL_PARTS = (LEFT_BROW, RIGHT_BROW, LEFT_EYE, RIGHT_EYE, UPPER_LIP, INNER_MOUTH, LOWER_LIP)


@dataclass(frozen=True)
class RegressionPlan:
    """Optimization settings. `stages`: from which progress on which lods, in turn."""

    batch: int = 16
    learning_rate: float = 8e-3
    stages: tuple[tuple[float, tuple[int, ...]], ...] = (
        (0.0, (4,)),
        (0.03, (3,)),
        (0.1, (2,)),
        (0.25, (1,)),
        (0.7, (1, 0)),
    )
    rare: float = 8.0  # how much more often rare faces are sampled; see `shares`
    region_weight: float = 5.0  # of small parts
    change_weight: float = 8.0  # of a pixel with a defect or glasses
    edge_weight: float = 2.0  # of pixels at the edge of hair
    hair_share: float = 0.15  # factor of the pixel loss inside hair
    tints: float = 4.0  # weight of colors apart from their brightness: skin turned green or yellow
    texture: float = 2.0  # weight of the perceptual loss
    average: float = 0.995  # decay of the moving average of the weights

    def lod(self, step: int, progress: float) -> int:
        lods = [lods for start, lods in self.stages if start <= progress][-1]
        return lods[step % len(lods)]


FURTHER = RegressionPlan(learning_rate=4e-3, stages=((0.0, (2, 1)), (0.3, (1, 0))))
"""For a generator that has been trained already."""


class RegressionTraining:
    """A `loop.Training` of `generator`; `average` is the moving average of its weights.

    With `change_maps`, pixels with a defect or glasses have a higher weight.
    """

    def __init__(self, start: Generator, faces, z, device, seed=0, plan=None, change_maps=None):
        self.faces, self.z, self.device, self.seed = faces, torch.from_numpy(z), device, seed
        self.plan, self.change_maps = plan or RegressionPlan(), change_maps
        self.shares = shares(faces, self.plan.rare)
        self.whitening = whitening(start, self.z[:WHITENED_BY])
        self.generator = whitened(start.to(device), self.whitening)
        self.average = deepcopy(self.generator).requires_grad_(False)
        self.optimizer = torch.optim.Adam(trained(self.generator), betas=(0.9, 0.99))
        self.parts = {
            "generator": self.generator,
            "average": self.average,
            "optimizer": self.optimizer,
        }
        self.identity = identity(self, start.config, faces) | {"whitened": True}

    def step(self, step, progress):
        rng, lod = stream(self.seed, step), self.plan.lod(step, progress)
        rows = np.sort(rng.choice(len(self.faces), self.plan.batch, replace=False, p=self.shares))
        drawn = draw(self.generator, self.z[rows].to(self.device), lod)
        loss = regression_loss(drawn, *self.targets(rows, lod), self.plan)
        set_rate(self.optimizer, self.plan.learning_rate * _rate(progress))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        average_weights(self.average, self.generator, min(self.plan.average, step / (step + 10)))
        return {"lod": lod, "loss": loss.item()}

    def targets(self, rows, lod=0):
        """Faces at a lod: images (N, 3, r, r) and each pixel's weight (N, 1, r, r), mean 1."""
        images = as_images(self.faces.images[rows], self.device)
        maps = torch.from_numpy(self.faces.maps[rows]).to(self.device)[:, None]
        weight = region_weights(maps, self.plan)
        if self.change_maps is not None:
            where = torch.from_numpy(self.change_maps.of(rows)).to(self.device)
            weight = weight + self.plan.change_weight * where[:, None]
        if lod:
            images, weight = F.avg_pool2d(images, 2**lod), F.avg_pool2d(weight, 2**lod)
        return images, weight / weight.mean()


def region_weights(maps: torch.Tensor, plan: RegressionPlan) -> torch.Tensor:
    """Class maps (N, 1, R, R) -> weights (N, 1, R, R): high near small parts and edges of hair."""
    near, thin = (max(3, maps.shape[-1] // part | 1) for part in (20, 42))
    small = torch.isin(maps, torch.tensor(SMALL_PARTS, dtype=maps.dtype, device=maps.device))
    hair = (maps == HAIR).float()
    beside = F.avg_pool2d(hair, thin, 1, thin // 2)
    edge = 4 * beside * (1 - beside)
    weight = torch.where((hair > 0) & (edge < 0.5), plan.hair_share, 1.0)
    weight = weight + plan.edge_weight * edge
    return weight + plan.region_weight * F.avg_pool2d(small.float(), near, 1, near // 2)


def shares(faces: Faces, rare: float) -> np.ndarray:
    """(N,) sampling probabilities: faces with glasses, defects or curls `rare` times as often.

    Pairs of z and face stay the same, so the generator's own frequencies do too.
    """
    chosen = (faces.column("glasses") > GLASSES) | (faces.column("quality") < DEFECTS_BELOW)
    share = np.where(chosen | (faces.column("curl") > CURLY), rare, 1.0)
    return share / share.sum()


@torch.no_grad()
def whitening(generator: Generator, z: torch.Tensor) -> torch.Tensor:
    """(W, W): w times it varies equally in all directions, but for those that are only noise.

    It also enlarges w: weights of styles have far to go, a color takes the whole range of one.
    """
    device = generator.truncation.w_avg.device
    w = torch.cat([generator.mapping(part.to(device)) for part in z.split(1000)]).double()
    variance = w.var(0).mean()
    values, directions = torch.linalg.eigh(w.T @ w / len(w))  # about 0: styles have a bias
    size = ENLARGED * (variance / (values.clamp(min=0) + NOISE * variance)).sqrt()
    return ((directions * size) @ directions.T).float()


class Whitened(nn.Module):
    """The weight of a style, as what is trained times the whitening matrix."""

    def __init__(self, matrix: torch.Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, own: torch.Tensor) -> torch.Tensor:
        return own @ self.matrix

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(self.matrix, weight, left=False)


def whitened(generator: Generator, matrix: torch.Tensor) -> Generator:
    """The same generator; from now on its styles' weights are trained as `Whitened` ones."""
    for style in _styles(generator):
        parametrize.register_parametrization(style, "weight", Whitened(matrix))
    return generator


@torch.no_grad()
def plain(generator: Generator) -> Generator:
    """A copy of a whitened generator that draws the same, with usual weights."""
    state = generator.state_dict()
    state = {name: value for name, value in state.items() if "parametrizations" not in name}
    for i, style in enumerate(_styles(generator)):
        state[f"synthesis.layer{i}.style.weight"] = style.weight
    made = Generator(generator.config).to(generator.truncation.w_avg.device)
    made.load_state_dict(state)
    return made


def _styles(generator: Generator) -> list[nn.Module]:
    return [getattr(generator.synthesis, f"layer{i}").style for i in range(generator.config.layers)]


def trained(generator: Generator) -> list[torch.nn.Parameter]:
    """The parameters of the synthesis but noise strengths, which stay 0: strands, not grain."""
    generator.mapping.requires_grad_(False)
    for name, parameter in generator.synthesis.named_parameters():
        parameter.requires_grad_(not name.endswith("apply_noise.weight"))
    return [p for p in generator.synthesis.parameters() if p.requires_grad]


def draw(generator: Generator, z: torch.Tensor, lod: int = 0) -> torch.Tensor:
    """z -> images (N, 3, R / 2^lod, R / 2^lod) in -1..1."""
    w = generator.mapping(z)
    with autocast(device=z.device):
        images = generator.from_w(w, lod=lod)
    images = images.float()
    return images[..., :: 2**lod, :: 2**lod] if lod else images


def regression_loss(drawn, images, weight, plan):
    """Weighted L1 of pixels and of their differences, L1 of smaller sizes and of tints, perceptual
    loss."""
    error = drawn - images
    loss = (error.abs() * weight).mean()
    across, down = _differences(error)
    loss = loss + 0.5 * (across.abs() * weight[..., 1:]).mean()
    loss = loss + 0.5 * (down.abs() * weight[..., 1:, :]).mean()
    for side in SMALLER:
        if side < error.shape[-1]:
            loss = loss + 0.5 * F.adaptive_avg_pool2d(error, side).abs().mean()
    coarse = F.adaptive_avg_pool2d(error, min(SMALLER))
    tint = coarse - coarse.mean(1, keepdim=True)
    loss = loss + plan.tints * tint.abs().mean()
    return loss + plan.texture * texture_distance(drawn, images)


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
