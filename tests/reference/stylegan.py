"""Compare StyleGAN's two networks with the arrays of a golden set."""

import re

import torch

from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.property_cnn import property_input
from ohlora_lib.models.stylegan import Generator, to_uint8
from tests.reference.golden import (
    EXACT,
    HALF,
    IMAGE,
    LATENT,
    SCORE,
    Golden,
    captured,
    image_input,
    seeded_input,
)

IMAGE_NAME = re.compile(
    r"image(?:_psi(?P<psi>\d\d))?(?:_lod(?P<lod>[\d.]+))?(?:_(?P<number>\d+))?"
    r"(?P<kind>_f16|_uint8_hwc|_uint8_nhwc)?"
)
"""As in `image_psi07_f16`, `image_lod0.5`, `image_psi10_0_uint8_hwc`."""

SCORE_NAME = re.compile(
    r"(?P<what>score_sum_image_grad|score|r1_penalty|mbstd_channel)_batch(?P<batch>\d+)"
    r"(?:_lod(?P<lod>[\d.]+))?(?P<zero>_label_zero)?"
)
"""As in `score_batch4_lod0.5`, `mbstd_channel_batch2`."""


def compare_generator(golden: Golden, network: Generator) -> None:
    """Latents, styles, features, images, and the edits at each entry point."""
    z, label = seeded_input(golden, "z"), None
    golden.compare("z", z, EXACT)
    mapping = network.mapping
    if network.config.label_size:
        label = seeded_input(golden, "label")
        golden.compare("label", label, EXACT)
        golden.compare("embedding", label @ mapping.label_weight, LATENT)
    normalized = "mapping_input_normalised" if network.config.label_size else "z_normalised"
    golden.compare(normalized, mapping.normalized_input(z, label), LATENT)
    w = mapping(z, label)
    golden.compare("w", w, LATENT)
    _compare_layers(golden, network, w)
    _compare_images(golden, network, w)
    if network.config.split_size:
        _compare_split(golden, network, z, label)
    if "train_w_avg_after" in golden.arrays:
        _compare_training(golden, network, w)


def _compare_layers(golden: Golden, network: Generator, w: torch.Tensor) -> None:
    """styleNN of all latents, feat_layerN of latent 0."""
    modules = {}
    for name in golden.arrays:
        if style := re.fullmatch(r"style(\d+)", name):
            modules[name] = f"synthesis.layer{int(style[1])}.style"
        elif layer := re.fullmatch(r"feat_layer(\d+)", name):
            modules[name] = f"synthesis.layer{int(layer[1])}"
    with captured(network, *modules.values()) as outputs:
        network.from_w(w)
    for name, module in modules.items():
        golden.compare(name, outputs[module], IMAGE, part=name.startswith("feat"))


def _truncated_layers(golden: Golden) -> int:
    """How many layers truncation acts on, according to the notes of the stored arrays."""
    notes = " ".join(entry.get("note", "") for entry in golden.manifest["arrays"].values())
    stated = re.search(r"first (\d+) layers", notes)
    return int(stated[1]) if stated else 8


def _compare_images(golden: Golden, network: Generator, w: torch.Tensor) -> None:
    made: dict[tuple, torch.Tensor] = {}
    layers = _truncated_layers(golden)
    for name in golden.arrays:
        if wp := re.fullmatch(r"wp_psi(\d\d)", name):
            psi = int(wp[1]) / 10
            golden.compare(name, network.truncation(w, psi, layers), LATENT)
        if not (match := IMAGE_NAME.fullmatch(name)):
            continue
        psi, lod = int(match["psi"] or 10) / 10, float(match["lod"] or 0)
        if (psi, lod) not in made:
            made[psi, lod] = network.from_w(w, psi=psi, trunc_layers=layers, lod=lod)
        images = made[psi, lod]
        if match["number"]:
            images = images[int(match["number"])]
        elif match["lod"]:
            images = images[: len(golden.arrays[name])]
        _compare_image(golden, name, images, match["kind"] or "")


