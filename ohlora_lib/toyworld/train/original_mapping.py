"""The original generator's first step: a mapping whose w tells who the face is.

What a z means is known in closed form, so the mapping learns from many latents and from no
picture: a small network, thrown away afterwards, must read the attributes' draws off its w. That
network is not linear, so w need not become linear in them. Another one, which is linear, must read
off which defect shows and how strongly: few faces have any, and styles, which are linear in w,
cannot single them out of the draws.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.toyworld.attributes import sample_attributes
from ohlora_lib.toyworld.background import pick
from ohlora_lib.toyworld.defects import KINDS, defect_strength
from ohlora_lib.toyworld.train.entangle import DRAWS, Entangle, draws
from ohlora_lib.toyworld.train.loop import identity, stream

EMBEDDED = GeneratorConfig(resolution=128, fmaps_base=4096, fmaps_max=128)


@dataclass(frozen=True)
class MappingPlan:
    """How it is trained. Its layers learn 100 times slower than others', hence the high rate."""

    batch: int = 512
    learning_rate: float = 1.0
    reader_rate: float = 1e-3
    reader_width: int = 256
    people: int = 80_000  # whose draws it learns from, each with ever new other values of z
    defects: float = 0.3  # of the loss: what a linear reader misses of them
    poor: float = 5.0  # how many times as often as others those with defects come up


class MappingTraining:
    """`generator`, whose mapping is trained; see `loop.Training`."""

    def __init__(self, device, seed=0, plan=None, config=EMBEDDED):
        self.device, self.seed, self.plan = device, seed, plan or MappingPlan()
        self.config, self.entangle = config, Entangle(z_size=config.z_size)
        self.start = self._latents(stream(seed, 0), 4096)
        self.generator = start_open(Generator(config, seed), self.start).to(device)
        self.mapping = self.generator.mapping.requires_grad_(True)
        w = self.mapping(self.start.to(device)).detach()
        self.mean, self.std = w.mean(0), w.std(0).mean()
        torch.manual_seed(seed)
        width = self.plan.reader_width
        self.reader = nn.Sequential(
            nn.Linear(config.w_size, width), nn.LeakyReLU(0.2), nn.Linear(width, DRAWS)
        ).to(device)
        self.plain_reader = nn.Linear(config.w_size, len(KINDS)).to(device)
        readers = [*self.reader.parameters(), *self.plain_reader.parameters()]
        self.optimiser = torch.optim.Adam(
            [{"params": self.mapping.parameters()}, {"params": readers}], betas=(0.9, 0.99)
        )
        self.parts = {
            "mapping": self.mapping,
            "reader": self.reader,
            "plain_reader": self.plain_reader,
            "optimiser": self.optimiser,
        }
        self.draws, self.defects = people(seed, self.plan.people)
        share = np.where(self.defects.any(1), self.plan.poor, 1.0)
        self.defects /= self.defects.std()
        self.shares = share / share.sum()
        self.identity = identity(self, config)

    def step(self, step, progress):
        rng, batch = stream(self.seed, step + 1), self.plan.batch
        rows = rng.choice(len(self.draws), batch, p=self.shares)
        rest = rng.standard_normal((batch, self.config.z_size - DRAWS))
        z = torch.from_numpy(self.entangle.to_z(self.draws[rows], rest)).float()
        w = (self.mapping(z.to(self.device)) - self.mean) / self.std
        unread = self._missed(self.reader(w), self.draws[rows])
        unseen = self._missed(self.plain_reader(w), self.defects[rows])
        loss = unread + self.plan.defects * unseen
        rates = (self.plan.learning_rate, self.plan.reader_rate)
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * (min(1.0, 2 * (1 - progress)) + 1e-3)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"unread": unread.item(), "unseen": unseen.item()}

    def _missed(self, read, wanted):
        return F.mse_loss(read, torch.from_numpy(wanted).float().to(self.device))

    def settle(self) -> Generator:
        """The generator, ready to learn to draw from this mapping's w. To be called once."""
        return start_quiet(self.generator, self.start.to(self.device))

    def _latents(self, rng: np.random.Generator, count: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal((count, self.config.z_size), np.float32))


def people(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws (N, DRAWS) and how strongly each kind of defect shows (N, kinds)."""
    defects = np.zeros((count, len(KINDS)), np.float32)
    for index in range(count):
        face = sample_attributes(seed, index)
        defects[index, KINDS.index(pick(KINDS, face.defect_kind))] = defect_strength(face)
    return np.stack([draws(seed, index) for index in range(count)]), defects


def start_open(generator: Generator, z: torch.Tensor) -> Generator:
    """Makes the mapping start as rotations, each only a little bent, so that all of z gets through.

    A random mapping of the published kind keeps few directions of z; a GAN takes days to open it.
    """
    rng = torch.Generator().manual_seed(generator.config.layers)
    with torch.no_grad():
        x = generator.mapping.normalised_input(z)
        for i in range(generator.config.mapping_layers):
            layer = getattr(generator.mapping, f"dense{i}")
            outputs, inputs = layer.weight.shape
            q = torch.linalg.qr(torch.randn((max(outputs, inputs),) * 2, generator=rng))[0]
            q = q[:outputs, :inputs] / x.std(0).mean()
            layer.weight.copy_(q / layer.scale)
            # Each value's mean is one standard deviation above the bend at zero.
            layer.bias.copy_((1 - F.linear(x.mean(0), q)) / layer.rate)
            x = layer(x)
    return generator


@torch.no_grad()
def start_quiet(generator: Generator, z: torch.Tensor) -> Generator:
    """Styles read w's deviation from its mean; drawing starts with grey pictures, small styles."""
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
