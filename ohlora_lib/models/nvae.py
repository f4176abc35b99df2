"""NVAE (Vahdat and Kautz, 2020), a hierarchical variational autoencoder, with a condition added.

    encoder:  images -> features per group, fine to coarse
    decoder:  start tensor -> state; per group, coarse to fine: state -> prior p;
              features and state -> posterior q; z of p or q and state -> next state
              last state -> per pixel a mixture of discretized logistics

A generated image is a function of noise and condition: z = prior mean + prior std · noise, in every
group. So the same noise under another condition is the same identity with other attributes.

The condition (values in 0..1) enters the start tensor, every decoder cell and every posterior
through linear maps that are zero at first: a new conditional network computes what the
unconditional one with the same weights does.

Module names are those of the published checkpoints. Images are (N, 3, R, R) in -1..1, and groups
are numbered from the coarsest on.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models import unet_parser
from ohlora_lib.models.cpu.depthwise import depthwise
from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.stylegan import to_uint8

MOMENTUM = 0.05  # of batch norm
BRANCH = 0.1  # weight of a cell's branch, which is added to its skip connection
EXPANSION, POST_EXPANSION = 6, 3
FLOW_EXPANSION = 6
MIN_LOG_SCALE, MAX_LOG_SCALE = -7.0, 20.0  # of a logistic; the upper one only prevents overflow
CONDITIONS = ("eyes", "mouth", "hair_color", "background", "head")


@dataclass(frozen=True)
class NVAEConfig:
    """Sizes of an NVAE; the defaults are the published CelebA-64 model.

    `groups`: latent groups per scale, from half the resolution down.
    """

    resolution: int = 64
    channels: int = 64  # of the first layer; doubled at each halving of the resolution
    max_channels: int = 512
    groups: tuple[int, ...] = (20, 10, 5)
    latents: int = 20  # channels of a group
    cells: int = 2  # per group, of the encoder and of the decoder
    pre_cells: int = 2  # before the first scale, the last of them halves the resolution
    post_cells: int = 2  # after the last scale, the first of them doubles it
    expansion: int = EXPANSION  # of the decoder cells' depthwise convolutions
    mixtures: int = 10
    flows: int = 1  # normalizing flows per posterior
    bits: int = 8  # of a color
    conditions: tuple[str, ...] = ()  # names of the condition's values
    embedding: int = 64  # values that a condition is turned into

    def __post_init__(self):
        if not self.groups or min(self.groups) < 1:
            raise ValueError(f"groups {self.groups}: every scale needs one or more")
        if self.resolution % (2 << len(self.groups)):
            raise ValueError(
                f"resolution {self.resolution}: must be a multiple of {2 << len(self.groups)}, "
                f"because {len(self.groups)} scales have groups"
            )
        if self.channels < 4 or self.max_channels < self.channels:
            raise ValueError(
                f"channels {self.channels} to {self.max_channels}: must be 4 or more, ascending"
            )

    def channels_at(self, scale: int) -> int:
        """Channels of a scale; 0 is the finest that has groups, -1 the image's own."""
        return min(self.channels << (scale + 1), self.max_channels)

    def size_at(self, scale: int) -> int:
        """Height and width of a scale's maps."""
        return self.resolution >> (scale + 1)

    @property
    def scale_of_group(self) -> list[int]:
        """The scale of each group, the coarsest group first."""
        counts = list(enumerate(self.groups))
        return [scale for scale, count in reversed(counts) for _ in range(count)]

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """Channels, height and width of each group's z."""
        sizes = [self.size_at(scale) for scale in self.scale_of_group]
        return [(self.latents, size, size) for size in sizes]

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "NVAEConfig":
        tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**tuples)


