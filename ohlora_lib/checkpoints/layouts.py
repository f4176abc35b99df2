"""Which network a state dict belongs to: from its metadata, or from its keys and shapes."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields

import torch
from torch import nn

from ohlora_lib.models.annotator import Annotator, AnnotatorConfig
from ohlora_lib.models.condition_cnn import ConditionCNN, ConditionCNNConfig
from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.facexformer import FaceXFormer, FaceXFormerConfig
from ohlora_lib.models.filter_cnn import FILTERS, FilterCNN, FilterCNNConfig
from ohlora_lib.models.mtcnn import MTCNN, MTCNNConfig
from ohlora_lib.models.nvae import NVAE, Conv, NVAEConfig
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig
from ohlora_lib.models.realism_cnn import RealismCNN, RealismCNNConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.models.unet_parser import UNetConfig, UNetParser

NETWORKS = {
    Generator: GeneratorConfig,
    Discriminator: DiscriminatorConfig,
    FaceXFormer: FaceXFormerConfig,
    MTCNN: MTCNNConfig,
    PropertyCNN: PropertyCNNConfig,
    FilterCNN: FilterCNNConfig,
    UNetParser: UNetConfig,
    Annotator: AnnotatorConfig,
    NVAE: NVAEConfig,
    RealismCNN: RealismCNNConfig,
    ConditionCNN: ConditionCNNConfig,
}
"""Every network that a file can have, and its config. Each is built as `network(config)` and keeps
the config as `.config`."""

Shapes = Mapping[str, tuple[int, ...]]


def build(config: object) -> nn.Module:
    """A new network with this config."""
    for network, kind in NETWORKS.items():
        if type(config) is kind:
            return network(config)
    raise TypeError(f"{type(config).__name__} is not the config of a network")


def describe(network: nn.Module) -> dict[str, str]:
    """A network -> the metadata of its .safetensors file, from which `rebuild` makes a new one."""
    if type(network) not in NETWORKS:
        raise TypeError(f"{type(network).__name__} is not in checkpoints.layouts.NETWORKS")
    return {"network": type(network).__name__, "config": json.dumps(asdict(network.config))}


def rebuild(metadata: Mapping[str, str]) -> nn.Module:
    """Metadata of `describe` -> a new network; ValueError if it is of another version."""
    kinds = {network.__name__: kind for network, kind in NETWORKS.items()}
    if metadata.get("network") not in kinds:
        raise ValueError(f"its metadata name an unknown network, {metadata.get('network')!r}")
    kind, values = kinds[metadata["network"]], json.loads(metadata["config"])
    unknown = set(values) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"its {kind.__name__} has the unknown field '{min(unknown)}'")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return build(kind(**values))


def shapes_of(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def recognize(shapes: Shapes) -> object | None:
    """The config of the network with these keys and shapes; None if there is none."""
    if "synthesis.layer0.const" in shapes or "mapping.dense0.weight" in shapes:
        return _generator(shapes)
    if "input0.weight" in shapes:
        return _discriminator(shapes)
    if "eyes_score_cnn.conv1.0.weight" in shapes:
        return PropertyCNNConfig(hairstyle="hairstyle_score_cnn.fc1.0.weight" in shapes)
    if "fc_final.0.weight" in shapes:
        return _filter(shapes)
    if "backbone.0.0.0.weight" in shapes:
        return FaceXFormerConfig()
    if "pnet.conv1.weight" in shapes:
        return MTCNNConfig()
    if "prior_ftr0" in shapes:
        return _nvae(shapes)
    return None


def adapted(network: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A published state dict with the network's own keys, where they differ only in form.

    NVAE's files count the batches of batch norm, and leave out biases that are zero.
    """
    state = dict(state)
    if not isinstance(network, NVAE):
        return state
    for name, module in network.named_modules():
        state.pop(f"{name}.num_batches_tracked", None)
        norm = state.get(f"{name}.log_weight_norm")
        if isinstance(module, Conv) and norm is not None:
            state[f"{name}.log_weight_norm"] = norm.view(-1, 1, 1, 1)
            state.setdefault(f"{name}.bias", torch.zeros_like(module.bias))
    return state


