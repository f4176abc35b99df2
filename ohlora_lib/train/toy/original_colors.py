"""The original generator, before its regression: colors, by the last layers' styles alone.

An image is linear in the style of the layer that it is drawn from, once that layer's features are
known. So they are computed once, small, and the colors of thousands of faces are fitted within
minutes. Regression of whole images learned a quarter of the backgrounds' tints in a thousand steps.
"""

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.models.precision import autocast
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.toyworld.face_sets import Faces, as_images
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.original_regression import whitening

SIDE = 16  # pixels of the images that are compared
FACES, BATCH, STEPS = 3000, 100, 600
RATE = 0.0125


def fit_colors(generator: Generator, faces: Faces, z: np.ndarray, seed: int = 0) -> None:
    """Change the styles of the last layers of the two largest resolutions in place.

    z (N, Z) and the faces are pairs.
    """
    z = torch.from_numpy(z)
    matrix = whitening(generator, z)
    rows = stream(seed, 3).permutation(len(z))[:FACES]
    for lod in (1, 0):
        _fit(generator, faces, z, matrix, rows, lod, seed)


def _fit(generator, faces, z, matrix, rows, lod, seed) -> None:
    drawing = generator.synthesis
    level = drawing.levels - 1 - lod
    style, output = (
        getattr(drawing, f"layer{2 * level + 1}").style,
        getattr(drawing, f"output{level}"),
    )
    features, white, wanted = _prepared(generator, faces, z, matrix, rows, lod)
    with torch.no_grad():
        own = torch.linalg.solve(matrix, style.weight, left=False)
        kernel = (output.weight * output.scale)[:, :, 0, 0]
    own = own.clone().requires_grad_(True)
    bias = style.bias.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([own, bias], betas=(0.9, 0.99))
    for step in range(STEPS):
        part = torch.from_numpy(stream(seed + 7, step).integers(len(rows), size=BATCH))
        styles = F.linear(white[part] * style.scale, own, bias * style.rate)
        scale, shift = styles[:, :, None, None].chunk(2, dim=1)
        drawn = torch.einsum("rc,nchw->nrhw", kernel, features[part] * (scale + 1) + shift)
        loss = (drawn + output.bias[:, None, None] - wanted[part]).square().mean()
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / STEPS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        style.weight.copy_(own @ matrix)
        style.bias.copy_(bias)


@torch.no_grad()
def _prepared(generator, faces, z, matrix, rows, lod):
    """Features (N, C, SIDE, SIDE) before the style, whitened w, and the faces of that size."""
    drawing = generator.synthesis
    layer = getattr(drawing, f"layer{2 * (drawing.levels - 1 - lod) + 1}")
    given = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    device = generator.truncation.w_avg.device
    features, white, wanted = [], [], []
    for part in torch.from_numpy(rows).split(20):
        w = generator.mapping(z[part].to(device))
        given.clear()
        with autocast(device=device):
            generator.from_w(w, lod=lod)
        x = torch.cat(given)  # the synthesis takes a few images at a time
        unstyled = layer(x, x.new_zeros(len(x), 2 * layer.bias.numel(), dtype=torch.float32))
        features.append(F.adaptive_avg_pool2d(unstyled.float(), SIDE))
        white.append(w @ matrix)
        images = as_images(faces.images[part.numpy()], device)
        wanted.append(F.adaptive_avg_pool2d(images, SIDE))
    hook.remove()
    return torch.cat(features), torch.cat(white), torch.cat(wanted)
