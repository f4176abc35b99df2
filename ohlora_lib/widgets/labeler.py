"""Label many faces by hand: mark the exceptions on a page of faces, then turn the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.measure.labels import INDEX, Labels, read_labels
from ohlora_lib.store import StoreError
from ohlora_lib.store.images import ImageSet
from ohlora_lib.widgets.answers import AnswerWidget
from ohlora_lib.widgets.parts import es_module
from ohlora_lib.widgets.record import Record

COLUMNS = [INDEX, *FILTER_PROPERTIES]
QUESTIONS = (
    {"name": "gender", "key": "g", "words": ["male", "female"], "usual": 1},
    {"name": "quality", "key": "q", "words": ["poor quality", "good quality"], "usual": 1},
    {"name": "age", "key": "a", "words": ["young", "old"], "usual": 0},
    {"name": "glass", "key": "s", "words": ["no glasses", "glasses"], "usual": 0},
)
"""In the order of the CSV's columns: key, words for the labels 0 and 1, and the common answer."""


class Labeler(AnswerWidget):
    """Label an image set into a CSV in the published format (`idx,gender,quality,age,glass`).

    Each finished page is saved. Labels that the file has already are kept, and labeling continues
    after them. `numbers`: label only these images, in this order; `hints`: number -> a line of text
    below the face.
    """

    _esm = es_module("elements", "answers", "labeler")

    def __init__(
        self,
        images: ImageSet,
        labels: str | Path,
        labeled_by: str = "a person",
        per_page: int = 60,
        numbers: Sequence[int] | np.ndarray | None = None,
        hints: Mapping[int, str] | None = None,
    ):
        self.path, self.labeled_by, self.per_page = Path(labels), labeled_by, per_page
        self.numbers, self.hints = numbers, dict(hints or {})
        self.record: Record | None = None
        super().__init__(images)

    def read_saved(self) -> None:
        record = Record(self.path, self.images, self.labeled_by, COLUMNS)
        chosen = record.numbers if self.numbers is None else list(map(int, self.numbers))
        for source, numbers in ((self.path, self._saved(record)), ("numbers", chosen)):
            if unknown := set(numbers) - set(record.numbers):
                raise StoreError(
                    f"{source}: image {min(unknown)} is not in {self.images.folder}: remove it, "
                    "or give the images it belongs to"
                )
        self.record, self.numbers = record, chosen

    @property
    def labels(self) -> Labels:
        """What is saved; without rows if there is nothing yet."""
        if self.path.exists():
            return read_labels(self.path, self.labeled_by)
        return Labels(pd.DataFrame(columns=COLUMNS, dtype=np.int64), self.labeled_by)

    def sort(self, numbers: Sequence[int] | np.ndarray) -> None:
        """Show these images first, of those that are not labeled yet, in this order."""
        first = dict.fromkeys(map(int, numbers))
        self.numbers = [*first, *(n for n in self.numbers if n not in first)]
        self.send({"kind": "order"})

    def _saved(self, record: Record) -> dict[int, list[int]]:
        """Number -> its four labels."""
        if not record.exists:
            return {}
        table = read_labels(self.path, self.labeled_by).table
        return dict(zip(table[INDEX].tolist(), table[list(FILTER_PROPERTIES)].to_numpy().tolist(),
                        strict=True))  # fmt: skip

    def _doubtful(self) -> list[int]:
        """Images that were doubtful when their page was last saved, from the journal."""
        doubts: set[int] = set()
        for event in self.record.events:
            if event["event"] == "page":
                doubts.difference_update(number for number, *_ in event["rows"])
                doubts.update(event.get("doubtful", ()))
        return sorted(doubts & set(self.numbers))

    def on_open(self, message: dict) -> dict:
        saved = self._saved(self.record)
        wanted = set(self.numbers)
        return {
            "questions": QUESTIONS,
            "numbers": [*(n for n in saved if n in wanted),
                        *(n for n in self.numbers if n not in saved)],
            "saved": [[n, *answers] for n, answers in saved.items() if n in wanted],
            "doubtful": self._doubtful(),
            "hints": list(self.hints.items()),
            "per_page": self.per_page,
            "file": str(self.path),
        }  # fmt: skip

    def on_save(self, message: dict) -> dict:
        """Save the rows [number, four labels] of a page."""
        rows = {int(n): answers for n, *answers in message["rows"]}
        wrong = [n for n, answers in rows.items()
                 if len(answers) != len(QUESTIONS) or not set(answers) <= {0, 1}]  # fmt: skip
        if wrong or not rows.keys() <= set(self.numbers):
            raise StoreError(f"{self.path}: the page has no valid labels, so it was not saved")
        merged = self._saved(self.record) | rows
        table = pd.DataFrame([[n, *merged[n]] for n in sorted(merged)], columns=COLUMNS)
        self.record.write(table, "page", seconds=message["seconds"], rows=message["rows"],
                          doubtful=message["doubtful"])  # fmt: skip
        return {"labeled": len(set(merged) & set(self.numbers))}