def _generator(shapes: Shapes) -> GeneratorConfig:
    levels = _count(shapes, "synthesis.output{}.weight")
    resolution = 4 << (levels - 1)
    label, embedding = shapes.get("mapping.label_weight", (0, 0))
    width, inputs = shapes["mapping.dense0.weight"]
    return GeneratorConfig(
        resolution=resolution,
        z_size=inputs - embedding,
        w_size=shapes["synthesis.layer0.style.weight"][1],
        label_size=label,
        embedding_size=embedding or GeneratorConfig.embedding_size,
        split_size=shapes.get("mapping.dense_new0.weight", (0,))[0],
        mapping_layers=_count(shapes, "mapping.dense{}.weight"),
        mapping_width=width,
        fmaps_base=shapes[f"synthesis.layer{2 * levels - 1}.weight"][0] * resolution,
        fmaps_max=shapes["synthesis.layer1.weight"][0],
        image_channels=shapes["synthesis.output0.weight"][0],
    )


def _discriminator(shapes: Shapes) -> DiscriminatorConfig:
    levels = _count(shapes, "input{}.weight")
    resolution, last = 4 << (levels - 1), 2 * levels
    label = shapes[f"layer{last}.weight"][1] - shapes[f"layer{last - 1}.weight"][0]
    return DiscriminatorConfig(
        resolution=resolution,
        label_size=label,
        group_size=16 if label else 4,  # not visible in shapes: values of Oh-LoRA and GenForce
        fmaps_base=shapes["input0.weight"][0] * resolution,
        fmaps_max=shapes[f"layer{last - 2}.weight"][0],
        image_channels=shapes["input0.weight"][1],
    )


def _filter(shapes: Shapes) -> FilterCNNConfig | None:
    """Gender and age, quality and glass differ only in the width of their first dense layer."""
    for name in FILTERS:
        with torch.device("meta"):
            layout = shapes_of(FilterCNN(FilterCNNConfig(filter=name)).state_dict())
        if layout == dict(shapes):
            return FilterCNNConfig(filter=name)
    return None


def _nvae(shapes: Shapes) -> NVAEConfig:
    """Published ones; those of this project take conditions, and their files name the config."""
    before, after = (
        _count(shapes, f"{x}.{{}}.se.se.0.weight") for x in ("pre_process", "post_process")
    )
    halvings = sum(f"pre_process.{i}.skip.conv_1.weight" in shapes for i in range(before))
    colors = shapes["stem.weight"][1]
    if (colors, halvings) != (3, 1):
        raise ValueError(
            f"an NVAE for {colors} colors that halves images {halvings} times before its first "
            "group: 3 and 1 are supported"
        )
    # Of the encoder's tower: "+" adds the decoder's state, once per group but the last; "/" halves.
    tower, kinds = "", {"conv.weight": "+", "skip.conv_1.weight": "/", "se.se.0.weight": "."}
    while kind := next((kinds[k] for k in kinds if f"enc_tower.{len(tower)}.{k}" in shapes), ""):
        tower += kind
    groups = [scale.count("+") for scale in tower.split("/")]
    groups[-1] += 1
    total, (top, size, _) = sum(groups), shapes["prior_ftr0"]
    up = "dec_tower.1.skip.1.weight" in shapes
    hidden, inputs = shapes[f"dec_tower.1._ops.0.conv.{2 if up else 1}.conv.0.weight"][:2]
    resolution = size << len(groups)
    return NVAEConfig(
        resolution=resolution,
        channels=shapes["stem.weight"][0],
        max_channels=top,
        groups=tuple(groups),
        latents=shapes["enc_sampler.0.weight"][0] // 2,
        cells=len(re.match(r"\.*", tower)[0]),
        pre_cells=before,
        post_cells=after,
        expansion=hidden // inputs,
        mixtures=shapes["image_conditional.1.weight"][0] // 10,
        flows=_count(shapes, "nf_cells.{}.cell1.mu.conv_0.weight") // total,
        bits=5 if resolution >= 256 else 8,  # not visible in shapes: published values
    )


def _count(shapes: Shapes, pattern: str) -> int:
    """The first number 0, 1, 2, … for which `pattern` is not a key."""
    number = 0
    while pattern.format(number) in shapes:
        number += 1
    return number
