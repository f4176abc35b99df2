"""Model cards: what an embedded model does, how it was trained, and its measured quality."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ohlora_lib.store.atomic import write_text
from ohlora_lib.train.toy.loop import Reached


@dataclass(frozen=True)
class Card:
    """The text of a card."""

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
        f"* Command: `{card.command}`: {reached.steps} steps in {reached.seconds / 60:.1f} minutes "
        f"on {machine()}",
        "* License: the repository's (MIT); no photograph and no published weights were used",
        "",
        f"Measured on {card.measured_on}:",
        "",
        "| figure | value |",
        "|---|---|",
        *rows,
    ]
    write_text(path, "\n".join(lines) + "\n")


def machine() -> str:
    """The hardware of this run."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} thread(s) of {platform.machine()}, no GPU"
