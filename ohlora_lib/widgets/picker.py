"""Pick latents by eye: grade the sheet of a latent's fifty expressions, keep or drop it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.responses import EYES, MOUTH, POSE
from ohlora_lib.steering.selection_rules import (
    GRADES,
    GRADES_IN_ENGLISH,
    pick_agreement,
    read_picks,
)
from ohlora_lib.store import StoreError
from ohlora_lib.store.images import ImageSet
from ohlora_lib.widgets.answers import AnswerWidget
from ohlora_lib.widgets.parts import es_module
from ohlora_lib.widgets.record import Record

COLUMNS = ["idx", "chosen", *EXPRESSION, "reason", "note"]
REASONS = {"a": "age", "b": "background moves", "c": "uncanny", "o": "other"}
"""Key -> why a latent is dropped."""
RESPONSES = {
    "correlation, CNN": "cnn_{}_corr",
    "correlation, parser": "parser_{}_corr",
    "change per unit, CNN": "cnn_{}_slope",
    "change per unit, parser": "parser_{}_slope",
}
SIDE_EFFECTS = {
    "background change": "background",
    "outline change": "outline",
    "least female": "gender_worst",
    "oldest": "age_worst",
    "worst quality": "quality_worst",
}
"""What is shown -> column of a control test."""


def viewing_order(indices: Sequence[int], repeats: float, seed: int) -> list[tuple[int, bool]]:
    """Latents in random order, with whether one is shown for the second time.

    A fraction `repeats` of them, shown first, is shown again among the others.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.asarray(indices)).tolist()
    again = order[: round(repeats * len(order))]
    rest = [(idx, False) for idx in order[len(again) :]] + [(idx, True) for idx in again]
    return [(idx, False) for idx in again] + [rest[at] for at in rng.permutation(len(rest))]


class Picker(AnswerWidget):
    """Grade sheets into a CSV of picks: idx, chosen, eyes, mouth, pose, reason, note.

    `sheets`: an image per latent, numbered by its idx: five rows (mouth) of ten faces (eyes, then
    pose). `tested`: the control test's row of each. `blind`: numbers and responses are hidden, the
    order is random, and a fraction `repeats` is shown twice to measure how far the person agrees
    with themselves; the second answers are in the journal only.
    """

    _esm = es_module("elements", "answers", "picker")

    def __init__(
        self,
        sheets: ImageSet,
        picks: str | Path,
        tested: pd.DataFrame,
        picked_by: str = "a person",
        blind: bool = False,
        repeats: float = 0.2,
        seed: int = 0,
    ):
        self.path, self.picked_by = Path(picks), picked_by
        self.tested, self.blind, self.repeats, self.seed = tested, blind, repeats, seed
        self.items: list[tuple[int, bool]] = []
        super().__init__(sheets)

    def read_saved(self) -> None:
        record = Record(self.path, self.images, self.picked_by, COLUMNS)
        indices = record.numbers
        if unknown := set(self._read(record)["idx"]) - set(indices):
            raise StoreError(
                f"{self.path}: latent {min(unknown)} has no sheet in {self.images.folder}: remove "
                "its row, or give another file"
            )
        self.record = record
        self.items = (
            viewing_order(indices, self.repeats, self.seed)
            if self.blind
            else [(idx, False) for idx in indices]
        )

    @property
    def picks(self) -> pd.DataFrame:
        """What is saved; without rows if there is nothing yet."""
        return self._read(self.record) if not self.problem else pd.DataFrame(columns=COLUMNS)

    @property
    def repeated(self) -> pd.DataFrame:
        """The last answer to each latent that was shown again."""
        rows = [event["pick"] for event in self.record.events if event["event"] == "repeat"]
        return pd.DataFrame(rows, columns=COLUMNS).drop_duplicates("idx", keep="last")

    def self_agreement(self) -> pd.DataFrame:
        """First against second answers, as `pick_agreement`."""
        return pick_agreement(self.picks, self.repeated)

    def _read(self, record: Record) -> pd.DataFrame:
        if not record.exists:
            return pd.DataFrame(columns=COLUMNS)
        return read_picks(self.path).reindex(columns=COLUMNS)

    def on_open(self, message: dict) -> dict:
        answers = {again: table.astype(object).where(table.notna(), None).to_dict("records")
                   for again, table in ((False, self.picks), (True, self.repeated))}  # fmt: skip
        by_item = {(pick["idx"], again): pick for again, picks in answers.items() for pick in picks}
        rows = self.tested.set_index("idx")
        return {
            "items": [
                {"idx": idx, "again": again, "pick": by_item.get((idx, again)),
                 "measured": None if self.blind else self._measured(rows.loc[idx])}
                for idx, again in self.items
            ],
            "grades": dict(zip(GRADES, GRADES_IN_ENGLISH, strict=True)),
            "properties": EXPRESSION,
            "reasons": REASONS,
            "levels": {"eyes": EYES, "mouth": MOUTH, "pose": POSE},
            "blind": self.blind,
            "file": str(self.path),
        }  # fmt: skip

    @staticmethod
    def _measured(row: pd.Series) -> dict:
        """Response -> its values for eyes, mouth, pose; side effect -> [value]."""
        shown = {name: [row[column.format(one)] for one in EXPRESSION]
                 for name, column in RESPONSES.items()}  # fmt: skip
        shown |= {name: [row[column]] for name, column in SIDE_EFFECTS.items()}
        return {name: [f"{value:.2f}" for value in values] for name, values in shown.items()}

    def on_save(self, message: dict) -> dict:
        """Save the pick of one item."""
        idx, again = self.items[message["item"]]
        pick = {"idx": idx} | {name: message["pick"].get(name) for name in COLUMNS[1:]}
        grades = [pick[name] for name in EXPRESSION]
        if pick["chosen"] not in (0, 1) or not set(grades) <= {*GRADES, None}:
            raise StoreError(f"{self.path}: no valid pick, so it was not saved")
        facts = {"pick": pick, "seconds": message["seconds"]}
        if again:
            self.record.log("repeat", **facts)
        else:
            others = self.picks[self.picks["idx"] != idx]
            table = pd.DataFrame([*others.to_dict("records"), pick], columns=COLUMNS)
            self.record.write(table.sort_values("idx"), "pick", **facts)
        return {}
