"""The half of StyleGAN1's generator that draws: one w per layer -> images.

Each styled layer is: (double the size) convolution, (blur), noise, bias, leaky ReLU, instance norm,
then the style's scale and shift per channel. Layer 0 starts from a learned constant instead.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.stylegan_layers import (
    FUSED_FROM,
    SLOPE,
    Blur,
    Dense,
    channels_at,
    compute_dtype,
    four_shifts,
)

EPSILON = 1e-8  # inside the root of the instance norm


class ApplyNoise(nn.Module):
    """Adds one noise map, weighted per channel; `noise` is the checkpoint's fixed map."""

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise", torch.empty(1, 1, resolution, resolution))

    @torch.no_grad()
    def start(self, rng: torch.Generator) -> None:
        self.noise.normal_(generator=rng)

    def forward(self, x, bias, noise=None):
        """x (N, C, H, W) plus bias (C) plus weight x noise (N or 1, 1, H, W; None: the fixed map)."""
        noise = self.noise if noise is None else noise
        added = noise * self.weight[:, None, None] + bias[:, None, None]
        return x + added.to(x.dtype)


class StyledLayer(nn.Module):
    """What all layers share, after their features stand: noise, bias, activation, norm, style."""

    def __init__(self, channels: int, resolution: int, w_size: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.declare_weight(channels)
        self.apply_noise = ApplyNoise(channels, resolution)
        self.style = Dense(w_size, 2 * channels, gain=1.0, activate=False)

    def forward(self, x, w, noise=None):
        """Features of the layer before, w (N, w_size) -> features (N, C, H, W)."""
        x = self.apply_noise(self.features(x), self.bias, noise)
        x = F.leaky_relu(x, SLOPE)
        scale, shift = self.style(w).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
        var, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
        return (x - mean) * torch.rsqrt(var + EPSILON) * (scale + 1) + shift


class ConstLayer(StyledLayer):
    """Layer 0: the learned 4x4 constant."""

    def declare_weight(self, channels):
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4))

    def features(self, x):
        """x is only the dtype and batch that are wanted: (N, 0) -> (N, C, 4, 4)."""
        return self.const.to(x.dtype).expand(x.shape[0], -1, -1, -1)


class ConvLayer(StyledLayer):
    """The second layer of a resolution: a 3x3 convolution."""

    def __init__(self, inputs, channels, resolution, w_size):
        self.inputs, self.scale = inputs, math.sqrt(2 / (9 * inputs))
        super().__init__(channels, resolution, w_size)

    def declare_weight(self, channels):
        self.weight = nn.Parameter(torch.empty(channels, self.inputs, 3, 3))

    @torch.no_grad()
    def start(self, rng: torch.Generator) -> None:
        self.weight.normal_(generator=rng)

    def features(self, x):
        return F.conv2d(x, (self.weight * self.scale).to(x.dtype), padding=1)


class UpConvLayer(ConvLayer):
    """The first layer of a resolution: nearest upsampling, 3x3 convolution, blur."""

    def __init__(self, inputs, channels, resolution, w_size):
        super().__init__(inputs, channels, resolution, w_size)
        self.flipped = resolution >= FUSED_FROM
        self.blur = Blur(channels)

    def features(self, x):
        kernel = self.weight * self.scale
        if not self.flipped:
            kernel = kernel.flip(2, 3)
        kernel = four_shifts(kernel.transpose(0, 1)).to(x.dtype)
        return self.blur(F.conv_transpose2d(x, kernel, stride=2, padding=1))


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
        dtype = compute_dtype(wp)
        with torch.autocast(wp.device.type, enabled=False):
            image = self._draw(wp, noise or [None] * wp.shape[1], lod, dtype)
        return image.to(wp.dtype)

    def _draw(self, wp, noise, lod, dtype):
        last = self.levels - 1 - math.floor(lod)
        faded = lod - math.floor(lod)
        x = wp.new_empty((wp.shape[0], 0), dtype=dtype)
        for k in range(last + 1):
            coarser = x
            for i in (2 * k, 2 * k + 1):
                x = getattr(self, f"layer{i}")(x, wp[:, i], noise[i])
        image = getattr(self, f"output{last}")(x)
        if faded:
            coarse = getattr(self, f"output{last - 1}")(coarser)
            image = torch.lerp(image, F.interpolate(coarse, scale_factor=2), faded)
        return F.interpolate(image, size=self.resolution) if lod >= 1 else image

    def random_noise(self, n: int, rng: torch.Generator) -> list[torch.Tensor]:
        """New noise for n images, one map (n, 1, H, W) per layer; image after image from `rng`."""
        sizes = [4 << (i // 2) for i in range(2 * self.levels)]
        drawn = torch.randn(n, sum(s * s for s in sizes), generator=rng, device=rng.device)
        drawn = drawn.to(self.lod.device).split([s * s for s in sizes], dim=1)
        return [d.view(n, 1, s, s) for d, s in zip(drawn, sizes, strict=True)]
