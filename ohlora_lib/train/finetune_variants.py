"""FineTune-v1, v8 and v9: which layers train, and the networks that a fine-tuning starts from.

The published layer names are those at 256 px. Counted from the coarse end of the generator and from
the score of the discriminator, the same layers exist at every resolution.
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import nn

from ohlora_lib.faces.properties import LABEL_PROPERTIES
from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.stylegan import Generator

NEW_BRANCH_STD = 0.15
"""Of FineTune-v9's new weights, as published; the new branch starts weak beside the old one."""
LABEL_SCALE = 0.1
"""Of the label embedding in a start that preserves the images: pixel norm sees z and the embedding
together, so a large embedding would shrink z."""


@dataclass(frozen=True)
class FinetuneVariant:
    """A published way to fine-tune. The generator's mapping trains in all of them."""

    name: str
    synthesis_layers: int = 0
    """How many synthesis layers train, from 4 x 4 up."""
    outputs: int = 0
    """How many toRGB layers are unfrozen, from 4 x 4 up. Only the last one of the network draws, so
    these get no gradient; the published code lists them."""
    discriminator_layers: int = 3
    """How many of the discriminator's last layers train."""
    max_discriminator_steps: int = 1
    """In a row, while its loss is far above the generator's."""
    labeled: bool = False
    """Both networks get each face's seven property scores as label; otherwise zeros."""
    style_mixing: float = 0.0
    """Probability that an image takes its styles from a second z from a random layer on."""
    split_mapping: bool = False
    """The mapping's last two layers get a second, new branch."""

    def generator_parts(self) -> tuple[str, ...]:
        """Name prefixes of the generator's parameters that train."""
        layers = (f"synthesis.layer{i}." for i in range(self.synthesis_layers))
        return "mapping.", *layers, *(f"synthesis.output{i}." for i in range(self.outputs))

    def level(self, discriminator: Discriminator) -> int:
        """The discriminator level (resolution step) of its first trained layer."""
        return discriminator.levels - (self.discriminator_layers - 1) // 2

    def discriminator_parts(self, discriminator: Discriminator) -> tuple[str, ...]:
        """Name prefixes of the discriminator's parameters that train."""
        first, levels = self.level(discriminator), discriminator.levels
        layers = (f"layer{i}." for i in range(2 * first, 2 * levels + 1))
        return *layers, *(f"input{i}." for i in range(first + 1, levels))


VARIANTS = {
    variant.name: variant
    for variant in (
        FinetuneVariant("v1", labeled=True, style_mixing=0.9),
        FinetuneVariant("v8", synthesis_layers=2, outputs=1),
        FinetuneVariant(
            "v9",
            synthesis_layers=6,
            outputs=3,
            discriminator_layers=7,
            max_discriminator_steps=4,
            split_mapping=True,
        ),
    )
}


def start(
    variant: FinetuneVariant,
    generator: Generator,
    discriminator: Discriminator,
    seed: int = 0,
    preserving: bool = True,
) -> tuple[Generator, Discriminator]:
    """Copies of both networks in the variant's architecture, frozen except for what trains.

    `preserving`: the weights of new inputs start at zero, so the generator still draws the same
    images; otherwise new layers are random, as published.
    """
    if generator.config.resolution != discriminator.config.resolution:
        raise ValueError(
            f"the generator draws {generator.config.resolution} px and the discriminator reads "
            f"{discriminator.config.resolution} px: use two that were trained together"
        )
    if not generator.config.label_size:
        generator = conditional_generator(generator, len(LABEL_PROPERTIES), seed, preserving)
    if not discriminator.config.label_size:
        discriminator = conditional_discriminator(
            discriminator, len(LABEL_PROPERTIES), seed=seed + 1, preserving=preserving
        )
    if variant.split_mapping and not generator.config.split_size:
        generator = split_generator(generator, seed=seed + 2)
    generator, discriminator = deepcopy(generator), deepcopy(discriminator)
    freeze_all_but(generator, variant.generator_parts())
    freeze_all_but(discriminator, variant.discriminator_parts(discriminator))
    return generator.train(), discriminator.train()


