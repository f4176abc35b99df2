"""StyleGAN1's generator as GenForce publishes it, in its three forms.

* unconditional (`label_size=0`): GenForce's celeba-partial;
* conditional (`label_size=7`): FineTune-v1 and v8. The label enters in `Mapping.normalized_input`;
* split mapping (`split_size=2048`): FineTune-v9, whose w is the sum of two branches.

Entry points, each starting where its argument stands in the chain

    z, label -> split1 -> split2 -> w -> wp (one w per layer) -> images (N, 3, R, R), about -1..1

Every stage is a module, so a forward hook sees any intermediate: `mapping.dense5`,
`synthesis.layer3` (that layer's features after its style), `synthesis.layer3.style` (2C values,
scale half first). Large maps are computed for a few images at a time: a hook there is called once
per part of the batch.

Every learned weight is stored at unit scale and multiplied by `gain / sqrt(fan_in)` when it is used
(equalized learning rate), as in the published checkpoints.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.cpu.styled_activation import styled_activation
from ohlora_lib.models.cpu.weight_cache import WeightCache
from ohlora_lib.models.precision import compute_dtype

SLOPE = 0.2  # of every leaky ReLU in StyleGAN
FLIPPED_FROM = 128  # from this resolution on, published kernels are of a transposed convolution
# From this many input channels on, float32 convolutions run channels first on a CPU: there oneDNN
# sums in shorter runs, which leaves a quarter of the rounding error for 8 % more time.
LONG_SUM = 512
# Maps up to this size are float32 even where the rest is bfloat16: 6 % of the multiplications, but
# all later layers build on them. It halves the image's error (1.3 to 0.65 levels of 255).
EXACT_UP_TO = 16
CHUNK_BYTES = 8 << 20


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of a generator; the defaults are GenForce's celeba_partial-256x256."""

    resolution: int = 256
    z_size: int = 512
    w_size: int = 512
    label_size: int = 0  # 7 property values in FineTune-v1, v8, v9
    embedding_size: int = 16  # of a label, appended to z
    split_size: int = 0  # width of FineTune-v9's second branch: 2048
    mapping_layers: int = 8
    mapping_width: int = 512
    fmaps_base: int = 16384
    fmaps_max: int = 512
    image_channels: int = 3

    def __post_init__(self):
        check_sizes(self.resolution, self.fmaps_base)
        if self.split_size and self.mapping_layers < 3:
            raise ValueError(f"a split mapping needs 3 layers or more, not {self.mapping_layers}")

    @property
    def layers(self) -> int:
        """Number of styled layers, two per resolution from 4 up."""
        return 2 * int(math.log2(self.resolution)) - 2

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "GeneratorConfig":
        return cls(**values)


# Building blocks, shared with the discriminator


def check_sizes(resolution: int, fmaps_base: int) -> None:
    """Raise a ValueError if no network has this resolution and these feature maps."""
    if resolution not in (8 << k for k in range(8)):
        raise ValueError(f"resolution {resolution}: must be 8, 16, 32 … or 1024")
    if fmaps_base < resolution:
        raise ValueError(f"fmaps_base {fmaps_base} leaves no feature map at {resolution} px")


