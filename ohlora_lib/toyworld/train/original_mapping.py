"""The original generator's first step: a mapping whose w tells who the face is.

What a z means is known in closed form, so the mapping learns from as many latents as it likes and
from no picture: a small network, thrown away afterwards, must read the attributes' draws off its w.
That network is not linear, so w need not become linear in them.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.toyworld.train.entangle import DRAWS, Entangle
from ohlora_lib.toyworld.train.loop import identity, stream

EMBEDDED = GeneratorConfig(resolution=128, fmaps_base=4096, fmaps_max=128)


@dataclass(frozen=True)
class MappingPlan:
    """How it is trained. Its layers learn 100 times slower than others', hence the high rate."""

    batch: int = 512
    learning_rate: float = 1.0
    reader_rate: float = 1e-3
    reader_width: int = 256


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
        self.optimiser = torch.optim.Adam(
            [{"params": self.mapping.parameters()}, {"params": self.reader.parameters()}],
            betas=(0.9, 0.99),
        )
        self.parts = {
            "mapping": self.mapping,
            "reader": self.reader,
            "optimiser": self.optimiser,
        }
        self.identity = identity(self, config)

    def step(self, step, progress):
        z = self._latents(stream(self.seed, step + 1), self.plan.batch)
        wanted = torch.from_numpy(self.entangle.to_draws(z.numpy())).float().to(self.device)
        w = self.mapping(z.to(self.device))
        loss = F.mse_loss(self.reader((w - self.mean) / self.std), wanted)
        rates = (self.plan.learning_rate, self.plan.reader_rate)
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * (min(1.0, 2 * (1 - progress)) + 1e-3)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"unread": loss.item()}

    def settle(self) -> Generator:
        """The generator, ready to learn to draw from this mapping's w. To be called once."""
        return start_quiet(self.generator, self.start.to(self.device))

    def _latents(self, rng: np.random.Generator, count: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal((count, self.config.z_size), np.float32))


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
