"""StyleGAN1's discriminator as GenForce publishes it, and Oh-LoRA's conditional form.

Every stage is a module, so a forward hook sees any intermediate: `layer0` … `layer12` features,
`layer13` (the 512 values that a label is appended to), `minibatch_stddev` (its last channel).
Large maps are computed for a few images at a time: a hook there is called once per part.
"""

import math
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.cpu.weight_cache import WeightCache
from ohlora_lib.models.precision import compute_dtype
from ohlora_lib.models.stylegan import (
    SLOPE,
    Blur,
    Dense,
    channels_at,
    check_sizes,
    chunk_size,
    four_shifts,
    initialize,
)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of a discriminator; defaults: GenForce's. Oh-LoRA: label_size 7, group_size 16."""

    resolution: int = 256
    label_size: int = 0
    group_size: int = 4  # images that share one standard deviation
    fmaps_base: int = 16384
    fmaps_max: int = 512
    image_channels: int = 3

    def __post_init__(self):
        check_sizes(self.resolution, self.fmaps_base)

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "DiscriminatorConfig":
        return cls(**values)


class ConvLayer(nn.Module):
    """Equalized convolution, bias, leaky ReLU: (N, inputs, H, W) -> (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, size: int = 3):
        super().__init__()
        self.scale = math.sqrt(2 / (inputs * size * size))
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.cache = WeightCache()

    @torch.no_grad()
    def initialize(self, rng: torch.Generator) -> None:
        self.weight.normal_(generator=rng)

    def kernel(self, weight, dtype):
        return (weight * self.scale).to(dtype, memory_format=torch.channels_last)

    def forward(self, x):
        kernel = self.cache(self.kernel, self.weight, x.dtype)
        x = F.conv2d(x, kernel, self.bias.to(x.dtype), padding=kernel.shape[-1] // 2)
        return F.leaky_relu_(x, SLOPE)


class DownConvLayer(ConvLayer):
    """Blur, 3x3 convolution, bias, 2x2 average, leaky ReLU: half the height and width."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.blur = Blur(inputs)

    def kernel(self, weight, dtype):
        """(outputs, inputs, 3, 3) -> (outputs, inputs, 4, 4), to be applied with stride 2."""
        kernel = four_shifts(weight * (self.scale / 4))
        return kernel.to(dtype, memory_format=torch.channels_last)

    def forward(self, x):
        kernel = self.cache(self.kernel, self.weight, x.dtype)
        x = F.conv2d(self.blur(x), kernel, self.bias.to(x.dtype), stride=2, padding=1)
        return F.leaky_relu_(x, SLOPE)


