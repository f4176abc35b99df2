"""Where a fine-tuning starts: a new form of a network, with the weights that an older form has."""

from dataclasses import replace

import torch

from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.stylegan import Generator

NEW_BRANCH_STD = 0.15  # of FineTune-v9's new layers: their sum starts almost where v1's w was


def conditional_generator(old: Generator, label_size: int = 7, seed: int = 0) -> Generator:
    """FineTune-v1's start: `old` (unconditional) with a label's embedding appended to z.

    The embedding and the first dense layer's weight are new, since that no longer fits; its bias
    is kept.
    """
    new = Generator(replace(old.config, label_size=label_size), seed=seed)
    return _carry_over(old, new, ["mapping.label_weight", "mapping.dense0.weight"])


def conditional_discriminator(
    old: Discriminator, label_size: int = 7, group_size: int = 16, seed: int = 0
) -> Discriminator:
    """FineTune-v1's start: `old` (unconditional) with a new last layer that reads the label too."""
    config = replace(old.config, label_size=label_size, group_size=group_size)
    new = Discriminator(config, seed=seed)
    last = f"layer{2 * new.levels}"
    return _carry_over(old, new, [f"{last}.weight", f"{last}.bias"])


def split_generator(old: Generator, split_size: int = 2048, seed: int = 0) -> Generator:
    """FineTune-v9's start: `old` (v1 or v8) with the second branch of its mapping new."""
    new = Generator(replace(old.config, split_size=split_size), seed=seed)
    rng = torch.Generator().manual_seed(seed)
    branch = [key for key in new.state_dict() if key.startswith("mapping.dense_new")]
    with torch.no_grad():
        for key in branch:
            new.get_parameter(key).normal_(std=NEW_BRANCH_STD, generator=rng)
    return _carry_over(old, new, branch)


def _carry_over(old: torch.nn.Module, new: torch.nn.Module, fresh: list[str]) -> torch.nn.Module:
    """All of `old` into `new`, but for the keys `fresh`; strict about everything else."""
    state = new.state_dict()
    carried = {key: value for key, value in old.state_dict().items() if key not in fresh}
    new.load_state_dict(carried | {key: state[key] for key in fresh})
    return new