def channels_at(resolution: int, fmaps_base: int, fmaps_max: int) -> int:
    """Feature maps of the layers that work at `resolution`."""
    return min(fmaps_base // resolution, fmaps_max)


def chunk_size(x: torch.Tensor, values: int) -> int:
    """How many images to take through a layer at once, if each has `values` values there.

    On a CPU, few: larger maps leave the cache, and glibc returns blocks above 32 MiB to the system,
    so that every layer page-faults them in again. GPUs take the whole batch.
    """
    if x.device.type != "cpu":
        return max(1, x.shape[0])
    return max(1, CHUNK_BYTES // (values * x.element_size()))


def initialize(network: nn.Module, seed: int) -> None:
    """Draw every layer's initial weights from one stream, in the order of the modules."""
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if hasattr(module, "initialize"):
            module.initialize(rng)


class Dense(nn.Module):
    """Equalized dense layer, leaky ReLU unless `activate` is off: (N, inputs) -> (N, outputs).

    Never in bfloat16: it is cheap, and every image depends on the precision of w.
    """

    def __init__(self, inputs, outputs, rate=1.0, activate=True):
        super().__init__()
        gain = math.sqrt(2) if activate else 1.0
        self.scale, self.rate, self.activate = gain / math.sqrt(inputs) * rate, rate, activate
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    @torch.no_grad()
    def initialize(self, rng: torch.Generator) -> None:
        self.weight.normal_(0, 1 / self.rate, generator=rng)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            x = F.linear(x.to(self.weight) * self.scale, self.weight, self.bias * self.rate)
        return F.leaky_relu(x, SLOPE) if self.activate else x


class Blur(nn.Module):
    """Depthwise 3x3 smoothing with zero padding; the kernel is part of the checkpoint."""

    def __init__(self, channels: int):
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        kernel = torch.outer(line, line) / 16
        self.register_buffer("kernel", kernel.expand(channels, 1, 3, 3).clone())

    def forward(self, x):
        return F.conv2d(x, self.kernel.to(x.dtype), padding=1, groups=x.shape[1])


def four_shifts(kernel: torch.Tensor) -> torch.Tensor:
    """(A, B, 3, 3) -> (A, B, 4, 4): the sum of the kernel's four shifts by zero or one.

    With stride 2 it is "3x3 convolution, then sum over 2x2"; transposed, with stride 2, it is
    "nearest upsampling, then the flipped 3x3 convolution", at a quarter of the work.
    """
    padded = F.pad(kernel, (1, 1, 1, 1))
    return sum(padded[..., i : i + 4, j : j + 4] for i in (0, 1) for j in (0, 1))


# Mapping: z -> w


class Mapping(nn.Module):
    """z (N, z_size) and, in conditional generators, label (N, label_size) -> w (N, w_size)."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        last, width = config.mapping_layers - 1, config.mapping_width
        inputs = config.z_size
        if config.label_size:
            self.label_weight = nn.Parameter(torch.empty(config.label_size, config.embedding_size))
            inputs += config.embedding_size
        for i in range(last + 1):
            outputs = config.w_size if i == last else width
            self.add_module(f"dense{i}", Dense(inputs, outputs, rate=0.01))
            inputs = width
        if config.split_size:
            self.dense_new0 = Dense(width, config.split_size, rate=0.01)
            self.dense_new1 = Dense(config.split_size, config.w_size, rate=0.01)

    @torch.no_grad()
    def initialize(self, rng: torch.Generator) -> None:
        if self.config.label_size:
            self.label_weight.normal_(generator=rng)

    def normalized_input(self, z, label=None):
        """z with the label's embedding appended, then pixel norm over both together."""
        if (label is not None) != bool(self.config.label_size):
            wanted = f"needs a label of {self.config.label_size}" if label is None else "takes none"
            raise ValueError(f"label: this generator {wanted}")
        if label is not None:
            embedding = (label[:, :, None] * self.label_weight).sum(dim=1)
            z = torch.cat([z, embedding], dim=1)
        return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)

    def _dense(self, i: int, x):
        return getattr(self, f"dense{i}")(x)

    def forward(self, z, label=None):
        if self.config.split_size:
            return self.split1_to_w(self.split1(z, label))
        x = self.normalized_input(z, label)
        for i in range(self.config.mapping_layers):
            x = self._dense(i, x)
        return x

    def split1(self, z, label=None):
        """FineTune-v9: the two branches after their first layer, [w1 (512), w2 (2048)]."""
        self._require_split()
        x = self.normalized_input(z, label)
        for i in range(self.config.mapping_layers - 2):
            x = self._dense(i, x)
        return torch.cat([self._dense(self.config.mapping_layers - 2, x), self.dense_new0(x)], 1)

    def split1_to_split2(self, split1):
        """The two branches after their second layer, [w1' (512), w2' (512)]."""
        self._require_split()
        w1, w2 = split1.split([self.config.mapping_width, self.config.split_size], dim=1)
        return torch.cat([self._dense(self.config.mapping_layers - 1, w1), self.dense_new1(w2)], 1)

    def split2_to_w(self, split2):
        """w = w1' + w2'."""
        self._require_split()
        w1, w2 = split2.chunk(2, dim=1)
        return w1 + w2

    def split1_to_w(self, split1):
        return self.split2_to_w(self.split1_to_split2(split1))

    def _require_split(self) -> None:
        if not self.config.split_size:
            raise ValueError("this generator's mapping has no split: start from z or w")


class Truncation(nn.Module):
    """Moves w toward the average w, and repeats it once per layer."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.layers = config.layers
        self.register_buffer("w_avg", torch.zeros(config.w_size))

    def forward(self, w, psi: float = 1.0, layers: int = 0):
        """w (N, w_size) or wp -> wp (N, layers, w_size); psi < 1 acts on the first `layers`."""
        wp = w if w.dim() == 3 else w[:, None].expand(-1, self.layers, -1)
        if psi >= 1 or layers <= 0:
            return wp
        truncated = torch.lerp(self.w_avg, wp[:, :layers], psi)
        return torch.cat([truncated, wp[:, layers:]], dim=1)

    @torch.no_grad()
    def update(self, w, decay: float = 0.995) -> None:
        """Moving average of each batch's mean w, as the reference keeps it in training."""
        self.w_avg.lerp_(w.mean(dim=0), 1 - decay)


# Synthesis: wp -> images. Each styled layer is: (double the size) convolution, (blur), noise, bias,
# leaky ReLU, instance norm, then the style's scale and shift per channel.


class ApplyNoise(nn.Module):
    """The weight of the noise per channel; `noise` is the checkpoint's fixed map."""

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise", torch.empty(1, 1, resolution, resolution))

    @torch.no_grad()
    def initialize(self, rng: torch.Generator) -> None:
        self.noise.normal_(generator=rng)


class StyledLayer(nn.Module):
    """What all layers share after their `features`: noise, bias, activation, norm, style."""

    def __init__(self, channels: int, resolution: int, w_size: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.declare_weight(channels)  # here, for the published order of the state dict
        self.apply_noise = ApplyNoise(channels, resolution)
        self.style = Dense(w_size, 2 * channels, activate=False)

    def forward(self, x, style, noise=None):
        """Features of the layer before, style (N, 2C) -> features (N, C, H, W)."""
        noise = self.apply_noise.noise if noise is None else noise
        scale, shift = style.chunk(2, dim=1)
        return styled_activation(
            self.features(x), noise, self.apply_noise.weight, self.bias, scale + 1, shift, SLOPE
        )


class ConstLayer(StyledLayer):
    """Layer 0: the learned 4x4 constant."""

    def declare_weight(self, channels):
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4))

    def features(self, x):
        """x (N, 0) only gives the number of images and the dtype -> (N, C, 4, 4)."""
        const = self.const.to(x.dtype).repeat(x.shape[0], 1, 1, 1)
        return const.contiguous(memory_format=torch.channels_last)


