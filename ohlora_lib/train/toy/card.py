"""Model cards: what an embedded model is, how it was made, and how well it does, as measured."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ohlora_lib.store.atomic import write_text
from ohlora_lib.train.toy.loop import Reached


@dataclass(frozen=True)
class Card:
    """What a card says beside its figures."""

    title: str
    what: str
    trained_on: str
    command: str
    measured_on: str


def write_card(path: Path, card: Card, reached: Reached, figures: Mapping[str, float]) -> None:
    """Write the card as Markdown, figures as a table in the order given."""
    rows = [f"| {name} | {value:.4g} |" for name, value in figures.items()]
    lines = [
        f"# {card.title}",
        "",
        card.what,
        "",
        f"* Trained on: {card.trained_on}",
        f"* By: `{card.command}`: {reached.steps} steps in {reached.seconds / 60:.1f} minutes on "
        f"{machine()}",
        "* License: the repository's (MIT); no photograph and no published weights went in",
        "",
        f"Measured on {card.measured_on}:",
        "",
        "| figure | value |",
        "|---|---|",
        *rows,
    ]
    write_text(path, "\n".join(lines) + "\n")


def machine() -> str:
    """What did the arithmetic."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} thread(s) of {platform.machine()}, no GPU"
