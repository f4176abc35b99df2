"""The comparison page shows what the records say, and leaves out systems without a report."""

import json

import pytest
import yaml

from ohlora_lib.pages import comparison, index
from ohlora_lib.pages.index import System
from ohlora_lib.store import StoreError

SYSTEMS = [
    System("one", "One", "The first.", ("01_make", "02_test")),
    System("two", "Two", "The second.", ("02_test",), extends="one/01_make"),
    System("three", "Three", "Never run.", ("02_test",)),
]
CONTENT = {
    "title": {"en": "Side by side", "ko": "비교"},
    "introduction": {"en": "All of them.", "ko": "모두."},
    "columns": [
        {"name": one.title, "system": one.name, "changed": {"en": one.summary, "ko": "새로움"}}
        for one in SYSTEMS
    ],
    "rows": [
        {
            "label": {"en": "Pass rate", "ko": "합격률"},
            "headlines": ["new, judge", "old, judge"],
            "stages": {one.title: f"{one.name}/02_test" for one in SYSTEMS},
        },
        {
            "label": {"en": "Nowhere", "ko": "없음"},
            "headlines": ["unknown"],
            "stages": {"One": "one/02_test"},
        },
    ],
}


@pytest.fixture
def reports(tmp_path, monkeypatch):
    for module in (comparison, index):
        monkeypatch.setattr(module, "REPORTS", tmp_path)
    monkeypatch.setattr(comparison, "ROOT", tmp_path)

    def record(page, scale="quick", **headline):
        path = tmp_path / f"{page}.json"
        path.parent.mkdir(exist_ok=True)
        pairs = [[name.replace("_", ", "), value] for name, value in headline.items()]
        finding = {"sentence": "So it is.", "headline": pairs, "picture": ""}
        path.write_text(json.dumps({"scale": scale, "finding": finding, "figures": {}}))
        path.with_suffix(".md").write_text("# Page\n" + index.BEGIN.format("links") + "\n"
                                           + index.END.format("links") + "\nText\n")  # fmt: skip

    record("one/01_make", "smoke")
    record("one/02_test", old_judge="50% (30%–70%)")
    record("two/02_test", old_judge="60%", new_judge="70% (50%–85%)")
    return tmp_path


def read(folder, content):
    path = folder / "comparison.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    return comparison.Comparison.read(path, SYSTEMS)


def test_values_are_the_first_headline_that_a_record_has(reports):
    page = read(reports, CONTENT).page("en")
    assert "| Pass rate | 50% (30%–70%) | 70% (50%–85%) |" in page
    assert "| | One<br>(smoke, quick) | Two<br>(quick) |" in page
    assert "left out: Three." in page and "Never run" not in page and "Nowhere" not in page
    assert "[one/02_test](one/02_test.md), [two/02_test](two/02_test.md)" in page
    korean = read(reports, CONTENT).page("ko")
    assert korean.startswith("# 비교") and "| 합격률 | 50% (30%–70%) | 70% (50%–85%) |" in korean


def test_an_order_is_stated_only_where_intervals_do_not_overlap(reports):
    record = json.loads((reports / "two/02_test.json").read_text())
    assert "In every row with intervals, those of the systems overlap" in read(
        reports, CONTENT
    ).page("en")
    record["finding"]["headline"] = [["new, judge", "60% (20%–90%) → 90% (80%–95%)"]]
    (reports / "two/02_test.json").write_text(json.dumps(record))
    assert "do not overlap: Pass rate. All others" in read(reports, CONTENT).page("en")
    assert "겹치지 않는 행: 합격률." in read(reports, CONTENT).page("ko")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": {"One": "one/03_lost"}}, "'Pass rate': there is no stage 'one/03_lost'"),
        ({"stages": {"Four": "one/02_test"}}, "'Pass rate': there is no column 'Four'"),
        ({"extra": 1}, "rows: 0: extra"),
    ],
)
def test_mistake_in_the_file_is_named(reports, change, message):
    rows = [CONTENT["rows"][0] | change]
    with pytest.raises(StoreError, match=f"comparison.yaml: .*{message}"):
        read(reports, CONTENT | {"rows": rows})


def test_pages_are_linked_in_the_order_of_the_stages_and_to_the_stage_they_continue(reports):
    index.link_pages(SYSTEMS)
    links = {name: (reports / f"{name}.md").read_text() for name in ("one/01_make", "two/02_test")}
    assert (
        "←" not in links["one/01_make"]
        and "[one/02_test](../one/02_test.md) →" in links["one/01_make"]
    )
    assert "← [one/01_make](../one/01_make.md)" in links["two/02_test"]
    assert "→" not in links["two/02_test"]
    assert all(text.endswith("\nText\n") for text in links.values())
    before = {path: path.stat().st_mtime_ns for path in reports.rglob("*.md")}
    index.link_pages(SYSTEMS)
    assert before == {path: path.stat().st_mtime_ns for path in reports.rglob("*.md")}


def test_index_in_both_languages_has_the_same_links(reports):
    import re

    pages = [index.index_page(SYSTEMS, language) for language in ("en", "ko")]
    links = [re.findall(r"\]\((\w+/\w+\.md)\)", page) for page in pages]
    assert links[0] == links[1] and "one/02_test.md" in links[0]
    assert "Never run" not in pages[0] and "<details>" in pages[0]