class ConvLayer(StyledLayer):
    """The second layer of a resolution: a 3x3 convolution."""

    def __init__(self, inputs, channels, resolution, w_size):
        self.inputs, self.scale = inputs, math.sqrt(2 / (9 * inputs))
        super().__init__(channels, resolution, w_size)
        self.cache = WeightCache()

    def declare_weight(self, channels):
        self.weight = nn.Parameter(torch.empty(channels, self.inputs, 3, 3))

    @torch.no_grad()
    def initialize(self, rng: torch.Generator) -> None:
        self.weight.normal_(generator=rng)

    def kernel(self, weight, dtype, layout):
        return (weight * self.scale).to(dtype, memory_format=layout)

    def features(self, x):
        layout = torch.channels_last
        if self.inputs >= LONG_SUM and x.dtype == torch.float32 and x.device.type == "cpu":
            layout = torch.contiguous_format
        kernel = self.cache(self.kernel, self.weight, x.dtype, layout)
        x = F.conv2d(x.contiguous(memory_format=layout), kernel, padding=1)
        return x.contiguous(memory_format=torch.channels_last)


class UpConvLayer(ConvLayer):
    """The first layer of a resolution: nearest upsampling, 3x3 convolution, blur."""

    def __init__(self, inputs, channels, resolution, w_size):
        super().__init__(inputs, channels, resolution, w_size)
        self.flipped = resolution >= FLIPPED_FROM
        self.blur = Blur(channels)

    def kernel(self, weight, dtype, layout):
        """(C, inputs, 3, 3) -> (inputs, C, 4, 4), for a transposed convolution."""
        weight = weight.transpose(0, 1) * self.scale
        kernel = four_shifts(weight if self.flipped else weight.flip(2, 3))
        return kernel.to(dtype, memory_format=layout)

    def features(self, x):
        kernel = self.cache(self.kernel, self.weight, x.dtype, torch.channels_last)
        return self.blur(F.conv_transpose2d(x, kernel, stride=2, padding=1))


