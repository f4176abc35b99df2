"""StyleGAN1 step by step, channels first, as a first implementation would do it.

The baseline for timing and testing the networks of `ohlora_lib.models`: the same weights, without
their reformulations.
"""

import torch
import torch.nn.functional as F

from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.stylegan import Generator


def plain_images(network: Generator, z, label=None):
    """z (N, z_size), label (N, label_size) or None -> images (N, 3, R, R)."""
    return plain_synthesis(network, network.mapping(z, label))


def plain_synthesis(network: Generator, w):
    """w (N, w_size) -> images: upsample, convolve, blur, noise, bias, act, norm, style; repeat."""
    synthesis, x = network.synthesis, None
    for i in range(2 * synthesis.levels):
        layer = getattr(synthesis, f"layer{i}")
        if i == 0:
            x = layer.const.expand(w.shape[0], -1, -1, -1)
        else:
            x = _convolved(x, layer, flip=i % 2 == 0 and 4 << (i // 2) >= 128, upsample=i % 2 == 0)
        x = x + layer.apply_noise.noise * layer.apply_noise.weight[:, None, None]
        x = F.leaky_relu(x + layer.bias[:, None, None], 0.2)
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = x / (x.square().mean(dim=(2, 3), keepdim=True) + 1e-8).sqrt()
        style = F.linear(w, layer.style.weight / w.shape[1] ** 0.5, layer.style.bias)
        style = style.view(-1, 2, x.shape[1], 1, 1)
        x = x * (style[:, 0] + 1) + style[:, 1]
    to_rgb = getattr(synthesis, f"output{synthesis.levels - 1}")
    return F.conv2d(x, to_rgb.weight / x.shape[1] ** 0.5, to_rgb.bias)


def _convolved(x, layer, flip: bool, upsample: bool):
    kernel = layer.weight * (2 / (9 * x.shape[1])) ** 0.5
    if not upsample:
        return F.conv2d(x, kernel, padding=1)
    x = F.interpolate(x, scale_factor=2)
    x = F.conv2d(x, kernel.flip(2, 3) if flip else kernel, padding=1)
    return F.conv2d(x, layer.blur.kernel, padding=1, groups=x.shape[1])


def plain_scores(network: Discriminator, images, label=None):
    """Images (N, 3, R, R) -> scores (N, 1): per layer blur, convolve, bias, average, act."""
    x = _activated(images, network.input0, padding=0)
    for i in range(2 * network.levels - 2):
        layer = getattr(network, f"layer{i}")
        if i % 2:
            x = F.conv2d(x, layer.blur.kernel, padding=1, groups=x.shape[1])
        x = _activated(x, layer, padding=1, shrink=i % 2 == 1)
    x = network.minibatch_stddev(x)
    last = 2 * network.levels - 2
    x = _activated(x, getattr(network, f"layer{last}"), padding=1).flatten(1)
    x = getattr(network, f"layer{last + 1}")(x)
    x = x if label is None else torch.cat([x, label], dim=1)
    return getattr(network, f"layer{last + 2}")(x)


def _activated(x, layer, padding: int, shrink: bool = False):
    fan_in = layer.weight[0].numel()
    x = F.conv2d(x, layer.weight * (2 / fan_in) ** 0.5, layer.bias, padding=padding)
    return F.leaky_relu(F.avg_pool2d(x, 2) if shrink else x, 0.2)