def _compare_image(golden: Golden, name: str, images: torch.Tensor, kind: str) -> None:
    if "uint8" in kind:
        levels = to_uint8(images if images.dim() == 4 else images[None])
        golden.compare_levels(name, levels if images.dim() == 4 else levels[0])
    else:
        golden.compare(name, images, HALF if kind else IMAGE, part=True)


def _compare_split(golden: Golden, network: Generator, z, label) -> None:
    """FineTune-v9: both split vectors, and the images after an edit at each entry point."""
    mapping = network.mapping
    split1 = mapping.split1(z, label)
    split2 = mapping.split1_to_split2(split1)
    w = mapping.split2_to_w(split2)
    golden.compare("mapping_split1", split1, LATENT)
    golden.compare("mapping_split2", split2, LATENT)
    to_w = {"split1": mapping.split1_to_w, "split2": mapping.split2_to_w, "w": lambda w: w}
    image, differences = network.from_w(w)[0], []
    for (point, finish), vector in zip(to_w.items(), (split1, split2, w), strict=True):
        edited = finish(vector[:1] + seeded_input(golden, f"delta_{point}"))
        golden.compare(f"edited_{point}_w", edited, LATENT)
        golden.compare(f"edited_{point}_image_f16", network.from_w(edited)[0], HALF, part=True)
        differences.append((network.from_w(finish(vector[:1]))[0] - image).abs().max())
    golden.compare("entry_point_max_abs_diff", torch.stack(differences), IMAGE)


def _compare_training(golden: Golden, network: Generator, w: torch.Tensor) -> None:
    """The moving average of w before and after one training step."""
    golden.compare("train_w_avg_before", network.truncation.w_avg, EXACT)
    network.truncation.update(w)
    golden.compare("train_w_avg_after", network.truncation.w_avg, LATENT)
    golden.compare("train_image0", network.from_w(w)[:1], IMAGE)


def compare_discriminator(golden: Golden, network: Discriminator) -> None:
    """Scores at every batch size and lod, features, minibatch stddev, the image gradient."""
    seeded = isinstance(golden.manifest["inputs"]["images"], dict)
    images = (
        seeded_input(golden, "images")
        if seeded
        else property_input(image_input(golden))  # x / 255 to -1..1, as for the property CNN
    )
    label = seeded_input(golden, "label") if network.config.label_size else None
    if label is not None:
        golden.compare("label", label, EXACT)
    for name in golden.arrays:
        if SCORE_NAME.fullmatch(name):
            _compare_score(golden, network, name, images, label)
        elif layer := re.fullmatch(r"feat_layer(\d+)\w*", name):
            batch, module = len(golden.arrays[name]), f"layer{int(layer[1])}"
            with captured(network, module) as outputs:
                network(images[:batch], None if label is None else label[:batch])
            golden.compare(name, outputs[module], IMAGE, part=True)


def _compare_score(golden: Golden, network: Discriminator, name: str, images, label) -> None:
    match = SCORE_NAME.fullmatch(name)
    what, batch, lod = match["what"], int(match["batch"]), float(match["lod"] or 0)
    images = images[:batch].clone().requires_grad_()
    if label is not None:
        label = torch.zeros_like(label[:batch]) if match["zero"] else label[:batch]
    differentiated = what in ("score_sum_image_grad", "r1_penalty")
    with captured(network, "minibatch_stddev") as outputs, torch.set_grad_enabled(differentiated):
        ours = network(images, label, lod=lod)
        if differentiated:
            (ours,) = torch.autograd.grad(ours.sum(), images)
    if what == "mbstd_channel":
        ours = outputs["minibatch_stddev"][:, -1]
    elif what == "r1_penalty":
        ours = ours.square().sum(dim=(1, 2, 3)).mean()
    # Gradients are far smaller than scores: the scores' tolerance alone would let anything pass.
    strict = 1e-3 * float(abs(golden.arrays[name]).max()) if differentiated else SCORE
    golden.compare(name, ours, min(SCORE, strict), part=what == "score_sum_image_grad")
