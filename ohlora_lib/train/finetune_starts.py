"""Where a fine-tuning starts: a new form of a network, with the weights that an older form has.

A layer that gets a label beside its old input is new in the published start. With `keep` its old
columns stay and the label's are zero: the network begins exactly where the old one stood, which a
short training needs.
"""

from dataclasses import replace

import torch

from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.stylegan import Generator

NEW_BRANCH_STD = 0.15  # of FineTune-v9's new layers: their sum starts almost where v1's w was


LABEL_SCALE = 0.1  # of a kept start's embedding: it enters the pixel norm, which must hardly move


def conditional_generator(
    old: Generator, label_size: int = 7, seed: int = 0, keep: bool = False
) -> Generator:
    """FineTune-v1's start: `old` (unconditional) with a label's embedding appended to z.

    The embedding and the first dense layer's weight are new, since that no longer fits; its bias
    is kept.
    """
    new = Generator(replace(old.config, label_size=label_size), seed=seed)
    _carry_over(old, new, ["mapping.label_weight", "mapping.dense0.weight"])
    if keep:
        with torch.no_grad():
            new.mapping.label_weight.mul_(LABEL_SCALE)
            # Pixel norm makes z larger by what equalizing by the wider input makes it smaller.
            _widen(old.mapping.dense0.weight, new.mapping.dense0.weight)
    return new


def conditional_discriminator(
    old: Discriminator, label_size: int = 7, group_size: int = 16, seed: int = 0, keep: bool = False
) -> Discriminator:
    """FineTune-v1's start: `old` (unconditional) with a new last layer that reads the label too."""
    config = replace(old.config, label_size=label_size, group_size=group_size)
    new = Discriminator(config, seed=seed)
    last = f"layer{2 * new.levels}"
    _carry_over(old, new, [f"{last}.weight", f"{last}.bias"])
    if keep:
        before, after = getattr(old, last), getattr(new, last)
        with torch.no_grad():
            _widen(before.weight * (before.scale / after.scale), after.weight)
            after.bias.copy_(before.bias)
    return new


def _widen(old: torch.Tensor, new: torch.Tensor) -> None:
    """A weight (outputs, inputs) into a wider one, whose further columns become zero."""
    new.zero_()
    new[:, : old.shape[1]] = old


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
