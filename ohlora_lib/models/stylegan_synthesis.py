"""The half of StyleGAN1's generator that draws: one w per layer -> images.

Each styled layer is: (double the size) convolution, (blur), noise, bias, leaky ReLU, instance norm,
then the style's scale and shift per channel. Layer 0 starts from a learned constant instead.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.cpu import onednn
from ohlora_lib.models.cpu.folded import Folded
from ohlora_lib.models.precision import compute_dtype
from ohlora_lib.models.stylegan_activation import normalized, styled_activation
from ohlora_lib.models.stylegan_layers import (
    FUSED_FROM,
    SLOPE,
    Blur,
    Dense,
    channels_at,
    four_shifts,
    images_together,
)

# From so many input channels on, float32 convolutions run channels first on a CPU: there oneDNN
# sums in shorter runs, which leaves a quarter of the rounding error for 8 % more time.
LONG_SUM = 512
# Maps up to this size are float32 even where the rest is bfloat16: 6 % of the multiplications, but
# all that follows builds on them. The image's error halves (1.3 to 0.65 levels of 255).
EXACT_UP_TO = 16


class ApplyNoise(nn.Module):
    """How strongly each channel takes a noise map; `noise` is the checkpoint's fixed map."""

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise", torch.empty(1, 1, resolution, resolution))

    @torch.no_grad()
    def start(self, rng: torch.Generator) -> None:
        self.noise.normal_(generator=rng)


class StyledLayer(nn.Module):
    """What all layers share, after their features stand: noise, bias, activation, norm, style."""

    def __init__(self, channels: int, resolution: int, w_size: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.declare_weight(channels)
        self.apply_noise = ApplyNoise(channels, resolution)
        self.style = Dense(w_size, 2 * channels, activate=False)

    def forward(self, x, style, noise=None):
        """Features of the layer before, style (N, 2C) -> features (N, C, H, W)."""
        noise = self.apply_noise.noise if noise is None else noise
        scale, shift = style.chunk(2, dim=1)
        return styled_activation(
            self.features(x), noise, self.apply_noise.weight, self.bias, scale + 1, shift
        )


class ConstLayer(StyledLayer):
    """Layer 0: the learned 4x4 constant."""

    def declare_weight(self, channels):
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4))

    def features(self, x):
        """x tells only the number of images and the format wanted: (N, 0) -> (N, C, 4, 4)."""
        const = self.const.to(x.dtype).repeat(x.shape[0], 1, 1, 1)
        return const.contiguous(memory_format=torch.channels_last)


class ConvLayer(StyledLayer):
    """The second layer of a resolution: a 3x3 convolution."""

    def __init__(self, inputs, channels, resolution, w_size):
        self.inputs, self.scale = inputs, math.sqrt(2 / (9 * inputs))
        super().__init__(channels, resolution, w_size)
        self.folded = Folded()

    def declare_weight(self, channels):
        self.weight = nn.Parameter(torch.empty(channels, self.inputs, 3, 3))

    @torch.no_grad()
    def start(self, rng: torch.Generator) -> None:
        self.weight.normal_(generator=rng)

    def forward(self, x, style, noise=None):
        # Where the noise weighs nothing, bias and activation are part of the last convolution.
        # (In float32 all is as in the published networks, step by step.)
        fused = x.dtype == torch.bfloat16 and onednn.at_hand(x, x.dtype)
        if not fused or self.apply_noise.weight.any():
            return super().forward(x, style, noise)
        last = partial(onednn.leaky_convolution, bias=self.bias, slope=SLOPE)
        scale, shift = style.chunk(2, dim=1)
        return normalized(self.features(x, last), scale + 1, shift)

    def kernel(self, weight, dtype, layout):
        return (weight * self.scale).to(dtype, memory_format=layout)

    def features(self, x, convolve=F.conv2d):
        layout = torch.channels_last
        if self.inputs >= LONG_SUM and x.dtype == torch.float32 and x.device.type == "cpu":
            layout = torch.contiguous_format
        kernel = self.folded(self.kernel, self.weight, x.dtype, layout)
        x = convolve(x.contiguous(memory_format=layout), kernel, padding=1)
        return x.contiguous(memory_format=torch.channels_last)


