"""Stand-ins for published weights that draw and read toy faces in the published layouts.

The generator is the embedded one, its weights placed into the layers of the published sizes. Its
128-pixel images fill 99 % of the 256-pixel ones; the last layers are computed as in the published
network, but black. FaceXFormer is fitted to rendered faces for a few minutes, its backbone random.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ohlora_lib import checkpoints
from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.models.discriminator import DiscriminatorConfig
from ohlora_lib.models.facexformer import (
    FaceXFormer,
    FaceXFormerConfig,
    crop_face,
    face_input,
    stage_maps,
    widened_box,
)
from ohlora_lib.models.filter_cnn import FilterCNNConfig
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.precision import autocast
from ohlora_lib.models.property_cnn import PropertyCNNConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.toyworld.face_sets import TRAIN_SEED, FaceSet, load_faces
from ohlora_lib.train.classifier import FILTER_TRAININGS
from ohlora_lib.train.regressor import SMALL_PLAN
from ohlora_lib.train.toy.parser import class_weights

LOD = 0.99  # of the checkpoint: the share of the 128-pixel image
FACES, HELD_OUT, STEPS, BATCH = 144, 16, 500, 2
LEARNING_RATE = 1e-3


@torch.no_grad()
def toy_generator(config: GeneratorConfig) -> Generator:
    """A generator of this layout that draws the embedded generator's faces."""
    toy, made = checkpoints.load("original"), Generator(config)
    theirs = dict(made.named_modules())
    for name, module in toy.named_modules():
        own = dict(module.named_parameters(recurse=False)) | dict(
            module.named_buffers(recurse=False)
        )
        for key, value in own.items():
            place = getattr(theirs[name], key)
            ratio = getattr(module, "scale", 1.0) / getattr(theirs[name], "scale", 1.0)
            _put(place, value * (ratio if key == "weight" and hasattr(module, "scale") else 1.0),
                 halves=name.endswith(".style"), kept=name == "mapping.dense0")  # fmt: skip
    made.synthesis.lod.zero_()  # published networks draw at full size
    if config.resolution > toy.config.resolution:
        top = made.synthesis.levels - 1
        getattr(made.synthesis, f"output{top}").weight.zero_()
        made.synthesis.lod.fill_(LOD)
    if config.split_size:  # each branch gives half of w
        mapping, width = made.mapping, config.mapping_width
        last, before = (getattr(mapping, f"dense{config.mapping_layers - k}") for k in (1, 2))
        mapping.dense_new0.weight[:width] = before.weight
        mapping.dense_new0.bias[:width] = before.bias
        ratio = last.scale / mapping.dense_new1.scale
        mapping.dense_new1.weight.zero_()[:, :width] = last.weight * ratio / 2
        mapping.dense_new1.bias.copy_(last.bias / 2)
        last.weight /= 2
        last.bias /= 2
    return made.eval()


def _put(place: torch.Tensor, value: torch.Tensor, halves: bool, kept: bool) -> None:
    """Copy into the corner of a larger tensor; the rest becomes 0 unless it is kept."""
    if place.shape == value.shape:
        place.copy_(value)
        return
    if not kept:
        place.zero_()
    parts = [(place, value)]
    if halves:  # a style's scales, then its shifts
        parts = list(zip(place.chunk(2), value.chunk(2), strict=True))
    for whole, part in parts:
        whole[tuple(slice(size) for size in part.shape)] = part


def small_config(config: object) -> object:
    """The same kind of network for 128-pixel images, at a tenth of the cost or less."""
    if isinstance(config, GeneratorConfig):
        return replace(config, resolution=128, fmaps_base=4096, fmaps_max=128)
    if isinstance(config, DiscriminatorConfig):
        return replace(config, resolution=128, fmaps_base=2048, fmaps_max=64)
    if isinstance(config, PropertyCNNConfig):
        kept = {"hairstyle": config.hairstyle, "dense_dropout": config.dense_dropout}
        return replace(SMALL_PLAN.network, **kept)
    if isinstance(config, FilterCNNConfig):
        return FILTER_TRAININGS["small"][config.filter].network
    return FaceXFormerConfig(
        embed=32, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), width=64, decoder_heads=4,
        decoder_mlp=128,
    )  # fmt: skip


def toy_reader(config: FaceXFormerConfig, detector: MTCNN, cache: Path) -> FaceXFormer:
    """A FaceXFormer that parses toy faces, from `cache` or fitted (minutes on one core)."""
    network = FaceXFormer(config)
    if cache.exists():
        network.load_state_dict(torch.load(cache, weights_only=True))
        return network.eval()
    network = fitted_reader(config, detector)
    cache.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), cache)
    return network


def fitted_reader(config: FaceXFormerConfig, detector: MTCNN) -> FaceXFormer:
    """Fitted to rendered faces with their class maps; prints the accuracy on other faces."""
    torch.manual_seed(0)
    network = FaceXFormer(config)
    rendered = load_faces(FaceSet(TRAIN_SEED, FACES + HELD_OUT))
    crops, targets = crops_of(rendered.images, rendered.maps, detector)
    weights = torch.from_numpy(class_weights(rendered))
    network.eval()
    with torch.no_grad(), autocast():
        parts = [stage_maps(network.backbone, face_input(crops[at : at + 8]))
                 for at in range(0, len(crops), 8)]  # fmt: skip
    maps = [torch.cat(stage).half() for stage in zip(*parts, strict=True)]
    targets = torch.from_numpy(targets).long()
    rows, held_out = len(crops) - HELD_OUT, range(len(crops) - HELD_OUT, len(crops))
    trained = [p for name, p in network.named_parameters() if not name.startswith("backbone")]
    optimizer = torch.optim.AdamW(trained, LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS)

    def parse(which) -> torch.Tensor:
        features = network.fuse([stage[which].float() for stage in maps])
        return network.face_decoder(features, network.pe_layer(features.shape[-1])).parse

    for _ in range(STEPS):
        which = torch.randint(rows, (BATCH,))
        loss = F.cross_entropy(parse(which), targets[which], weights)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        right = [(parse([row])[0].argmax(0) == targets[row]).float().mean() for row in held_out]
    print(f"FaceXFormer's stand-in: {np.mean(right):.0%} of the pixels of {len(right)} other faces "
          f"are right, of {len(CLASS_NAMES)} classes", flush=True)  # fmt: skip
    return network


def crops_of(
    images: np.ndarray, maps: np.ndarray, detector: MTCNN
) -> tuple[np.ndarray, np.ndarray]:
    """Faces (N, 128, 128, 3) with class maps -> crops and maps of those that MTCNN finds."""
    large = images.repeat(2, axis=1).repeat(2, axis=2)
    crops, targets = [], []
    for image, one, found in zip(large, maps, detector(large), strict=True):
        if len(found.boxes):
            crops.append(crop_face(image, found.boxes[0]))
            left, top, right, bottom = widened_box(found.boxes[0], *image.shape[:2]).astype(int)
            one = Image.fromarray(one.repeat(2, axis=0).repeat(2, axis=1)[top:bottom, left:right])
            targets.append(np.array(one.resize((224, 224), Image.Resampling.NEAREST)))
    return np.stack(crops), np.stack(targets)