class ToRGB(nn.Module):
    """1x1 convolution without activation: (N, C, H, W) -> image (N, 3, H, W)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.scale = 1 / math.sqrt(inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))

    @torch.no_grad()
    def initialize(self, rng: torch.Generator) -> None:
        self.weight.normal_(generator=rng)

    def forward(self, x):
        return F.conv2d(x, (self.weight * self.scale).to(x.dtype), self.bias.to(x.dtype))


class SynthesisInputs(NamedTuple):
    """Everything that the images of a batch are computed from."""

    last: int  # the level whose features become the image
    fade: float  # the fraction of the level before in it
    dtype: torch.dtype  # of the large maps
    styles: list[torch.Tensor]  # per layer (N, 2C)
    noise: list[torch.Tensor | None]  # per layer (N or 1, 1, H, W); None: the checkpoint's

    def part(self, images: slice) -> "SynthesisInputs":
        noise = [n if n is None or n.shape[0] == 1 else n[images] for n in self.noise]
        return self._replace(styles=[style[images] for style in self.styles], noise=noise)


class Synthesis(nn.Module):
    """One w per layer (N, layers, w_size) -> images (N, 3, R, R)."""

    def __init__(self, config):
        super().__init__()
        self.resolution = config.resolution
        self.levels = int(math.log2(config.resolution)) - 1  # 4 x 4 is the first
        self.register_buffer("lod", torch.zeros(()))
        channels = [channels_at(4 << k, config.fmaps_base, config.fmaps_max) for k in range(9)]
        for k in range(self.levels):
            size = 4 << k
            first = (
                UpConvLayer(channels[k - 1], channels[k], size, config.w_size)
                if k
                else ConstLayer(channels[0], size, config.w_size)
            )
            self.add_module(f"layer{2 * k}", first)
            second = ConvLayer(channels[k], channels[k], size, config.w_size)
            self.add_module(f"layer{2 * k + 1}", second)
            self.add_module(f"output{k}", ToRGB(channels[k], config.image_channels))

    def forward(self, wp, noise: Sequence[torch.Tensor] | None = None, lod: float | None = None):
        """`noise`: one map (N or 1, 1, H, W) per layer, None for the checkpoint's own.

        `lod` k computes the image at resolution / 2^k and enlarges it; between two integers the
        coarser image fades in. None takes the checkpoint's (0).
        """
        lod = float(self.lod) if lod is None else float(lod)
        if not 0 <= lod <= self.levels - 1:
            raise ValueError(f"lod {lod}: must be within 0 … {self.levels - 1}")
        last = self.levels - 1 - math.floor(lod)
        layers = [getattr(self, f"layer{i}") for i in range(2 * last + 2)]
        noise = [None] * len(layers) if noise is None else list(noise)
        dtype = compute_dtype(wp)
        with torch.autocast(wp.device.type, enabled=False):
            styles = [layer.style(wp[:, i]) for i, layer in enumerate(layers)]
            inputs = SynthesisInputs(last, lod - math.floor(lod), dtype, styles, noise)
            image = self._from_level(0, wp.new_empty(wp.shape[0], 0), inputs).to(wp.dtype)
        return F.interpolate(image, size=self.resolution) if lod >= 1 else image

    def _from_level(self, level: int, x, inputs: SynthesisInputs):
        """Features of the level below -> images of level `inputs.last`."""
        size = 4 << level
        layers = [getattr(self, f"layer{2 * level + i}") for i in (0, 1)]
        x = x.to(inputs.dtype) if size > EXACT_UP_TO else x
        chunk = chunk_size(x, layers[1].weight.shape[0] * size * size)
        if x.shape[0] > chunk:
            parts = [slice(i, i + chunk) for i in range(0, x.shape[0], chunk)]
            return torch.cat([self._from_level(level, x[p], inputs.part(p)) for p in parts])
        for i, layer in enumerate(layers, start=2 * level):
            x = layer(x, inputs.styles[i], inputs.noise[i])
        if level == inputs.last:
            return getattr(self, f"output{level}")(x)
        image = self._from_level(level + 1, x, inputs)
        if inputs.fade and level == inputs.last - 1:
            coarse = F.interpolate(getattr(self, f"output{level}")(x), scale_factor=2)
            image = torch.lerp(image, coarse.to(image.dtype), inputs.fade)
        return image

    def random_noise(self, n: int, rng: torch.Generator) -> list[torch.Tensor]:
        """New noise for n images, one map (n, 1, H, W) per layer; image after image from `rng`."""
        sizes = [4 << (i // 2) for i in range(2 * self.levels)]
        values = torch.randn(n, sum(s * s for s in sizes), generator=rng, device=rng.device)
        values = values.to(self.lod.device).split([s * s for s in sizes], dim=1)
        return [v.view(n, 1, s, s) for v, s in zip(values, sizes, strict=True)]


class Generator(nn.Module):
    """StyleGAN1's generator. `forward` and the `from_…` entry points share the chain below them.

    Their options go to `from_w`: psi and trunc_layers (truncation), noise and lod (`Synthesis`).
    """

    def __init__(self, config: GeneratorConfig | None = None, seed: int = 0):
        super().__init__()
        self.config = config or GeneratorConfig()
        self.mapping = Mapping(self.config)
        self.truncation = Truncation(self.config)
        self.synthesis = Synthesis(self.config)
        initialize(self, seed)

    def forward(self, z, label=None, **options):
        return self.from_w(self.mapping(z, label), **options)

    def from_split1(self, split1, **options):
        return self.from_w(self.mapping.split1_to_w(split1), **options)

    def from_split2(self, split2, **options):
        return self.from_w(self.mapping.split2_to_w(split2), **options)

    def from_w(self, w, psi: float = 1.0, trunc_layers: int = 0, noise=None, lod=None):
        return self.from_wp(self.truncation(w, psi, trunc_layers), noise=noise, lod=lod)

    def from_wp(self, wp, noise=None, lod=None):
        return self.synthesis(wp, noise=noise, lod=lod)


def with_resolution(
    generator: Generator, resolution: int, seed: int = 0, top: Generator | None = None
) -> Generator:
    """A copy that draws at another resolution: without its last blocks, or with more on top, which
    are those of `top` or new.

    Its own lod changes with it, so that by default it draws the same images as before, unless it
    lacks the blocks.
    """
    grown = Generator(replace(generator.config, resolution=resolution), seed)
    own = grown.state_dict()
    if top is not None:
        own |= {name: value for name, value in top.state_dict().items() if name in own}
    kept = {name: value for name, value in generator.state_dict().items() if name in own}
    grown.load_state_dict(own | kept)
    lod = generator.synthesis.lod + math.log2(resolution / generator.config.resolution)
    grown.synthesis.lod.copy_(lod.clamp(min=0))
    return grown


def mix_styles(wp, other, first: int | torch.Tensor):
    """wp (N, L, w) with the layers from `first` on from `other`; one number or (N,) of them."""
    layer = torch.arange(wp.shape[1], device=wp.device)
    first = torch.as_tensor(first, device=wp.device).reshape(-1, 1)
    return torch.where((layer >= first)[..., None], other, wp)


def to_uint8(images) -> np.ndarray:
    """Images (N, 3, H, W) in -1..1 -> (N, H, W, 3) uint8 RGB, rounded as the reference does."""
    values = images.detach().permute(0, 2, 3, 1).cpu().double()
    return ((values + 1) * (255 / 2) + 0.5).clamp(0, 255).to(torch.uint8).numpy()
