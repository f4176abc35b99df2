"""The READMEs tell what the reports say, in two languages with the same contents."""

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


@pytest.mark.parametrize("name", READMES)
def test_every_local_link_leads_somewhere(name):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text())
    assert all((ROOT / link).exists() for link in links if "://" not in link)
