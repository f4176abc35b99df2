"""The kernel's side of Picker: picks that notebook 09 reads, repeats, and what is refused."""

import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.selection_rules import read_picks
from ohlora_lib.widgets.picker import RESPONSES, SIDE_EFFECTS, Picker, viewing_order


@pytest.fixture
def tested():
    columns = [c.format(name) for c in RESPONSES.values() for name in EXPRESSION]
    table = pd.DataFrame(0.5, range(10), [*columns, *SIDE_EFFECTS.values()])
    return table.assign(idx=range(10), cnn_eyes_corr=0.987)


def save(ask, picker, item, **pick):
    return ask(picker, "save", item=item, pick=pick, seconds=2.0)


def test_picks_are_read_by_the_reader_of_notebook_09_and_picking_resumes(
    image_set, tested, tmp_path, ask
):
    path = tmp_path / "picks.csv"
    picker = Picker(image_set(), path, tested)
    assert save(ask, picker, 7, chosen=1, eyes="최상", mouth="상", pose="중") == {
        "colors": ask(picker, "open")["colors"], "id": ["view", 0]
    }  # fmt: skip
    save(ask, picker, 2, chosen=0, eyes=None, reason="uncanny", note='a "note", here')
    picks = read_picks(path).set_index("idx")
    assert picks.loc[7, ["chosen", *EXPRESSION]].tolist() == [1, "최상", "상", "중"]
    assert picks.loc[2, "reason"] == "uncanny" and picks.loc[2, list(EXPRESSION)].isna().all()
    opened = ask(Picker(picker.images, path, tested), "open")["items"]
    assert opened[2]["pick"]["note"] == 'a "note", here' and opened[2]["pick"]["eyes"] is None
    assert opened[7]["pick"]["chosen"] == 1 and opened[0]["pick"] is None
    assert opened[0]["measured"]["correlation, CNN"] == ["0.99", "0.50", "0.50"]
    save(ask, picker, 2, chosen=1, eyes="하")
    assert read_picks(path)["chosen"].tolist() == [1, 1]


def test_blind_picks_hide_the_numbers_and_measure_self_agreement(image_set, tested, tmp_path, ask):
    picker = Picker(image_set(), tmp_path / "picks.csv", tested, blind=True, repeats=0.3, seed=1)
    items = ask(picker, "open")["items"]
    assert len(items) == 13 and all(item["measured"] is None for item in items)
    order = [(item["idx"], item["again"]) for item in items]
    assert order == viewing_order(range(10), 0.3, 1)
    assert [idx for idx, again in order if not again] != list(range(10))
    again = [idx for idx, repeated in order if repeated]
    assert len(again) == 3
    assert all(order.index((idx, False)) < order.index((idx, True)) for idx in again)
    for at, (idx, repeated) in enumerate(order):
        changed = repeated and idx == again[0]
        save(ask, picker, at, chosen=int(not changed), eyes="상", mouth="하" if changed else "최상")
    assert len(read_picks(picker.path)) == 10 and read_picks(picker.path)["chosen"].all()
    found = picker.self_agreement()
    assert found["latents"].tolist() == [3, 3, 3, 0]
    assert found["agree"].round(3).tolist()[:3] == [0.667, 1, 0.667]
    resumed = Picker(picker.images, picker.path, tested, blind=True, repeats=0.3, seed=1)
    assert all(item["pick"] for item in ask(resumed, "open")["items"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("idx,chosen\n1,2\n", "`chosen` must be 0 or 1"),
        ("idx,chosen,eyes\n1,1,great\n", "grade 'great'"),
        ("idx,chosen\n1,1\n1,0\n", "latent 1 has more than one row"),
        ("idx,chosen\n55,1\n", "latent 55 has no sheet"),
        ("idx,chosen,mood\n1,1,2\n", "unknown column 'mood'"),
        ("idx\n1\n", "no column 'chosen'"),
    ],
)
def test_a_wrong_file_is_one_line_in_the_widget_and_stays_as_it_is(
    image_set, tested, tmp_path, ask, text, said
):
    path = tmp_path / "picks.csv"
    path.write_text(text)
    picker = Picker(image_set(), path, tested)
    for reply in (ask(picker, "open"), save(ask, picker, 0, chosen=1)):
        assert said in reply["error"] and "\n" not in reply["error"]
    assert path.read_text() == text and picker.picks.empty


def test_an_undecided_pick_is_not_saved(image_set, tested, tmp_path, ask):
    picker = Picker(image_set(), tmp_path / "picks.csv", tested)
    for pick in ({}, {"chosen": 2}, {"chosen": 1, "eyes": "great"}):
        assert "no valid pick" in save(ask, picker, 0, **pick)["error"]
    assert not picker.path.exists()
