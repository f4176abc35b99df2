"""The READMEs tell what the reports say, in two languages with the same contents."""

import json
import re
from pathlib import Path

import pytest

from ohlora_lib.pages import index
from ohlora_lib.pages.index import READMES
from ohlora_lib.runner.pipeline import shown_systems

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = shown_systems()


@pytest.mark.parametrize("name", READMES)
def test_results_are_those_of_the_committed_reports(name):
    text = (ROOT / name).read_text()
    assert text == index.with_results(text, name, SYSTEMS), f"{name}: run ./run_all.sh --index"


def test_index_is_that_of_the_committed_reports():
    assert (ROOT / "reports/README.md").read_text() == index.index_page(SYSTEMS)


def test_both_languages_have_the_same_parts_commands_and_links():
    english, korean = ((ROOT / name).read_text() for name in READMES)
    shape = [
        (re.findall(r"^#+", text, re.M), len(re.findall(r"^\|", text, re.M)))
        for text in (english, korean)
    ]
    assert shape[0] == shape[1]
    links = [set(re.findall(r"\]\(([^)]+)\)", text)) - set(READMES) for text in (english, korean)]
    assert links[0] == links[1]
    commands = [set(re.findall(r"^\./\S+(?: --\S+)*", text, re.M)) for text in (english, korean)]
    assert commands[0] == commands[1]


def test_tables_have_published_numbers_ours_and_a_column_per_meter(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "REPORTS", tmp_path)
    headline = {"women": "94% (91%–96%)", "images": "300", "latents": "20",
                "svm, property CNN": "92% (a)", "svm, external judge": "68% (b)",
                "svm, parser, v8": "50% (c)"}  # fmt: skip
    found = {"sentence": "", "headline": list(headline.items()), "picture": ""}
    (tmp_path / "s").mkdir()
    (tmp_path / "s/05.json").write_text(
        json.dumps({"scale": "quick", "finding": found, "figures": {}})
    )
    rows = (index.Result("women here", "93.7%", "05", "women", "images"),
            index.Result("not run", "1", "06", "women"))  # fmt: skip
    rates = (index.Rate("`svm`", "strict", "05", "svm"),
             index.Rate("`svm`", "lenient", "05", "svm", ", v8"),
             index.Rate("`ridge`", "strict", "05", "ridge"))  # fmt: skip
    system = index.System("s", "S", "", ("05", "06"), results=rows, rates=rates)
    tables = [line for line in index.results([system]).split("\n") if line.startswith("| ")]
    link = "[s/05](reports/s/05.md)"
    assert tables == [
        "| | published |",
        "| women here | 93.7% |",
        "| | here | from |",
        f"| women here | 94% (91%–96%), n = 300 | {link} |",
        "| method | cutoffs | n | property CNN | parser | external judge | from |",
        f"| `svm` | strict | 20 | 92% (a) | – | 68% (b) | {link} |",
        f"| `svm` | lenient | 20 | – | 50% (c) | – | {link} |",
    ]


def test_every_number_that_the_tables_need_is_in_the_committed_reports():
    for system in SYSTEMS:
        pages = {page.stage: dict(page.headline) for page in index.reports(system)}
        for row in system.results:
            if row.stage in pages:
                assert row.headline in pages[row.stage], (system.name, row.label)


@pytest.mark.parametrize("name", READMES)
def test_every_local_link_leads_somewhere(name):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text())
    assert all((ROOT / link).exists() for link in links if "://" not in link)
