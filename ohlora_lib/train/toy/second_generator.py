"""The second generator: a StyleGAN trained by adversarial loss alone.

It sees rendered faces, never their attributes or class maps, and no network that was trained on
them. So what steering finds in its w was not put there by a regression, as it may have been in
the first generator (`original_mapping`, `original_regression`).

Resolution grows as in StyleGAN: 16, 32, then 64 px, each new resolution faded in.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.precision import autocast
from ohlora_lib.models.stylegan import Generator, GeneratorConfig, mix_styles
from ohlora_lib.toyworld.face_sets import Faces, as_images
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.generator_quality import generate, quality
from ohlora_lib.train.toy.loop import identity
from ohlora_lib.train.toy.original_adversarial import update
from ohlora_lib.train.toy.original_regression import average_weights

SEED = 20_034  # of the rendered faces that it sees; no other network sees them
EMBEDDED = GeneratorConfig(
    resolution=64, z_size=256, w_size=256, mapping_width=256, fmaps_base=2048, fmaps_max=128
)
CRITIC = DiscriminatorConfig(resolution=64, fmaps_base=2048, fmaps_max=128)


@dataclass(frozen=True)
class SecondGeneratorPlan:
    """Optimization settings. `grow`: pairs (images shown, lod), interpolated; lod 2 is 16 px."""

    batch: int = 16
    learning_rate: float = 2e-3
    gamma: float = 0.5  # of R1, every `penalty_every` steps, times that number
    penalty_every: int = 8
    grow: tuple[tuple[int, float], ...] = (
        (25_000, 2.0),
        (40_000, 1.0),
        (80_000, 1.0),
        (100_000, 0.0),
    )
    mixing: float = 0.5  # fraction of images whose later layers take their w from another z
    average_images: int = 4_000  # half-life of the moving average of the weights

    def lod(self, images: int) -> float:
        """At which resolution to train after so many images."""
        shown, lods = zip(*self.grow, strict=True)
        return float(np.interp(images, shown, lods))


class SecondGeneratorTraining:
    """A `loop.Training` of both networks; `average` is the moving average of the generator."""

    def __init__(self, faces: Faces, device, seed=0, plan=None, start=None):
        """`start`: a generator and a discriminator to go on from, at full resolution."""
        self.faces, self.device, self.seed = faces, device, seed
        self.plan, self.first = plan or SecondGeneratorPlan(), 0
        generator, discriminator = start or (Generator(EMBEDDED, seed), Discriminator(CRITIC, seed))
        if start:
            self.first = self.plan.grow[-1][0]
        self.generator = trained(generator).to(device)
        self.average = Generator(generator.config).to(device).requires_grad_(False)
        self.average.load_state_dict(generator.state_dict())
        self.discriminator = discriminator.to(device).requires_grad_(True)
        self.generator_optimizer, self.discriminator_optimizer = (
            torch.optim.Adam(
                [p for p in network.parameters() if p.requires_grad],
                self.plan.learning_rate,
                betas=(0.0, 0.99),
            )
            for network in (self.generator, self.discriminator)
        )
        names = ("generator", "average", "discriminator")
        names += ("generator_optimizer", "discriminator_optimizer")
        self.parts = {name: getattr(self, name) for name in names}
        self.identity = identity(self, generator.config, faces) | {"first": self.first}

    def step(self, step, progress):
        """One update of both networks. The plan counts images, so `progress` is not used."""
        rng, plan = stream(self.seed, step), self.plan
        shown = self.first + step * plan.batch
        lod = plan.lod(shown)
        fake, real = self._draw(rng, lod), self._real(rng)
        # One forward pass serves both networks: its gradient at the images trains the generator.
        images = fake.detach().requires_grad_(True)
        score = self._score(images, lod)
        fooled = F.softplus(-score).mean()
        (at_images,) = torch.autograd.grad(fooled, images, retain_graph=True)
        loss = F.softplus(score).mean() + F.softplus(-self._score(real, lod)).mean()
        if step % plan.penalty_every == 0:
            loss = loss + plan.penalty_every * plan.gamma / 2 * self._penalty(real, lod)
        update(self.discriminator_optimizer, loss)
        update(self.generator_optimizer, (at_images * fake).sum())
        half_life = min(plan.average_images, shown / 5 + 1)
        average_weights(self.average, self.generator, 0.5 ** (plan.batch / half_life))
        return {"lod": lod, "discriminator": loss.item(), "fooled": fooled.item()}

    def _draw(self, rng, lod):
        """New images; in some of them the layers from a random one on belong to another z."""
        batch, layers = self.plan.batch, self.generator.config.layers
        z = rng.standard_normal((2 * batch, self.generator.config.z_size), np.float32)
        w = self.generator.mapping(torch.from_numpy(z).to(self.device))
        with torch.no_grad():
            self.average.truncation.update(w)
        one, other = self.generator.truncation(w).chunk(2)
        first = rng.integers(1, layers - 2 * int(lod), batch)
        first[rng.random(batch) >= self.plan.mixing] = layers
        with autocast(device=self.device):
            images = self.generator.from_wp(
                mix_styles(one, other, torch.from_numpy(first)), lod=lod
            )
        return images.float()

    def _real(self, rng):
        """Rendered faces, half of them mirrored."""
        rows = np.sort(rng.choice(len(self.faces), self.plan.batch, replace=False))
        pixels = self.faces.images[rows]
        mirrored = rng.random(len(rows)) < 0.5
        pixels = np.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)
        return as_images(pixels, self.device)

    def _score(self, images, lod):
        with autocast(device=self.device):
            return self.discriminator(images, lod=lod).float()

    def _penalty(self, real, lod):
        """R1: the mean squared gradient of the score at real images, in float32."""
        real = real.requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            self.discriminator(real, lod=lod).sum(), real, create_graph=True
        )
        return gradient.square().sum((1, 2, 3)).mean()


def trained(generator: Generator) -> Generator:
    """All parameters but the noise strengths, which stay 0: strands would become grain."""
    for name, parameter in generator.named_parameters():
        parameter.requires_grad_(not name.endswith("apply_noise.weight"))
    return generator


def evaluate(generator: Generator, annotator, rendered: np.ndarray) -> dict[str, float]:
    """Figures against rendered faces (2 N, 64, 64, 3), both enlarged to the annotator's 128 px."""
    made = generate(generator, len(rendered) // 2)
    return quality(annotator, *(images.repeat(2, 1).repeat(2, 2) for images in (rendered, made)))
