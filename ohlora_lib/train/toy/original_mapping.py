"""The original generator, step 1: a mapping whose w encodes the attributes.

The attributes of any z are known in closed form, so the mapping trains on new random z, without
images: an auxiliary network must predict the attributes' draws from w. It is not linear, so that w
need not be linear in the draws. A linear one must predict the kind and strength of a defect: few
faces have defects, and styles are linear in w, so they could not express defects otherwise. (With a
fixed set of 80,000 z the mapping memorized the defects: on new z it explained a tenth of their
variance.)

A mapping that goes on must let a linear network predict all draws: what styles cannot read out of w
is drawn as an average (translucent fringes, glasses half there). On the first embedded generator
that was an eighth of the draws' variance, and brows lay a pixel beside their places. A hue is an
angle, so linear networks must predict the colors themselves, too, or backgrounds become gray.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit, ndtr, ndtri
from torch import nn

from ohlora_lib.models.stylegan import Generator, GeneratorConfig, with_resolution
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, UNIFORM, attributes_of
from ohlora_lib.toyworld.background import background_color, clothes_color
from ohlora_lib.toyworld.canvas import smoothstep
from ohlora_lib.toyworld.defects import KINDS
from ohlora_lib.toyworld.eyes import iris_color
from ohlora_lib.toyworld.face import skin_color
from ohlora_lib.toyworld.hair import hair_color
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.entangle import DRAWS, Entangle
from ohlora_lib.train.toy.loop import identity

EMBEDDED = GeneratorConfig(resolution=256, fmaps_base=4096, fmaps_max=128)
QUALITY = ATTRIBUTE_NAMES.index("quality")
DEFECT_KIND = len(ATTRIBUTE_NAMES) + 2  # among the draws: the third of the uniform ones
SOUND = -1.3  # images whose draw of quality is larger have no defect


@dataclass(frozen=True)
class MappingPlan:
    """Optimization settings. Mapping layers learn 100 times slower, hence the high rate."""

    batch: int = 512
    learning_rate: float = 1.0
    reader_rate: float = 1e-3
    reader_width: int = 256
    defects: float = 0.3  # weight of the linear prediction of defects
    colors: float = 0.0  # weight of the linear prediction of colors
    colored: int = 128  # of a batch: z whose colors are computed
    poor: float = 0.4  # of a batch: z with (nearly) a defect; by chance it would be a tenth


FURTHER = MappingPlan(defects=0.25, poor=0.25, colors=1.0)
"""For a mapping that goes on. 6,410 steps took the share of the draws' variance that is linear in w
from .87 to .93, and that of the colors from .46 to .89."""
SOLVED_EVERY = 500  # steps; the linear readers follow a mapping that changes fast too slowly
RIDGE = 3e-3  # of w's mean variance: without it readers use directions that the next steps change


class MappingTraining:
    """A `loop.Training` of the mapping of `generator`, which is new or goes on from `before`."""

    def __init__(self, device, seed=0, plan=None, config=EMBEDDED, before: Generator | None = None):
        self.device, self.seed = device, seed
        self.plan = plan or (FURTHER if before else MappingPlan())
        self.config, self.entangle = config, Entangle(z_size=config.z_size)
        self.start, self.before = self._latents(stream(seed, 0), 4096), before
        self.generator = (
            with_resolution(before, config.resolution, seed)
            if before
            else start_open(Generator(config, seed), self.start)
        ).to(device)
        self.mapping = self.generator.mapping.requires_grad_(True)
        w = self.mapping(self.start.to(device)).detach()
        self.mean, self.std = w.mean(0), w.std(0).mean()
        torch.manual_seed(seed)
        width = self.plan.reader_width
        self.reader = nn.Sequential(
            nn.Linear(config.w_size, width), nn.LeakyReLU(0.2), nn.Linear(width, DRAWS)
        ).to(device)
        self.plain_reader = nn.Linear(config.w_size, len(KINDS)).to(device)
        usual = stream(seed, 0).standard_normal((20_000, DRAWS))
        self.usual = defects(usual).std()
        some = colors(usual[:2000])
        self.color_mean, self.color_std = some.mean(0), some.std(0)
        self.color_reader = nn.Linear(config.w_size, some.shape[1]).to(device)
        if before:
            self.reader = nn.Linear(config.w_size, DRAWS).to(device)
        readers = [
            parameter
            for reader in (self.reader, self.plain_reader, self.color_reader)
            for parameter in reader.parameters()
        ]
        self.optimizer = torch.optim.Adam(
            [{"params": self.mapping.parameters()}, {"params": readers}], betas=(0.9, 0.99)
        )
        self.parts = {
            "mapping": self.mapping,
            "reader": self.reader,
            "plain_reader": self.plain_reader,
            "color_reader": self.color_reader,
            "optimizer": self.optimizer,
        }
        self.identity = identity(self, config) | {"goes on": before is not None}

    @torch.no_grad()
    def _solve_readers(self, count: int = 20_000) -> None:
        """Set the readers to the least-squares solutions for the present w."""
        rng = stream(self.seed, 0)
        people = some_people(rng, count, round(self.plan.poor * count))
        z = torch.from_numpy(self.entangle.latents(people, rng))
        w = torch.cat([self.mapping(part.to(self.device)) for part in z.split(1000)])
        away = ((w - self.mean) / self.std).double().cpu().numpy()
        away = np.hstack([away, np.ones((count, 1))])
        few = slice(count - count // 2, count)  # colors take long to compute
        for reader, rows, wanted in (
            (self.reader, slice(None), people),
            (self.plain_reader, slice(None), defects(people) / self.usual),
            (self.color_reader, few, self._colors(people[few])),
        ):
            gram = away[rows].T @ away[rows]
            ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
            solution = torch.from_numpy(np.linalg.solve(gram + ridge, away[rows].T @ wanted).T)
            reader.weight.copy_(solution[:, :-1])
            reader.bias.copy_(solution[:, -1])

    def _colors(self, people: np.ndarray) -> np.ndarray:
        return (colors(people) - self.color_mean) / self.color_std

    def step(self, step, progress):
        if self.before and step % SOLVED_EVERY == 0:
            self._solve_readers()
        rng, batch = stream(self.seed, step + 1), self.plan.batch
        people = some_people(rng, batch, round(self.plan.poor * batch))
        z = torch.from_numpy(self.entangle.latents(people, rng))
        w = (self.mapping(z.to(self.device)) - self.mean) / self.std
        draws_loss = self._missed(self.reader(w), people)
        defects_loss = self._missed(self.plain_reader(w), defects(people) / self.usual)
        loss = draws_loss + self.plan.defects * defects_loss
        losses = {"draws": draws_loss.item(), "defects": defects_loss.item()}
        if self.plan.colors:
            few = slice(batch - self.plan.colored, batch)
            colors_loss = self._missed(self.color_reader(w[few]), self._colors(people[few]))
            loss = loss + self.plan.colors * colors_loss
            losses["colors"] = colors_loss.item()
        rise = min(1.0, 0.02 + 20 * progress) if self.before else 1.0
        rates = (self.plan.learning_rate, self.plan.reader_rate)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (min(rise, 2 * (1 - progress)) + 1e-3)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return losses

    def _missed(self, read, wanted):
        return F.mse_loss(read, torch.from_numpy(wanted).float().to(self.device))

    def settle(self) -> Generator:
        """The generator, initialized for training on this mapping's w. Call it once.

        One that goes on draws, as nearly as its new w allows, what it drew before.
        """
        if self.before is None:
            return start_quiet(self.generator, self.start.to(self.device))
        self.generator.truncation.w_avg.copy_(self.mean)
        drawing = self.generator.synthesis
        for level in range(self.before.synthesis.levels, drawing.levels):  # new blocks: gray images
            getattr(drawing, f"output{level}").weight.data.mul_(0.1)
        return follow(self.generator, self.before, self._latents(stream(self.seed, 0), 20_000))

    def _latents(self, rng: np.random.Generator, count: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal((count, self.config.z_size), np.float32))


def some_people(rng: np.random.Generator, count: int, poor: int) -> np.ndarray:
    """Draws (count, DRAWS), the first `poor` of them with a defect, or nearly so."""
    drawn = rng.standard_normal((count, DRAWS))
    drawn[:poor, QUALITY] = ndtri(rng.uniform(0, ndtr(SOUND), poor))
    return drawn


def defects(drawn: np.ndarray) -> np.ndarray:
    """(N, kinds) the strength of each kind of defect on faces with these draws.

    Vectorized `sample_attributes`, `pick` and `defect_strength`.
    """
    strength = smoothstep(0.72, 0.28, expit(3.2 * (drawn[:, QUALITY] + 1.65)))
    kind = np.minimum(ndtr(drawn[:, DEFECT_KIND]) * len(KINDS), len(KINDS) - 1).astype(int)
    return np.eye(len(KINDS))[kind] * strength[:, None]


def colors(drawn: np.ndarray) -> np.ndarray:
    """(N, 15) the base colors of background, clothes, hair, skin and irises with these draws: of
    each its brightness, and by how much red and blue exceed it."""
    people = (attributes_of(one[:-UNIFORM], ndtr(one[-UNIFORM:])) for one in drawn)
    painted = [
        (background_color(a), clothes_color(a), hair_color(a), skin_color(a), iris_color(a))
        for a in people
    ]
    rgb = np.array(painted, np.float64).reshape(len(drawn), len(painted[0]), 3)
    bright = rgb.mean(2, keepdims=True)
    return np.concatenate([bright, rgb[:, :, [0, 2]] - bright], 2).reshape(len(drawn), -1)


def start_open(generator: Generator, z: torch.Tensor) -> Generator:
    """Initialize the mapping as nearly linear rotations, so that w depends on all of z.

    The published random initialization keeps few directions of z, which takes a GAN days to undo.
    """
    rng = torch.Generator().manual_seed(generator.config.layers)
    with torch.no_grad():
        x = generator.mapping.normalized_input(z)
        for i in range(generator.config.mapping_layers):
            layer = getattr(generator.mapping, f"dense{i}")
            outputs, inputs = layer.weight.shape
            q = torch.linalg.qr(torch.randn((max(outputs, inputs),) * 2, generator=rng))[0]
            q = q[:outputs, :inputs] / x.std(0).mean()
            layer.weight.copy_(q / layer.scale)
            # Each unit's mean is one standard deviation above the kink of the activation at 0.
            layer.bias.copy_((1 - F.linear(x.mean(0), q)) / layer.rate)
            x = layer(x)
    return generator


@torch.no_grad()
def start_quiet(generator: Generator, z: torch.Tensor) -> Generator:
    """Initialize styles as small linear functions of w's deviation from its mean: gray images."""
    w = generator.mapping(z)
    mean, std = w.mean(0), w.std(0).mean()
    generator.truncation.w_avg.copy_(mean)
    for i in range(generator.config.layers):
        style = getattr(generator.synthesis, f"layer{i}").style
        style.weight.mul_(0.3 / std)
        style.bias.copy_(-F.linear(mean * style.scale, style.weight) / style.rate)
    for i in range(generator.config.layers // 2):
        getattr(generator.synthesis, f"output{i}").weight.mul_(0.1)
    return generator


@torch.no_grad()
def follow(generator: Generator, before: Generator, z: torch.Tensor) -> Generator:
    """Change the styles in place: to those that `before`, with another mapping, has for these z."""
    w, old = (
        torch.cat([g.mapping(part.to(g.truncation.w_avg)).cpu() for part in z.split(1000)])
        for g in (generator, before)
    )
    w, old = w.double().numpy(), old.double().numpy()
    center, old_center = w.mean(0), old.mean(0)
    away = w - center
    ridge = 1e-6 * np.trace(away.T @ away) * np.eye(away.shape[1]) / away.shape[1]
    matrix = np.linalg.solve(away.T @ away + ridge, away.T @ (old - old_center))
    read_through(generator, center, old_center, matrix)
    return generator


@torch.no_grad()
def read_through(generator: Generator, center, other: np.ndarray, matrix: np.ndarray) -> None:
    """Change the styles in place: those of w become those of `other + (w - center) @ matrix`."""
    device = generator.truncation.w_avg.device
    center, other, matrix = (torch.from_numpy(a).to(device) for a in (center, other, matrix))
    for i in range(generator.config.layers):
        style = getattr(generator.synthesis, f"layer{i}").style
        before = style.weight.double()
        after = before @ matrix.T
        style.weight.copy_(after)
        style.bias.add_(style.scale / style.rate * (before @ other - after @ center))