CELEBA_64 = NVAEConfig()
CELEBA_HQ_256 = NVAEConfig(
    resolution=256, channels=30, max_channels=960, groups=(16, 8, 4, 4, 4), flows=2, bits=5
)
QUICK = NVAEConfig(
    channels=16,
    max_channels=96,
    groups=(1, 3, 4, 2),
    latents=8,
    cells=1,
    pre_cells=1,
    post_cells=1,
    mixtures=5,
    flows=0,
    conditions=CONDITIONS,
)
SMOKE = NVAEConfig(
    channels=8,
    max_channels=32,
    groups=(1, 1, 1, 1),
    latents=4,
    cells=1,
    pre_cells=1,
    post_cells=1,
    expansion=3,
    mixtures=5,
    flows=0,
    conditions=CONDITIONS,
)


# Convolutions and cells


class Conv(nn.Conv2d):
    """Weight-normalized convolution: each output channel's kernel has the norm e^g."""

    def __init__(self, inputs, outputs, size, gain=1.0, mask=None, **options):
        super().__init__(inputs, outputs, size, padding=size // 2, **options)
        self.register_buffer("mask", mask, persistent=False)
        norm = kernel_norms(self._masked().detach())
        self.log_weight_norm = nn.Parameter(torch.log(norm + 0.01) + math.log(gain))

    def _masked(self) -> torch.Tensor:
        return self.weight if self.mask is None else self.weight * self.mask

    def kernel(self) -> torch.Tensor:
        """The weights as applied."""
        masked = self._masked()
        return torch.exp(self.log_weight_norm) * masked / (kernel_norms(masked) + 1e-5)

    def forward(self, x):
        return self._conv_forward(x, self.kernel(), self.bias)


def kernel_norms(kernels: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs, H, W) -> (outputs, 1, 1, 1)."""
    return torch.linalg.vector_norm(kernels, dim=(1, 2, 3), keepdim=True)


def causal_conv(
    inputs, outputs, size, strict=False, mirrored=False, depthwise=False, gain=1.0
) -> Conv:
    """A convolution whose outputs depend on earlier values alone: on earlier pixels, and on this
    pixel's earlier channels; unless `strict`, also on itself. `mirrored`: the last pixel is first.

    If one side has more channels, several of them count as one.
    """
    groups = inputs if depthwise else 1
    mask = torch.zeros(outputs, inputs // groups, size * size)
    center = size * size // 2
    mask[..., :center] = 1
    if depthwise:
        mask[..., center] = not strict
    else:
        fewer = min(inputs, outputs)
        source = torch.arange(inputs) * fewer // inputs
        target = torch.arange(outputs)[:, None] * fewer // outputs
        mask[..., center] = (source < target if strict else source <= target).to(mask)
    mask = mask.flip(2) if mirrored else mask
    return Conv(inputs, outputs, size, gain, mask.unflatten(2, (size, size)), groups=groups)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    norm = unet_parser.batch_norm(channels)
    norm.momentum = MOMENTUM
    return norm


class SqueezeExcite(nn.Module):
    """Scales every channel of (N, C, H, W) by a factor 0..1 that depends on all their means."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // 16, 4)
        self.se = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.se(x.mean((2, 3)))[:, :, None, None]


class HalfSize(nn.Module):
    """Skip connection: (N, inputs, H, W) -> (N, outputs, H/2, W/2), each phase of the pixels by a
    1x1 convolution of its own."""

    PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # row and column

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        share = outputs // 4
        for i, count in enumerate((share, share, share, outputs - 3 * share), start=1):
            self.add_module(f"conv_{i}", Conv(inputs, count, 1, stride=2))

    def forward(self, x):
        x = F.silu(x)
        convs = (self.conv_1, self.conv_2, self.conv_3, self.conv_4)
        phases = [
            conv(x[:, :, row:, column:])
            for conv, (row, column) in zip(convs, self.PHASES, strict=True)
        ]
        return torch.cat(phases, dim=1)


class EncoderCell(nn.Module):
    """Twice batch norm, Swish, 3x3 convolution: (N, inputs, H, W) -> (N, outputs, H, W) or half."""

    def __init__(self, inputs: int, outputs: int, halve: bool = False):
        super().__init__()
        self._ops = nn.ModuleList(
            nn.ModuleDict(
                {
                    "bn_act": batch_norm(channels),
                    "conv_0": Conv(channels, outputs, 3, stride=stride),
                }
            )
            for channels, stride in ((inputs, 2 if halve else 1), (outputs, 1))
        )
        self.se = SqueezeExcite(outputs)
        self.skip = HalfSize(inputs, outputs) if halve else nn.Identity()

    def forward(self, x):
        branch = x
        for step in self._ops:
            branch = step["conv_0"](F.silu(step["bn_act"](branch)))
        return self.skip(x) + BRANCH * self.se(branch)


class ConvNormSwish(nn.Module):
    """Convolution without weight norm, batch norm, Swish."""

    def __init__(self, inputs: int, outputs: int, size: int, groups: int = 1):
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
        self.conv = nn.Sequential(conv, batch_norm(outputs))

    def forward(self, x):
        conv, norm = self.conv
        return F.silu(norm(depthwise(conv, x) if conv.groups > 1 else conv(x)))


class DepthwiseBranch(nn.Module):
    """Expansion, depthwise 5x5, projection; the condition scales and shifts the first norm."""

    def __init__(self, inputs, outputs, expansion, double, embedding):
        super().__init__()
        hidden = inputs * expansion
        layers = (
            nn.ModuleDict({"bn": batch_norm(inputs)}),
            ConvNormSwish(inputs, hidden, 1),
            ConvNormSwish(hidden, hidden, 5, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.ModuleDict({"bn": batch_norm(outputs)}),
        )
        # In the published network layer 0 of an up-cell is the upsampling.
        self.conv = nn.ModuleDict({str(i): x for i, x in enumerate(layers, start=int(double))})
        self.double = double
        self.film = zero_linear(embedding, 2 * inputs) if embedding else None

    def forward(self, x, embedded=None):
        first, expand, depthwise, project, last = self.conv.values()
        x = first["bn"](x)
        if embedded is not None:
            scale, shift = self.film(embedded)[:, :, None, None].to(x.dtype).chunk(2, dim=1)
            x = x * (1 + scale) + shift
        x = expand(x)
        # The published network doubles the size before the first norm. All layers so far treat
        # pixels alone, so this is the same at a quarter of the work.
        x = F.interpolate(x, scale_factor=2) if self.double else x
        return last["bn"](project(depthwise(x)))


class DecoderCell(nn.Module):
    """A depthwise branch: (N, inputs, H, W) -> (N, outputs, H, W), or twice as high and wide."""

    def __init__(self, inputs, outputs, expansion, double=False, embedding=0):
        super().__init__()
        self._ops = nn.ModuleList([DepthwiseBranch(inputs, outputs, expansion, double, embedding)])
        self.se = SqueezeExcite(outputs)
        self.skip = nn.Identity()
        if double:
            larger = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.skip = nn.Sequential(larger, Conv(inputs, outputs, 1))

    def forward(self, x, embedded=None):
        return self.skip(x) + BRANCH * self.se(self._ops[0](x, embedded))


class AddState(nn.Module):
    """Adds the decoder's state to the encoder's features, both (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv(channels, channels, 1)

    def forward(self, features, state):
        return features + self.conv(state)


class Fuse(nn.Module):
    """State (N, C, H, W) and z (N, latents, H, W) -> state."""

    def __init__(self, channels: int, latents: int):
        super().__init__()
        self.conv = Conv(channels + latents, channels, 1)

    def forward(self, state, z):
        return self.conv(torch.cat([state, z.to(state.dtype)], dim=1))


class FlowCell(nn.Module):
    """z -> z minus a shift that depends on earlier values of z alone: the volume is preserved."""

    def __init__(self, latents: int, mirrored: bool):
        super().__init__()
        hidden = FLOW_EXPANSION * latents
        first = causal_conv(latents, hidden, 3, strict=True, mirrored=mirrored)
        middle = causal_conv(hidden, hidden, 5, mirrored=mirrored, depthwise=True)
        last = causal_conv(hidden, latents, 1, mirrored=mirrored, gain=0.1)
        self.conv = nn.ModuleDict({"convz": nn.Sequential(first, nn.ELU(), middle)})
        self.mu = nn.ModuleDict({"conv_0": last})

    def forward(self, z):
        hidden = F.elu(F.elu(self.conv["convz"](z)))
        return z - self.mu["conv_0"](hidden)


class Flow(nn.Module):
    """Two flow cells, the second with the pixels in reverse order."""

    def __init__(self, latents: int):
        super().__init__()
        self.cell1, self.cell2 = FlowCell(latents, False), FlowCell(latents, True)

    def forward(self, z):
        return self.cell2(self.cell1(z))


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without effect until it is trained."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


# Distributions


class Normal(NamedTuple):
    """Independent normal distributions, (N, latents, H, W) each."""

    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, raw: torch.Tensor) -> "Normal":
        """(N, 2 · latents, H, W) of any size; mean and log-std are softly limited to -5..5."""
        mean, log_std = (5 * torch.tanh(raw.float() / 5)).chunk(2, dim=1)
        return cls(mean, torch.exp(log_std) + 0.01)


def kl_divergence(q: Normal, p: Normal) -> torch.Tensor:
    """KL(q ‖ p) of each value, in nats."""
    squares = ((q.mean - p.mean) / p.std).square() + (q.std / p.std).square()
    return 0.5 * (squares - 1) + torch.log(p.std / q.std)


class Guidance(NamedTuple):
    """Strength of the condition in the priors; 0 and 0 have no effect.

    The mean moves away from the prior without condition (null) by `mean` times the difference; the
    variance is multiplied by (variance / null variance) to the power `variance`.
    """

    mean: float = 2.0
    variance: float = 4.0

    def __call__(self, prior: Normal, null: Normal) -> Normal:
        mean = prior.mean + self.mean * (prior.mean - null.mean)
        return Normal(mean, prior.std * (prior.std / null.std) ** self.variance)


class LogisticMixture:
    """Mixture of M discretized logistics per pixel, from (N, 10 M, H, W) raw parameters.

    A component's mean of green depends on red, and that of blue on red and green.
    """

    def __init__(self, raw: torch.Tensor, bits: int = 8):
        raw, count = raw.float(), raw.shape[1] // 10
        logits, colors = raw.split([count, 9 * count], dim=1)
        means, log_scales, coefficients = colors.unflatten(1, (3, 3, count)).unbind(2)
        self.log_weights = F.log_softmax(logits, dim=1)  # (N, M, H, W)
        self.means, self.coefficients = means, torch.tanh(coefficients)  # (N, 3, M, H, W)
        self.log_scales = log_scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)
        self.steps = 2**bits - 1  # between the darkest and the brightest level

    def component_log_likelihood(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) -> log-probability of each color given the colors before it, under
        each component: (N, 3, M, H, W)."""
        x = images.float()[:, :, None]
        red, green, _ = x.unbind(1)
        sharpness = torch.exp(-self.log_scales)
        means = torch.stack([self._mean(i, red, green) for i in range(3)], dim=1)
        centered, half = (x - means) * sharpness, sharpness / self.steps
        up_to = F.logsigmoid(centered + half)  # log P(level or a darker one)
        from_on = F.logsigmoid(half - centered)
        # sigmoid(a) - sigmoid(b) = sigmoid(a) · sigmoid(-b) · (1 - exp(b - a))
        between = up_to + from_on + torch.log(-torch.expm1(-2 * half))
        # The published code takes x > 0.99 for the brightest level, and so counts the second
        # brightest of 8 bits twice.
        return torch.where(x < -0.999, up_to, torch.where(x > 0.999, from_on, between))

    def log_likelihood(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) -> log-probability of each pixel (N, H, W), in nats."""
        components = self.component_log_likelihood(images).sum(1) + self.log_weights
        return torch.logsumexp(components, dim=1)

    def mean(self) -> torch.Tensor:
        """The components' mean colors, weighted: images (N, 3, H, W)."""
        colors = self._colors(lambda i, mean: mean.clamp(-1, 1))
        return (colors * self.log_weights.exp()[:, None]).sum(2)

    @torch.no_grad()
    def sample(self, rng: torch.Generator) -> torch.Tensor:
        """Images (N, 3, H, W) of random levels."""

        def uniform(shape):
            values = torch.rand(shape, generator=rng, device=rng.device)
            return values.to(self.means).clamp_(1e-6, 1 - 1e-6)

        gumbel = -torch.log(-torch.log(uniform(self.log_weights.shape)))
        chosen = (self.log_weights + gumbel).argmax(1, keepdim=True)  # (N, 1, H, W)
        noise = torch.logit(uniform(self.means.shape)) * self.log_scales.exp()
        colors = self._colors(lambda i, mean: self.nearest_level(mean + noise[:, i]))
        index = chosen[:, None].expand(-1, 3, -1, -1, -1)
        return colors.gather(2, index).squeeze(2)

    def nearest_level(self, images: torch.Tensor) -> torch.Tensor:
        levels = ((images + 1) * (self.steps / 2)).round().clamp(0, self.steps)
        return levels * (2 / self.steps) - 1

    def _mean(self, color: int, red, green):
        """Mean of a color under each component (N, M, H, W), given the colors before it."""
        mean, (a, b, c) = self.means[:, color], self.coefficients.unbind(1)
        if color == 1:
            return mean + a * red
        return mean + b * red + c * green if color == 2 else mean

    def _colors(self, draw: Callable[[int, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """`draw(color, mean)` of each color in turn, under each component: (N, 3, M, H, W)."""
        red = draw(0, self._mean(0, None, None))
        green = draw(1, self._mean(1, red, None))
        return torch.stack([red, green, draw(2, self._mean(2, red, green))], dim=1)


# The network


class NVAEOutput(NamedTuple):
    """What the network says about images. One tensor per group in each list."""

    mixture: LogisticMixture
    kl: list[torch.Tensor]  # per channel (N, latents), in nats: q against p
    log_ratio: list[torch.Tensor]  # (N,): log q(z) - log p(z) of the z drawn
    noise: list[torch.Tensor]  # (N, latents, H, W): `decode` makes the same z of it

    def log_likelihood(self, images: torch.Tensor) -> torch.Tensor:
        """Of the images given their z: (N,), in nats."""
        return self.mixture.log_likelihood(images).sum((1, 2))


class ConditionEmbedding(nn.Module):
    """Condition (N, K) in 0..1 -> (N, E); `null` stands for an unknown condition."""

    def __init__(self, values: int, size: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(values, size), nn.SiLU(), nn.Linear(size, size))
        self.null = nn.Parameter(torch.zeros(size))

    def forward(self, condition):
        return self.layers(2 * condition - 1)


class NVAE(nn.Module):
    """Images (N, 3, R, R) in -1..1 and conditions (N, K) in 0..1 -> NVAEOutput; see `decode`."""

    def __init__(self, config: NVAEConfig | None = None, seed: int = 0):
        super().__init__()
        self.config = config = config or NVAEConfig()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._build_encoder(config)
            self._build_decoder(config)

    def _build_encoder(self, config):
        image, first = config.channels_at(-1), config.channels_at(0)
        self.stem = Conv(3, image, 3)
        before = [EncoderCell(image, image) for _ in range(config.pre_cells - 1)]
        self.pre_process = nn.ModuleList([*before, EncoderCell(image, first, halve=True)])
        self.enc_tower = nn.ModuleList()
        last = len(config.groups) - 1
        for scale, groups in enumerate(config.groups):
            here = config.channels_at(scale)
            for group in range(groups):
                self.enc_tower.extend(EncoderCell(here, here) for _ in range(config.cells))
                if (scale, group) != (last, groups - 1):
                    self.enc_tower.append(AddState(here))
            if scale < last:
                below = config.channels_at(scale + 1)
                self.enc_tower.append(EncoderCell(here, below, halve=True))
        top = config.channels_at(last)
        self.enc0 = nn.Sequential(nn.ELU(), Conv(top, top, 1), nn.ELU())
        channels = [config.channels_at(scale) for scale in config.scale_of_group]
        self.enc_sampler = nn.ModuleList(Conv(c, 2 * config.latents, 3) for c in channels)
        self.nf_cells = nn.ModuleList(
            Flow(config.latents) for _ in range(config.flows * len(channels))
        )

    def _build_decoder(self, config):
        embedding = config.embedding if config.conditions else 0
        scales, latents = config.scale_of_group, config.latents
        channels = [config.channels_at(scale) for scale in scales]
        size = config.size_at(scales[0])
        self.prior_ftr0 = nn.Parameter(torch.rand(channels[0], size, size))
        self.dec_sampler = nn.ModuleList(
            nn.Sequential(nn.ELU(), Conv(c, 2 * latents, 1)) for c in channels[1:]
        )
        self.dec_tower = nn.ModuleList()
        for i, here in enumerate(channels):
            if i and scales[i] != scales[i - 1]:
                self.dec_tower.append(
                    DecoderCell(channels[i - 1], here, config.expansion, True, embedding)
                )
            if i:
                self.dec_tower.extend(
                    DecoderCell(here, here, config.expansion, embedding=embedding)
                    for _ in range(config.cells)
                )
            self.dec_tower.append(Fuse(here, latents))
        image = config.channels_at(-1)
        self.post_process = nn.ModuleList(
            DecoderCell(image if i else channels[-1], image, POST_EXPANSION, not i, embedding)
            for i in range(config.post_cells)
        )
        self.image_conditional = nn.Sequential(nn.ELU(), Conv(image, 10 * config.mixtures, 3))
        if embedding:
            self.condition = ConditionEmbedding(len(config.conditions), embedding)
            self.condition_start = zero_linear(embedding, self.prior_ftr0.numel())
            self.condition_posterior = nn.ModuleList(
                zero_linear(embedding, 2 * latents) for _ in channels
            )

    def forward(self, images, condition=None, noise=None, drop=None) -> NVAEOutput:
        """`noise` as from `random_noise` chooses the z within the posteriors.

        Images with `drop` (N,) true are decoded as if their condition were unknown, but their
        posteriors know it.
        """
        side = self.config.resolution
        if tuple(images.shape[1:]) != (3, side, side):
            raise ValueError(
                f"images are {tuple(images.shape)}: this network takes (N, 3, {side}, {side})"
            )
        embedded = self._embed(condition, len(images))
        shown = embedded
        if embedded is not None and drop is not None:
            shown = torch.where(drop[:, None], self.condition.null, embedded)
        features = self._encode(images)
        kl, log_ratio, prior_noise = [], [], []

        def posterior_z(group, raw_prior, state):
            raw = self._raw_posterior(group, features[group], state, embedded)
            raw = raw + raw_prior.float()
            prior, posterior = Normal.of(raw_prior), Normal.of(raw)
            inner = torch.randn_like(posterior.mean) if noise is None else noise[group]
            z = posterior.mean + posterior.std * inner
            for flow in self._flows(group):
                z = flow(z).float()
            outer = (z - prior.mean) / prior.std
            ratio = 0.5 * (outer.square() - inner.square()) + torch.log(prior.std / posterior.std)
            exact = ratio if self.config.flows else kl_divergence(posterior, prior)
            kl.append(exact.sum((2, 3)))
            log_ratio.append(ratio.sum((1, 2, 3)))
            prior_noise.append(outer)
            return z

        raw = self._top_down(len(images), shown, posterior_z)
        return NVAEOutput(LogisticMixture(raw, self.config.bits), kl, log_ratio, prior_noise)

    def decode(
        self,
        noise: Sequence[torch.Tensor],
        condition=None,
        temperature: float = 1.0,
        guidance: Guidance | None = None,
    ) -> LogisticMixture:
        """Noise (N, latents, H, W) per group -> the distribution of the images.

        `temperature` multiplies the std of all priors. Low ones need `recalibrated` statistics.
        """
        if not temperature >= 0:
            raise ValueError(f"temperature {temperature}: must be 0 or more")
        if guidance and not self.config.conditions:
            raise ValueError("guidance: this network takes no condition")
        n = len(noise[0])
        shown = self._embed(condition, n)
        if guidance:
            shown = torch.cat([shown, self._embed(None, n)])

        def prior_z(group, raw_prior, state):
            prior = Normal.of(raw_prior)
            if guidance:
                halves = zip(*(part.chunk(2) for part in prior), strict=True)
                prior = guidance(*(Normal(*half) for half in halves))
            z = prior.mean + temperature * prior.std * noise[group].to(prior.mean)
            return torch.cat([z, z]) if guidance else z

        raw = self._top_down(2 * n if guidance else n, shown, prior_z)
        return LogisticMixture(raw[:n], self.config.bits)

    def _encode(self, images) -> list[torch.Tensor]:
        """The features that each group's posterior is computed from, the coarsest group first."""
        x = self.stem(images)
        for cell in self.pre_process:
            x = cell(x)
        features = []
        for cell in self.enc_tower:
            if isinstance(cell, AddState):
                features.append(x)
            else:
                x = cell(x)
        return [self.enc0(x), *reversed(features)]

    def _raw_posterior(self, group: int, features, state, embedded) -> torch.Tensor:
        """(N, 2 · latents, H, W): what the posterior adds to the raw prior."""
        if group:
            joins = [cell for cell in self.enc_tower if isinstance(cell, AddState)]
            features = joins[-group](features, state)
        raw = self.enc_sampler[group](features).float()
        if embedded is not None:
            raw = raw + self.condition_posterior[group](embedded)[:, :, None, None]
        return raw

    def _top_down(self, n: int, embedded, choose_z) -> torch.Tensor:
        """`choose_z(group, raw prior, state)` gives each z -> raw parameters of the mixture."""
        state, group = self.prior_ftr0.expand(n, -1, -1, -1), 0
        if embedded is not None:
            state = state + self.condition_start(embedded).view_as(state)
        for cell in self.dec_tower:
            if isinstance(cell, Fuse):
                state = cell(state, choose_z(group, self._raw_prior(group, state), state))
                group += 1
            else:
                state = cell(state, embedded)
        for cell in self.post_process:
            state = cell(state, embedded)
        return self.image_conditional(state)

    def _raw_prior(self, group: int, state) -> torch.Tensor:
        """(N, 2 · latents, H, W); zeros, the same for all images, in the first group."""
        if group:
            return self.dec_sampler[group - 1](state)
        return state.new_zeros(len(state), 2 * self.config.latents, *state.shape[2:])

    def _flows(self, group: int):
        count = self.config.flows
        return self.nf_cells[group * count : (group + 1) * count]

    def _embed(self, condition, n: int) -> torch.Tensor | None:
        """Condition (N, K), None if unknown -> (N, E); None if the network takes none."""
        names = self.config.conditions
        if condition is None:
            return self.condition.null.expand(n, -1) if names else None
        if not names:
            raise ValueError("condition: this network takes none")
        condition = torch.as_tensor(condition, dtype=torch.float32, device=self.prior_ftr0.device)
        if condition.shape != (n, len(names)):
            raise ValueError(
                f"condition is {tuple(condition.shape)}: {n} images need ({n}, {len(names)}), "
                f"the values of {', '.join(names)}"
            )
        check_condition(condition, names)
        return self.condition(condition)

    def random_noise(self, n: int, rng: torch.Generator) -> list[torch.Tensor]:
        """New noise for n images, (n, latents, H, W) per group; image after image from `rng`."""
        shapes = self.config.latent_shapes
        sizes = [math.prod(shape) for shape in shapes]
        values = torch.randn(n, sum(sizes), generator=rng, device=rng.device)
        parts = values.to(self.prior_ftr0.device).split(sizes, dim=1)
        return [part.view(n, *shape) for part, shape in zip(parts, shapes, strict=True)]

    def noise_of(self, seeds: Sequence[int]) -> list[torch.Tensor]:
        """The noise of the identities `seeds`: a seed has the same noise in any batch."""
        each = [self.random_noise(1, torch.Generator().manual_seed(int(seed))) for seed in seeds]
        return [torch.cat(group) for group in zip(*each, strict=True)]

    @torch.no_grad()
    def generate(
        self,
        seeds: Sequence[int],
        conditions: np.ndarray | None = None,
        temperature: float = 1.0,
        guidance: Guidance | None = None,
        batch: int = 32,
    ) -> np.ndarray:
        """One image per seed and row of `conditions` (N, K) in 0..1 -> (N, R, R, 3) uint8 RGB, the
        means of the distributions."""
        rows = _condition_rows(conditions, len(seeds))

        def part(i):
            noise = self.noise_of(seeds[i])
            return self.decode(noise, rows(i), temperature, guidance)

        return self._images(part, len(seeds), batch)

    @torch.no_grad()
    def reconstruct(
        self, images: np.ndarray, conditions: np.ndarray | None = None, batch: int = 32
    ) -> np.ndarray:
        """(N, R, R, 3) uint8 RGB -> their reconstructions from the means of the posteriors."""
        rows = _condition_rows(conditions, len(images))

        def part(i):
            x = self.as_input(images[i])
            zeros = [x.new_zeros(len(x), *shape) for shape in self.config.latent_shapes]
            return self(x, rows(i), zeros).mixture

        return self._images(part, len(images), batch)

    def as_input(self, images: np.ndarray) -> torch.Tensor:
        """(N, R, R, 3) uint8 RGB -> (N, 3, R, R) in -1..1, at the levels of the network's bits."""
        bits = self.config.bits
        levels = torch.floor(channels_first(images).to(self.prior_ftr0.device) / 2 ** (8 - bits))
        return levels * (2 / (2**bits - 1)) - 1

    def _images(self, part: Callable[[slice], LogisticMixture], n: int, batch: int) -> np.ndarray:
        """Images of `part` of all rows, in eval mode."""
        training = self.training
        self.eval()
        parts = [to_uint8(part(slice(i, i + batch)).mean()) for i in range(0, n, batch)]
        self.train(training)
        side = self.config.resolution
        return np.concatenate(parts) if parts else np.zeros((0, side, side, 3), np.uint8)


def check_condition(condition: torch.Tensor, names: Sequence[str]) -> None:
    """Raise a ValueError that names the first value of (N, K) outside 0..1."""
    wrong = ~((condition >= 0) & (condition <= 1))  # NaN, too
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        value = condition[row, column].item()
        raise ValueError(f"{names[column]} of image {row} is {value:g}: must be within 0 … 1")


def _condition_rows(conditions, n: int):
    """A function of a slice; all conditions are checked for their number."""
    if conditions is not None and len(conditions) != n:
        raise ValueError(f"{len(conditions)} conditions for {n} images: each image needs one")
    return lambda rows: None if conditions is None else np.asarray(conditions)[rows]


@contextmanager
def recalibrated(
    network: NVAE,
    conditions: np.ndarray | None = None,
    temperature: float = 1.0,
    guidance: Guidance | None = None,
    batches: int = 500,
    batch: int = 16,
    seed: int = 0,
) -> Iterator[None]:
    """Within it, batch norm's statistics are those of generated images, averaged over `batches`.

    A random row of `conditions` (M, K) goes with each image. The trained statistics, which
    reconstructions and likelihoods need, come back at the end.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    trained = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    training, rng = network.training, torch.Generator().manual_seed(seed)
    device = network.prior_ftr0.device
    try:
        network.train()
        for number in range(batches):
            for norm in norms:
                norm.momentum = 1 / (number + 1)  # the mean of all batches so far
            rows = None
            if conditions is not None:
                rows = np.asarray(conditions)[
                    torch.randint(len(conditions), (batch,), generator=rng)
                ]
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                network.decode(network.random_noise(batch, rng), rows, temperature, guidance)
        network.train(training)
        if not all(norm.running_var.isfinite().all() for norm in norms):
            raise FloatingPointError(
                f"statistics at temperature {temperature:g} are not finite: "
                "use a temperature nearer to 1, or the trained statistics"
            )
        yield
    finally:
        network.train(training)
        for norm, (mean, var) in zip(norms, trained, strict=True):
            norm.momentum = MOMENTUM
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
