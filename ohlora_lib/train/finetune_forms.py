"""FineTune-v1, v8 and v9: which layers train, named by position, and what the networks are fed.

The published names are those at 256 px; counted from the coarse end (generator) and from the score
(discriminator) the same layers exist at every resolution.
"""

from copy import deepcopy
from dataclasses import dataclass

from torch import nn

from ohlora_lib.faces.properties import LABEL_PROPERTIES
from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.train.finetune_starts import (
    conditional_discriminator,
    conditional_generator,
    split_generator,
)


@dataclass(frozen=True)
class Form:
    """A published way to fine-tune. The generator's mapping trains in all of them.

    `critic_layers`: the discriminator's last ones. `critic_steps`: how many steps in a row it may
    take when its loss is much above the generator's.
    """

    name: str
    synthesis_layers: int = 0  # the first ones, from 4 x 4 up
    outputs: int = 0  # the first ones: only the last one draws, so these get no gradient
    critic_layers: int = 3
    critic_steps: int = 1
    labeled: bool = False  # by the 7 scores; else by zeros
    mixing: float = 0.0  # the share of images with a second z's styles from some layer on
    split: bool = False

    def generator_parts(self) -> tuple[str, ...]:
        """Beginnings of the names of the generator's parameters that train."""
        layers = (f"synthesis.layer{i}." for i in range(self.synthesis_layers))
        return "mapping.", *layers, *(f"synthesis.output{i}." for i in range(self.outputs))

    def level(self, discriminator: Discriminator) -> int:
        """The level of the discriminator that its first trained layer belongs to."""
        return discriminator.levels - (self.critic_layers - 1) // 2

    def discriminator_parts(self, discriminator: Discriminator) -> tuple[str, ...]:
        """Beginnings of the names of the discriminator's parameters that train."""
        first, levels = self.level(discriminator), discriminator.levels
        layers = (f"layer{i}." for i in range(2 * first, 2 * levels + 1))
        return *layers, *(f"input{i}." for i in range(first + 1, levels))


V1 = Form("v1", labeled=True, mixing=0.9)
V8 = Form("v8", synthesis_layers=2, outputs=1)
V9 = Form("v9", synthesis_layers=6, outputs=3, critic_layers=7, critic_steps=4, split=True)
FORMS = {form.name: form for form in (V1, V8, V9)}


def start(
    form: Form, generator: Generator, discriminator: Discriminator, seed: int = 0, keep: bool = True
) -> tuple[Generator, Discriminator]:
    """Copies of both in the form's shape, everything frozen but what trains.

    `keep`: new inputs begin at zero, so that the generator draws what it drew; else as published.
    """
    if generator.config.resolution != discriminator.config.resolution:
        raise ValueError(
            f"the generator draws {generator.config.resolution} px and the discriminator reads "
            f"{discriminator.config.resolution} px: take two that were trained together"
        )
    if not generator.config.label_size:
        generator = conditional_generator(generator, len(LABEL_PROPERTIES), seed, keep)
    if not discriminator.config.label_size:
        discriminator = conditional_discriminator(
            discriminator, len(LABEL_PROPERTIES), seed=seed + 1, keep=keep
        )
    if form.split and not generator.config.split_size:
        generator = split_generator(generator, seed=seed + 2)
    generator, discriminator = deepcopy(generator), deepcopy(discriminator)
    freeze_all_but(generator, form.generator_parts())
    freeze_all_but(discriminator, form.discriminator_parts(discriminator))
    return generator.train(), discriminator.train()


def freeze_all_but(network: nn.Module, parts: tuple[str, ...]) -> None:
    """Only parameters whose name begins with one of `parts` train."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(parts))


def trained(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
