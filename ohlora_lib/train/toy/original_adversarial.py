"""The original generator, step 3: adversarial training sharpens what regression blurs.

The regression loss stays, so that every z keeps its face. Both networks alternate between the full
resolution and half of it, so that images of either size are sharp. The generator's noise inputs
stay off: they would turn hair into grain.
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig, with_resolution
from ohlora_lib.models.precision import autocast
from ohlora_lib.toyworld.face_sets import as_images
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.loop import identity, set_rate
from ohlora_lib.train.toy.original_regression import (
    RegressionTraining,
    average_weights,
    draw,
    plain,
    regression_loss,
    shares,
    trained,
)

EMBEDDED = DiscriminatorConfig(resolution=256, fmaps_base=2048, fmaps_max=128)


@dataclass(frozen=True)
class AdversarialPlan:
    """Optimization settings. R1 (`gamma`) every `penalty_every` steps, times that number."""

    batch: int = 8
    fresh: float = (
        0.375  # of the generated images: of new z, which have no face to be compared with
    )
    lods: tuple[int, ...] = (1, 0)  # in turn
    rare: float = 3.0  # in real and generated batches; see `original_regression.shares`
    learning_rate: float = 2e-3
    adversarial: float = 0.3
    gamma: float = 1.0
    penalty_every: int = 8
    alone: float = 0.03  # progress until which only the discriminator trains
    average: float = 0.998


class AdversarialTraining:
    """A `loop.Training` of both networks; `average` as in `RegressionTraining`."""

    def __init__(
        self,
        start: RegressionTraining,
        device,
        seed=0,
        plan=None,
        config=EMBEDDED,
        critic: Discriminator | None = None,
    ):
        """`critic`: a discriminator to go on from, of this or a smaller resolution."""
        self.start, self.device, self.seed = start, device, seed
        self.plan = plan or AdversarialPlan()
        self.shares = shares(start.faces, self.plan.rare)
        self.generator = deepcopy(start.average)
        self.average = deepcopy(start.average).requires_grad_(False)
        self.discriminator = (
            with_resolution(critic, config.resolution, seed)
            if critic
            else Discriminator(config, seed)
        ).to(device)
        self.generator_optimizer = torch.optim.Adam(trained(self.generator), betas=(0.0, 0.99))
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.requires_grad_(True).parameters(), betas=(0.0, 0.99)
        )
        names = ("generator", "average", "discriminator")
        names += ("generator_optimizer", "discriminator_optimizer")
        self.parts = {name: getattr(self, name) for name in names}
        self.identity = identity(self, config, start.faces)
        self.identity |= {"start": start.identity, "goes on": critic is not None}

    def step(self, step, progress):
        rng, plan = stream(self.seed + 1_000_000, step), self.plan
        factor = min(1.0, 3 * (1 - progress) + 0.05)
        lod = plan.lods[step % len(plan.lods)]
        set_rate(self.generator_optimizer, plan.learning_rate * factor)
        set_rate(self.discriminator_optimizer, plan.learning_rate * factor)
        fresh = round(plan.fresh * plan.batch)
        rows, others = (
            np.sort(rng.choice(len(self.shares), plan.batch - fresh, replace=False, p=self.shares))
            for _ in range(2)
        )
        usual = rng.choice(len(self.shares), fresh, replace=False)  # as frequent as new z are
        new = rng.standard_normal((fresh, self.start.z.shape[1]), np.float32)
        z = torch.cat([self.start.z[rows], torch.from_numpy(new)]).to(self.device)
        alone = progress < plan.alone
        with torch.set_grad_enabled(not alone):
            fake = draw(self.generator, z, lod)
        faces = as_images(self.start.faces.images[np.append(others, usual)], self.device)
        real = F.avg_pool2d(faces, 2**lod)
        losses, image_gradient = self._train_discriminator(fake, real, step, lod)
        if not alone:
            losses |= self._train_generator(fake, image_gradient, rows, lod)
            decay = min(plan.average, step / (step + 10))
            average_weights(self.average, self.generator, decay)
        return {"lod": lod} | losses

    def _train_discriminator(self, fake, real, step, lod):
        """Losses, and the gradient for the generator's images: one forward pass serves both."""
        shown = fake.detach().requires_grad_(True)
        score = self._score(shown, lod)
        fooled = F.softplus(-score).mean()
        (image_gradient,) = torch.autograd.grad(fooled, shown, retain_graph=True)
        loss = F.softplus(score).mean() + F.softplus(-self._score(real, lod)).mean()
        if step // len(self.plan.lods) % self.plan.penalty_every == 0:
            loss = loss + self._penalty(real, lod)
        update(self.discriminator_optimizer, loss)
        return {"discriminator": loss.item(), "fooled": fooled.item()}, image_gradient

    def _train_generator(self, fake, image_gradient, rows, lod):
        kept = regression_loss(fake[: len(rows)], *self.start.targets(rows, lod), self.start.plan)
        update(
            self.generator_optimizer,
            kept + self.plan.adversarial * (image_gradient * fake).sum(),
        )
        return {"kept": kept.item()}

    def _penalty(self, real, lod=0):
        """R1: the squared gradient of the score at real images, in float32."""
        real = real.detach().requires_grad_(True)
        score = self.discriminator(at_full_size(real, lod), lod=lod).sum()
        (gradient,) = torch.autograd.grad(score, real, create_graph=True)
        strength = self.plan.gamma / 2 * self.plan.penalty_every
        return strength * gradient.square().sum((1, 2, 3)).mean()

    def _score(self, images, lod):
        with autocast(device=self.device):
            return self.discriminator(at_full_size(images, lod), lod=lod).float()

    @torch.no_grad()
    def settle(self) -> None:
        """Set the average w, which truncation uses, now that the mapping is final, and the lod at
        which the meters read the images; its weights are usual ones again. Call it once."""
        self.average = plain(self.average).requires_grad_(False)
        w = self.average.mapping(self.start.z[:10_000].to(self.device))
        self.average.truncation.w_avg.copy_(w.mean(0))
        self.average.synthesis.lod.fill_(max(self.plan.lods))

    @torch.no_grad()
    def figures(self, count: int = 64) -> dict[str, float]:
        """The mean error of the averaged generator on its own pairs."""
        rows = np.arange(min(count, len(self.start.faces)))
        drawn = draw(self.average, self.start.z[rows].to(self.device))
        real = as_images(self.start.faces.images[rows], self.device)
        return {"mean absolute error (0..255)": (drawn - real).abs().mean().item() * 127.5}


def at_full_size(images, lod):
    """The discriminator averages them down again: (N, 3, r, r) -> (N, 3, r 2^lod, r 2^lod)."""
    return F.interpolate(images, scale_factor=2**lod) if lod else images


def update(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