class UpConvLayer(ConvLayer):
    """The first layer of a resolution: nearest upsampling, 3x3 convolution, blur."""

    def __init__(self, inputs, channels, resolution, w_size):
        super().__init__(inputs, channels, resolution, w_size)
        self.flipped = resolution >= FUSED_FROM
        self.blur = Blur(channels)

    def kernel(self, weight, dtype, layout):
        """(C, inputs, 3, 3) -> (inputs, C, 4, 4), for a transposed convolution."""
        weight = weight.transpose(0, 1) * self.scale
        kernel = four_shifts(weight if self.flipped else weight.flip(2, 3))
        return kernel.to(dtype, memory_format=layout)

    def features(self, x, convolve=F.conv2d):
        kernel = self.folded(self.kernel, self.weight, x.dtype, torch.channels_last)
        return self.blur(F.conv_transpose2d(x, kernel, stride=2, padding=1), convolve)


class ToRGB(nn.Module):
    """1x1 convolution without activation: (N, C, H, W) -> image (N, 3, H, W)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.scale = 1 / math.sqrt(inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))

    @torch.no_grad()
    def start(self, rng: torch.Generator) -> None:
        self.weight.normal_(generator=rng)

    def forward(self, x):
        return F.conv2d(x, (self.weight * self.scale).to(x.dtype), self.bias.to(x.dtype))


class Drawing(NamedTuple):
    """What a batch of images is drawn with."""

    last: int  # the level whose features become the image
    fade: float  # how much of the level before is in it
    dtype: torch.dtype  # to compute the large maps in
    styles: list[torch.Tensor]  # per layer (N, 2C)
    noise: list[torch.Tensor | None]  # per layer (N or 1, 1, H, W); None: the checkpoint's

    def part(self, images: slice) -> "Drawing":
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

        `lod` k draws at resolution / 2^k and enlarges; between two integers the coarser image
        fades in. None takes the checkpoint's (0).
        """
        lod = float(self.lod) if lod is None else float(lod)
        if not 0 <= lod <= self.levels - 1:
            raise ValueError(f"lod {lod}: must lie within 0 … {self.levels - 1}")
        last = self.levels - 1 - math.floor(lod)
        layers = [getattr(self, f"layer{i}") for i in range(2 * last + 2)]
        noise = [None] * len(layers) if noise is None else list(noise)
        dtype = compute_dtype(wp)
        with torch.autocast(wp.device.type, enabled=False):
            styles = [layer.style(wp[:, i]) for i, layer in enumerate(layers)]
            drawing = Drawing(last, lod - math.floor(lod), dtype, styles, noise)
            image = self._draw(0, wp.new_empty(wp.shape[0], 0), drawing).to(wp.dtype)
        return F.interpolate(image, size=self.resolution) if lod >= 1 else image

    def _draw(self, level: int, x, drawing: Drawing):
        """Features of the level below -> images of level `drawing.last`."""
        size = 4 << level
        layers = [getattr(self, f"layer{2 * level + i}") for i in (0, 1)]
        x = x.to(drawing.dtype) if size > EXACT_UP_TO else x
        together = images_together(x, layers[1].weight.shape[0] * size * size)
        if x.shape[0] > together:
            parts = [slice(i, i + together) for i in range(0, x.shape[0], together)]
            return torch.cat([self._draw(level, x[part], drawing.part(part)) for part in parts])
        for i, layer in enumerate(layers, start=2 * level):
            x = layer(x, drawing.styles[i], drawing.noise[i])
        if level == drawing.last:
            return getattr(self, f"output{level}")(x)
        image = self._draw(level + 1, x, drawing)
        if drawing.fade and level == drawing.last - 1:
            coarse = F.interpolate(getattr(self, f"output{level}")(x), scale_factor=2)
            image = torch.lerp(image, coarse.to(image.dtype), drawing.fade)
        return image

    def random_noise(self, n: int, rng: torch.Generator) -> list[torch.Tensor]:
        """New noise for n images, one map (n, 1, H, W) per layer; image after image from `rng`."""
        sizes = [4 << (i // 2) for i in range(2 * self.levels)]
        drawn = torch.randn(n, sum(s * s for s in sizes), generator=rng, device=rng.device)
        drawn = drawn.to(self.lod.device).split([s * s for s in sizes], dim=1)
        return [d.view(n, 1, s, s) for d, s in zip(drawn, sizes, strict=True)]
