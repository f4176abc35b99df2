"""The original generator's first step: a mapping whose w tells who the face is.

What a z means is known in closed form, so the mapping learns from ever new latents and from no
picture: a small network, thrown away afterwards, must read the attributes' draws off its w. That
network is not linear, so w need not become linear in them. Another one, which is linear, must read
off which defect shows and how strongly: few faces have any, and styles, which are linear in w,
cannot single them out of the draws. From 80,000 fixed people it learned that by heart: of others
it read a tenth of what the defects vary by.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit, ndtr, ndtri
from torch import nn

from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES
from ohlora_lib.toyworld.canvas import smoothstep
from ohlora_lib.toyworld.defects import KINDS
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.entangle import DRAWS, Entangle
from ohlora_lib.train.toy.loop import identity

EMBEDDED = GeneratorConfig(resolution=128, fmaps_base=4096, fmaps_max=128)
QUALITY = ATTRIBUTE_NAMES.index("quality")
DEFECT_KIND = len(ATTRIBUTE_NAMES) + 2  # among the draws: the third of the uniform ones
SOUND = -1.3  # pictures whose draw of quality is larger show no defect


@dataclass(frozen=True)
class MappingPlan:
    """How it is trained. Its layers learn 100 times slower than others', hence the high rate."""

    batch: int = 512
    learning_rate: float = 1.0
    reader_rate: float = 1e-3
    reader_width: int = 256
    defects: float = 0.3  # of the loss: what a linear reader misses of them
    poor: float = 0.4  # of the people of a step; of all it is a tenth who show a trace of a defect


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
        self.optimizer = torch.optim.Adam(
            [{"params": self.mapping.parameters()}, {"params": readers}], betas=(0.9, 0.99)
        )
        self.parts = {
            "mapping": self.mapping,
            "reader": self.reader,
            "plain_reader": self.plain_reader,
            "optimizer": self.optimizer,
        }
        self.usual = defects(stream(seed, 0).standard_normal((20_000, DRAWS))).std()
        self.identity = identity(self, config)

    def step(self, step, progress):
        rng, batch = stream(self.seed, step + 1), self.plan.batch
        people = some_people(rng, batch, round(self.plan.poor * batch))
        z = torch.from_numpy(self.entangle.latents(people, rng))
        w = (self.mapping(z.to(self.device)) - self.mean) / self.std
        unread = self._missed(self.reader(w), people)
        unseen = self._missed(self.plain_reader(w), defects(people) / self.usual)
        loss = unread + self.plan.defects * unseen
        rates = (self.plan.learning_rate, self.plan.reader_rate)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (min(1.0, 2 * (1 - progress)) + 1e-3)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"unread": unread.item(), "unseen": unseen.item()}

    def _missed(self, read, wanted):
        return F.mse_loss(read, torch.from_numpy(wanted).float().to(self.device))

    def settle(self) -> Generator:
        """The generator, ready to learn to draw from this mapping's w. To be called once."""
        return start_quiet(self.generator, self.start.to(self.device))

    def _latents(self, rng: np.random.Generator, count: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal((count, self.config.z_size), np.float32))


def some_people(rng: np.random.Generator, count: int, poor: int) -> np.ndarray:
    """Draws (count, DRAWS), the first `poor` of them with a poor picture, or nearly so."""
    drawn = rng.standard_normal((count, DRAWS))
    drawn[:poor, QUALITY] = ndtri(rng.uniform(0, ndtr(SOUND), poor))
    return drawn


def defects(drawn: np.ndarray) -> np.ndarray:
    """(N, kinds) how strongly each kind shows on faces with these draws, the second ones left out.

    What `sample_attributes`, `pick` and `defect_strength` say of one face, for many at once.
    """
    strength = smoothstep(0.72, 0.28, expit(3.2 * (drawn[:, QUALITY] + 1.65)))
    kind = np.minimum(ndtr(drawn[:, DEFECT_KIND]) * len(KINDS), len(KINDS) - 1).astype(int)
    return np.eye(len(KINDS))[kind] * strength[:, None]


def start_open(generator: Generator, z: torch.Tensor) -> Generator:
    """Makes the mapping start as rotations, each only a little bent, so that all of z gets through.

    A random mapping of the published kind keeps few directions of z; a GAN takes days to open it.
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
            # Each value's mean is one standard deviation above the bend at zero.
            layer.bias.copy_((1 - F.linear(x.mean(0), q)) / layer.rate)
            x = layer(x)
    return generator


@torch.no_grad()
def start_quiet(generator: Generator, z: torch.Tensor) -> Generator:
    """Styles read w's deviation from its mean; drawing starts with gray pictures, small styles."""
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