def freeze_all_but(network: nn.Module, parts: tuple[str, ...]) -> None:
    """Only parameters whose name starts with one of `parts` train."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(parts))


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def freeze_table(generator: Generator, discriminator: Discriminator) -> pd.DataFrame:
    """A row per network: number of trained and of frozen parameters, and the trained layers."""
    rows = {}
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        layers = dict.fromkeys(
            key.removeprefix("synthesis.").split(".")[0]
            for key, parameter in network.named_parameters()
            if parameter.requires_grad
        )
        trained = sum(parameter.numel() for parameter in trainable(network))
        frozen = sum(parameter.numel() for parameter in network.parameters()) - trained
        rows[name] = {"trained": trained, "frozen": frozen, "trained layers": ", ".join(layers)}
    table = pd.DataFrame(rows).T.rename_axis("network")
    return table.astype({"trained": int, "frozen": int})


def conditional_generator(
    old: Generator, label_size: int = 7, seed: int = 0, preserving: bool = False
) -> Generator:
    """FineTune-v1's start: the unconditional `old` with the label's embedding appended to z.

    The embedding and the weight of the first dense layer are new, because its input is wider; its
    bias is kept. `preserving` keeps the old columns of that weight too, and zeros for the label's.
    """
    new = Generator(replace(old.config, label_size=label_size), seed=seed)
    _copy_weights(old, new, ["mapping.label_weight", "mapping.dense0.weight"])
    if preserving:
        with torch.no_grad():
            new.mapping.label_weight.mul_(LABEL_SCALE)
            # Pixel norm over the wider input scales z up by what the equalized weight scales down.
            _pad_columns(old.mapping.dense0.weight, new.mapping.dense0.weight)
    return new


def conditional_discriminator(
    old: Discriminator,
    label_size: int = 7,
    group_size: int = 16,
    seed: int = 0,
    preserving: bool = False,
) -> Discriminator:
    """FineTune-v1's start: the unconditional `old` with a new last layer that reads the label too.

    `preserving` keeps the old columns of its weight, and zeros for the label's.
    """
    config = replace(old.config, label_size=label_size, group_size=group_size)
    new = Discriminator(config, seed=seed)
    last = f"layer{2 * new.levels}"
    _copy_weights(old, new, [f"{last}.weight", f"{last}.bias"])
    if preserving:
        before, after = getattr(old, last), getattr(new, last)
        with torch.no_grad():
            _pad_columns(before.weight * (before.scale / after.scale), after.weight)
            after.bias.copy_(before.bias)
    return new


def split_generator(old: Generator, split_size: int = 2048, seed: int = 0) -> Generator:
    """FineTune-v9's start: `old` (v1 or v8) with a new second branch in its mapping."""
    new = Generator(replace(old.config, split_size=split_size), seed=seed)
    rng = torch.Generator().manual_seed(seed)
    branch = [key for key in new.state_dict() if key.startswith("mapping.dense_new")]
    with torch.no_grad():
        for key in branch:
            new.get_parameter(key).normal_(std=NEW_BRANCH_STD, generator=rng)
    return _copy_weights(old, new, branch)


def _pad_columns(old: torch.Tensor, new: torch.Tensor) -> None:
    """Copy a weight (outputs, inputs) into a wider one, whose further columns become zero."""
    new.zero_()
    new[:, : old.shape[1]] = old


def _copy_weights(old: nn.Module, new: nn.Module, fresh: list[str]) -> nn.Module:
    """Copy all of `old` into `new` except for the keys `fresh`; any other mismatch is an error."""
    state = new.state_dict()
    copied = {key: value for key, value in old.state_dict().items() if key not in fresh}
    new.load_state_dict(copied | {key: state[key] for key in fresh})
    return new