class MinibatchStddev(nn.Module):
    """(N, C, H, W) -> (N, C+1, H, W): appends the mean standard deviation of a group of images.

    Groups are strided: of 8 images in groups of 4, images 0, 2, 4 and 6 form one.
    """

    def __init__(self, group_size: int):
        super().__init__()
        self.group_size = group_size

    def forward(self, x):
        n, group = x.shape[0], min(self.group_size, x.shape[0])
        if n % group:
            raise ValueError(f"batch of {n}: must be a multiple of the stddev group, {group}")
        groups = x.to(torch.promote_types(x.dtype, torch.float32))
        groups = groups.reshape(group, n // group, *x.shape[1:])
        stddev = (groups.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        channel = stddev.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        return torch.cat([x, channel.to(x.dtype)], dim=1)


class Discriminator(nn.Module):
    """Images (N, 3, R, R) and, in the conditional form, labels (N, 7) -> scores (N, 1)."""

    def __init__(self, config: DiscriminatorConfig | None = None, seed: int = 0):
        super().__init__()
        self.config = config = config or DiscriminatorConfig()
        self.levels = int(math.log2(config.resolution)) - 1
        self.register_buffer("lod", torch.zeros(()))
        for k in range(self.levels):
            size = config.resolution >> k
            here, below = (
                channels_at(s, config.fmaps_base, config.fmaps_max) for s in (size, size // 2)
            )
            self.add_module(f"input{k}", ConvLayer(config.image_channels, here, size=1))
            if size > 4:
                self.add_module(f"layer{2 * k}", ConvLayer(here, here))
                self.add_module(f"layer{2 * k + 1}", DownConvLayer(here, below))
            else:
                self.minibatch_stddev = MinibatchStddev(config.group_size)
                self.add_module(f"layer{2 * k}", ConvLayer(here + 1, here))
                self.add_module(f"layer{2 * k + 1}", Dense(16 * here, below))
                score = Dense(below + config.label_size, 1, activate=False)
                self.add_module(f"layer{2 * k + 2}", score)
        initialize(self, seed)

    def forward(self, images, label=None, lod: float | None = None):
        """`lod` k takes the image averaged down to resolution / 2^k; see `Synthesis.forward`."""
        self._check(label)
        lod = float(self.lod) if lod is None else float(lod)
        if not 0 <= lod <= self.levels - 1:
            raise ValueError(f"lod {lod}: must be within 0 … {self.levels - 1}")
        first, fade = math.floor(lod), lod - math.floor(lod)
        images = images.to(compute_dtype(images), memory_format=torch.channels_last)
        images = F.avg_pool2d(images, 1 << first) if first else images
        with torch.autocast(images.device.type, enabled=False):
            return self._score(self._features(self.levels - 1, first, fade, images), label)

    def front(self, images, level: int):
        """Images (N, 3, R, R) -> the input of the layers of `level`: (N, C, R / 2^level, …)."""
        images = images.to(compute_dtype(images), memory_format=torch.channels_last)
        with torch.autocast(images.device.type, enabled=False):
            return self._features(level, 0, 0.0, images)

    def head(self, x, level: int, label=None):
        """The remaining layers: `head(front(images, k), k, label)` is `forward(images, label)`."""
        self._check(label)
        with torch.autocast(x.device.type, enabled=False):
            for i in range(2 * level, 2 * (self.levels - 1)):
                x = getattr(self, f"layer{i}")(x)
            return self._score(x, label)

    def _check(self, label) -> None:
        if (label is not None) != bool(self.config.label_size):
            wanted = f"needs a label of {self.config.label_size}" if label is None else "takes none"
            raise ValueError(f"label: this discriminator {wanted}")

    def _features(self, level, first, fade, images):
        """Images at the size of level `first` -> the input of the layers of `level`."""
        if level == first:
            return getattr(self, f"input{level}")(images)
        above = [getattr(self, f"layer{i}") for i in (2 * level - 2, 2 * level - 1)]
        values = above[0].weight.shape[0] * (self.config.resolution >> (level - 1)) ** 2
        parts = []
        for part in images.split(chunk_size(images, values)):
            x = above[1](above[0](self._features(level - 1, first, fade, part)))
            if fade and level == first + 1:
                coarse = getattr(self, f"input{level}")(F.avg_pool2d(part, 2))
                x = torch.lerp(x, coarse, fade)
            parts.append(x)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _score(self, x, label):
        """(N, C, 4, 4) -> (N, 1), in float32: the last layers are small and sensitive."""
        last = 2 * (self.levels - 1)
        x = getattr(self, f"layer{last}")(self.minibatch_stddev(x))
        x = getattr(self, f"layer{last + 1}")(x.flatten(1).to(self.lod.dtype))
        if label is not None:
            x = torch.cat([x, label.to(x.dtype)], dim=1)
        return getattr(self, f"layer{last + 2}")(x)


def with_resolution(discriminator: Discriminator, resolution: int, seed: int = 0) -> Discriminator:
    """A copy that takes images of another size: with new levels before those of `discriminator`, or
    without its first ones.

    At `lod` k, a copy with k new levels gives the same scores as before.
    """
    changed = Discriminator(replace(discriminator.config, resolution=resolution), seed)
    new = changed.levels - discriminator.levels
    for name, part in discriminator.named_children():
        kind = name.rstrip("0123456789")
        if moved := {"input": new, "layer": 2 * new}.get(kind, 0):
            number = int(name[len(kind) :]) + moved
            if number < 0:
                continue
            name = f"{kind}{number}"
        getattr(changed, name).load_state_dict(part.state_dict())
    return changed
