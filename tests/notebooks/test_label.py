"""notebooks/hands_on/label: agreement of two people, and the CNNs that sort the rest."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest

from ohlora_lib import pages
from ohlora_lib.measure.labels import read_labels
from ohlora_lib.store.images import ImageSet
from ohlora_lib.widgets.labeler import COLUMNS

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "hands_on" / "label.ipynb"


@pytest.fixture
def folder(tmp_path):
    """40 small images, labels of the first 24 by two people who differ on images 1 and 2."""
    images = ImageSet(tmp_path / "images")
    images.write(range(40), np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8))
    images.finish(pd.DataFrame({"index": range(40)}))
    rows = [[n, n % 2, n % 3 > 0, n % 4 == 0, n % 5 == 0] for n in range(24)]
    table = pd.DataFrame(rows, columns=COLUMNS).astype(int)
    table.to_csv(tmp_path / "labels.csv", index=False)
    table.loc[1, ["gender", "age"]] = 0, 1
    table.loc[2, "glass"] = 1
    table.to_csv(tmp_path / "second.csv", index=False)
    return tmp_path


def run(folder, monkeypatch, **parameters):
    """Run all cells without a kernel: the notebook's variables, the tables and sentences shown."""
    shown, said = [], []
    monkeypatch.setattr(pages, "start", lambda _: folder / "out", raising=False)
    monkeypatch.setattr(pages, "say", said.append, raising=False)
    monkeypatch.setattr(pages, "end", lambda: None, raising=False)
    monkeypatch.setattr("ohlora_lib.store.inside_root", lambda name: folder / name)

    def display(table, display_id=None):
        shown.append(table)
        return SimpleNamespace(update=shown.append)

    scope = {"display": display}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, scope)
        if cell.id == "parameters":
            given = {"images": "images", "labels": "labels.csv", "resolved": "resolved.csv"}
            scope |= given | parameters
    return scope, shown, " ".join(said)


def test_two_people_see_how_far_they_agree_and_only_their_disagreements(folder, monkeypatch):
    scope, shown, said = run(folder, monkeypatch, second="second.csv")
    assert "3 labels of 2 images differ" in said
    counted = {"faces saved": 24, "male": 12, "poor quality": 8, "old": 6, "glasses": 5}
    assert shown[0].loc[0].to_dict() == counted
    agreed = shown[1]
    assert agreed["agree"].round(3).tolist() == [0.958, 1, 0.958, 0.958]
    assert agreed.loc["quality", "kappa"] == 1 and 0.7 < agreed.loc["gender", "kappa"] < 1
    resolver = scope["resolver"]
    assert resolver.hints == {1: "female or male; young or old", 2: "no glasses or glasses"}
    opened, _ = resolver.answer({"kind": "open", "id": 0})
    assert opened["numbers"][-2:] == [1, 2] and len(opened["saved"]) == 22
    assert len(read_labels(folder / "resolved.csv", "both").table) == 22
    page = {"kind": "save", "id": 0, "rows": [[30, 1, 1, 0, 1]], "seconds": 0, "doubtful": []}
    scope["labeler"]._receive(page)
    assert shown[-1].loc[0, ["faces saved", "glasses"]].tolist() == [25, 6]  # the table follows


def test_assistance_sorts_the_rest_by_the_uncertainty_of_the_cnns(folder, monkeypatch):
    few = {"assistance": True, "folds": 2, "epochs": 1}
    scope, _, said = run(folder, monkeypatch, **few)
    assert "24 labels: the CNNs need 200" in said
    scope, _, said = run(folder, monkeypatch, **few, needed=20)
    bits, labeler = scope["bits"], scope["labeler"]
    assert "The 16 unlabeled images are sorted" in said
    assert (np.diff(bits) <= 0).all() and 0 < bits.max() <= 4
    opened, _ = labeler.answer({"kind": "open", "id": 0})
    assert opened["numbers"] == [*range(24), *bits.index]
