"""Training an NVAE, with or without condition, and its likelihood.

The loss of an image is its negative evidence bound in nats: -log p(x|z) + beta · sum of KL_l. While
beta rises, a group's KL counts more the larger it already is (balancing), which keeps all groups in
use. Added are the spectral norms of all convolutions and batch norm's largest scales: they bound
how much the encoder can amplify, and so the KL. The swap loss keeps the condition from being
ignored: faces that are decoded with one value of another face must be measured to have it.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.nvae import NVAE, Conv, NVAEConfig, check_condition
from ohlora_lib.models.precision import autocast, place
from ohlora_lib.train.checkpoint import stream

MOST_SKIPPED = 100
FIRST_ITERATIONS = 40

Measure = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, 3, R, R) in -1..1 -> their conditions (N, K), differentiable."""


@dataclass(frozen=True)
class NVAEPlan:
    """Optimization settings; the defaults are those of the published CelebA-64 model.

    Fractions are of the whole training.
    """

    batch: int = 128
    learning_rate: float = 1e-2
    """For smaller batches: 4e-3 at 32, 1e-3 at 16 or less."""
    final_rate: float = 1e-4
    warm_up: float = 5 / 90
    """Fraction in which the learning rate rises; then it falls as a cosine."""
    weight_decay: float = 3e-4
    """Times the weights, added to their gradients."""
    first_beta: float = 1e-4
    beta_warm_up: float = 0.3
    """Fraction in which beta rises to 1; 0 for fine-tuning."""
    balance: bool = True
    """Balance the groups' KL while beta is less than 1."""
    regularization: float = 0.1
    first_regularization: float | None = None
    """At beta 0; from there to `regularization` at a constant rate in beta. None: the same."""
    power_iterations: int = 4
    max_gradient: float = math.inf
    """Steps with a larger gradient norm are skipped, as are those that are not finite."""
    condition_drop: float = 0.1
    """Fraction of the images whose condition the decoder does not see."""
    swap: float = 0.0
    """Weight of the swap loss."""
    mirror: bool = True
    mirrored: tuple[str, ...] = ("head",)
    """Conditions of which a mirrored image has 1 minus the value."""

    def __post_init__(self):
        for name, least in (("batch", 1), ("power_iterations", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: must be {least} or more")


@dataclass(frozen=True)
class ConditionedFaces:
    """images (N, R, R, 3) uint8 and, for a conditional network, conditions (N, K) in 0..1."""

    images: np.ndarray
    conditions: np.ndarray | None = None
    name: str = ""  # identifies the set in checkpoints

    def check(self, config: NVAEConfig) -> None:
        """Raise a ValueError unless a network of `config` can be trained on these faces."""
        side, names = config.resolution, config.conditions
        if not len(self.images) or self.images.shape[1:] != (side, side, 3):
            raise ValueError(
                f"faces are {self.images.shape}: this network needs ({side}, {side}, 3) each, "
                "and at least one"
            )
        if (self.conditions is not None) != bool(names):
            wanted = f"needs {', '.join(names)} of each face" if names else "takes none"
            raise ValueError(f"conditions: this network {wanted}")
        if names:
            if self.conditions.shape != (len(self.images), len(names)):
                raise ValueError(
                    f"conditions are {self.conditions.shape}: "
                    f"must be ({len(self.images)}, {len(names)}), {', '.join(names)}"
                )
            check_condition(torch.from_numpy(np.array(self.conditions)), names)


class NVAETraining:
    """A training in progress, for `train.toy.loop.fit` or a loop of one's own over `step`.

    The network passed in is copied. `measure` gives the swap loss its conditions.
    """

    def __init__(
        self,
        network: NVAE,
        faces: ConditionedFaces,
        plan: NVAEPlan | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        measure: Measure | None = None,
    ):
        self.plan, self.seed = plan or NVAEPlan(), seed
        self.device, self.measure = torch.device(device), measure
        config = network.config
        faces.check(config)
        if self.plan.swap and not (measure and config.conditions):
            raise ValueError("swap: needs a conditional network, and `measure`")
        self.faces = faces
        self.network = place(deepcopy(network).train(), device=self.device)
        self.penalty = SpectralPenalty(self.network, seed).to(self.device)
        with torch.no_grad():
            self.penalty(FIRST_ITERATIONS)
        self.optimizer = torch.optim.Adamax(
            self.network.parameters(), eps=1e-3, weight_decay=self.plan.weight_decay
        )
        self.norms = [x for x in self.network.modules() if isinstance(x, nn.BatchNorm2d)]
        self.balance_scale = torch.tensor(balance_scale(config), device=self.device)
        self.skipped_in_a_row = 0
        self.parts = {name: getattr(self, name) for name in ("network", "penalty", "optimizer")}
        self.identity = {
            "what": type(self).__name__,
            "seed": seed,
            "plan": repr(self.plan),
            "network": repr(config),
            "faces": faces.name,
        }

    def step(self, step: int, progress: float) -> dict[str, float]:
        """One update; `progress` goes from 0 to 1 over the training -> losses by name.

        All randomness comes from `stream(seed, step)`.
        """
        rng, plan = stream(self.seed, step), self.plan
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(plan, progress)
        beta = beta_at(plan, progress)
        images, condition = self._batch(rng)
        noise_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = self.network.random_noise(len(images), noise_rng)
        drop = torch.from_numpy(rng.random(len(images)) < plan.condition_drop).to(self.device)
        statistics = [(x.running_mean.clone(), x.running_var.clone()) for x in self.norms]
        with autocast(device=self.device):
            output = self.network(images, condition, noise, drop)
            swap = self._swap_loss(output.noise, condition, rng) if plan.swap else None
        distortion = -output.log_likelihood(images).mean()
        kl = torch.stack([each.sum(1).mean() for each in output.kl])
        loss = distortion + beta * (self._group_weights(kl, beta) * kl).sum()
        loss = loss + regularization(plan, beta) * self.penalty(plan.power_iterations)
        losses = {"bits": bits(distortion + kl.sum(), images), "kl": bits(kl.sum(), images)}
        if swap is not None:
            loss = loss + plan.swap * swap
            losses["swap"] = swap.item()
        return losses | self._update(loss, statistics) | {"beta": beta}

    def _batch(self, rng):
        """Random faces, half of them mirrored if the plan says so, and their conditions."""
        faces, count = self.faces, len(self.faces.images)
        rows = np.sort(rng.choice(count, self.plan.batch, replace=count < self.plan.batch))
        flip = rng.random(len(rows)) < (0.5 if self.plan.mirror else 0)
        images = np.array(faces.images[rows])
        images[flip] = images[flip, :, ::-1]
        if faces.conditions is None:
            return self.network.as_input(images), None
        condition = np.array(faces.conditions[rows], np.float32)
        for column, name in enumerate(self.network.config.conditions):
            if name in self.plan.mirrored:
                condition[flip, column] = 1 - condition[flip, column]
        return self.network.as_input(images), torch.from_numpy(condition).to(self.device)

    def _group_weights(self, kl, beta):
        """(G,) factors of the groups' KL, with mean 1."""
        if beta >= 1 or not self.plan.balance:
            return torch.ones_like(kl)
        weights = (kl.detach().abs() + 0.01) / self.balance_scale
        return weights / weights.mean()

    def _swap_loss(self, noise, condition, rng):
        """Squared error of the measured conditions of the batch's faces, after they exchanged the
        values of one random condition; every second face gets new noise, as generated ones have."""
        column, order = rng.integers(condition.shape[1]), rng.permutation(len(condition))
        swapped = condition.clone()
        swapped[:, column] = condition[torch.from_numpy(order).to(self.device), column]
        fresh = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = [each.detach().clone() for each in noise]
        for own, new in zip(noise, self.network.random_noise(len(condition), fresh), strict=True):
            own[1::2] = new[1::2]
        images = self.network.decode(noise, swapped).mean()
        return (self.measure(images).float() - swapped).square().sum(1).mean()

    def _update(self, loss, statistics) -> dict[str, float]:
        """Take the step, or restore batch norm's statistics if something is not finite."""
        self.optimizer.zero_grad()
        loss.backward()
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients).item()
        taken = (
            math.isfinite(loss.item()) and math.isfinite(norm) and norm <= self.plan.max_gradient
        )
        if taken:
            self.optimizer.step()
            self.skipped_in_a_row = 0
        else:
            for module, (mean, var) in zip(self.norms, statistics, strict=True):
                module.running_mean.copy_(mean)
                module.running_var.copy_(var)
            self.skipped_in_a_row += 1
        if self.skipped_in_a_row == MOST_SKIPPED:
            raise FloatingPointError(
                f"{MOST_SKIPPED} steps in a row were not finite or had a gradient norm above "
                f"max_gradient ({norm:.3g} in the last): lower learning_rate, raise regularization "
                "or max_gradient"
            )
        return {"gradient": norm, "skipped": float(not taken)}


def learning_rate(plan: NVAEPlan, progress: float) -> float:
    """A linear warm-up, then a cosine from `learning_rate` to `final_rate`."""
    if progress < plan.warm_up:
        return max(plan.final_rate, plan.learning_rate * progress / plan.warm_up)
    fallen = (progress - plan.warm_up) / max(1 - plan.warm_up, 1e-9)
    share = 0.5 + 0.5 * math.cos(math.pi * min(fallen, 1))
    return plan.final_rate + (plan.learning_rate - plan.final_rate) * share


def beta_at(plan: NVAEPlan, progress: float) -> float:
    """The weight of the KL."""
    if progress >= plan.beta_warm_up:
        return 1.0
    return max(plan.first_beta, progress / plan.beta_warm_up)


def regularization(plan: NVAEPlan, beta: float) -> float:
    """The weight of `SpectralPenalty`."""
    if plan.first_regularization is None or not plan.regularization:
        return plan.regularization
    first, last = math.log(plan.first_regularization), math.log(plan.regularization)
    return math.exp((1 - beta) * first + beta * last)


def balance_scale(config: NVAEConfig) -> list[float]:
    """Per group, coarsest first: pixels of its scale, shared by the scale's groups; minimum 1."""
    coarsest = len(config.groups) - 1
    shares = [4 ** (coarsest - s) / config.groups[s] for s in config.scale_of_group]
    return [share / min(shares) for share in shares]


class SpectralPenalty(nn.Module):
    """Sum of the spectral norms of all convolutions of a network, as applied, and of the largest
    scale of each batch norm.

    Power iteration from the singular vectors of the call before, which belong to a checkpoint.
    """

    def __init__(self, network: nn.Module, seed: int = 0):
        super().__init__()
        norms = [x for x in network.modules() if isinstance(x, nn.BatchNorm2d)]
        convs: dict[tuple, list[nn.Conv2d]] = {}  # those of one shape are computed together
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                convs.setdefault(module.weight.flatten(1).shape, []).append(module)
        self.norms, self.convs = norms, list(convs.values())  # lists: not modules of this one
        rng = torch.Generator().manual_seed(seed)
        for i, (shape, same) in enumerate(convs.items()):
            start = torch.randn(len(same), shape[0], generator=rng)
            self.register_buffer(f"left{i}", F.normalize(start, dim=1))

    def forward(self, iterations: int) -> torch.Tensor:
        total = sum(norm.weight.abs().max() for norm in self.norms)
        return total + torch.cat(self.spectral_norms(iterations)).sum()

    def spectral_norms(self, iterations: int) -> list[torch.Tensor]:
        """One tensor (number of convolutions,) per shape of kernel, in the network's order."""
        found = []
        for i, same in enumerate(self.convs):
            kernels = [conv.kernel() if isinstance(conv, Conv) else conv.weight for conv in same]
            matrices = torch.stack([kernel.flatten(1) for kernel in kernels])  # (K, rows, columns)
            left = getattr(self, f"left{i}")
            with torch.no_grad():
                u = left.clone()
                for _ in range(iterations):
                    v = F.normalize(torch.einsum("kr,krc->kc", u, matrices), dim=1)
                    u = F.normalize(torch.einsum("krc,kc->kr", matrices, v), dim=1)
                left.copy_(u)
            found.append(torch.einsum("kr,krc,kc->k", u, matrices, v))
        return found


# Likelihood


class Likelihood(NamedTuple):
    """Of N images."""

    bits: np.ndarray  # (N,) bits per dimension
    kl: np.ndarray  # (groups, latents): mean over the images, in nats


def bits(nats: torch.Tensor, images: torch.Tensor) -> float:
    """Nats per image (N, 3, R, R) -> bits per dimension."""
    return nats.item() / (math.log(2) * images[0].numel())


@torch.no_grad()
def likelihood(
    network: NVAE,
    images: np.ndarray,
    conditions: np.ndarray | None = None,
    samples: int = 50,
    batch: int = 32,
    seed: int = 0,
) -> Likelihood:
    """Bits per dimension of (N, R, R, 3) uint8 images, by importance sampling.

    1 sample gives the evidence bound; more bring it nearer to the true value from above.
    """
    ConditionedFaces(images, conditions).check(network.config)
    training = network.training
    network.eval()
    parts, kl = [], 0
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        x = network.as_input(images[rows])
        condition = None if conditions is None else conditions[rows]
        estimates = []
        for sample in range(samples):
            seeds = [
                np.random.default_rng([seed, start + i, sample]).integers(2**62)
                for i in range(len(x))
            ]
            output = network(x, condition, network.noise_of(seeds))
            estimates.append(output.log_likelihood(x) - sum(output.log_ratio))
            kl = kl + torch.stack([each.sum(0) for each in output.kl])
        nats = math.log(samples) - torch.logsumexp(torch.stack(estimates), dim=0)
        parts.append(nats / (math.log(2) * x[0].numel()))
    network.train(training)
    kl = kl / (samples * len(images))
    return Likelihood(torch.cat(parts).cpu().numpy(), kl.cpu().numpy())
