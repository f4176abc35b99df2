"""The READMEs tell what the reports say, in two languages with the same contents."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ohlora_lib.pages import index
from ohlora_lib.pages.index import READMES
from ohlora_lib.runner.pipeline import FIRST, Pipeline, shown_systems
from ohlora_lib.steering.comparison import CONFIRMING, USED
from ohlora_lib.steering.ohlora import EMBEDDED_FACES, OhLora
from ohlora_lib.steering.sampling import Sampler

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = shown_systems()


@pytest.mark.parametrize("name", READMES)
def test_results_are_those_of_the_committed_reports(name):
    text = (ROOT / name).read_text()
    assert text == index.with_results(text, name, SYSTEMS), f"{name}: run ./run_all.sh --index"


@pytest.mark.parametrize("language", index.INDEXES)
def test_index_is_that_of_the_committed_reports(language):
    text = (ROOT / "reports" / index.INDEXES[language]).read_text()
    assert text == index.index_page(SYSTEMS, language)


def twins():
    """Pages that exist in both languages: the English and the Korean one of each."""
    english = [ROOT / "README.md", ROOT / "reports/README.md", ROOT / "reports/comparison.md"]
    english += [page for page in sorted((ROOT / "docs").glob("*.md")) if ".ko" not in page.name]
    pairs = [(page, page.with_suffix(".ko.md")) for page in english]
    return [pair for pair in pairs if pair[1].exists()]


@pytest.mark.parametrize("pair", twins(), ids=lambda pair: pair[0].stem)
def test_both_languages_have_the_same_parts_commands_and_links(pair):
    english, korean = (page.read_text() for page in pair)
    shape = [
        (re.findall(r"^#+", text, re.M), len(re.findall(r"^\|", text, re.M)))
        for text in (english, korean)
    ]
    assert shape[0] == shape[1]
    commands = [set(re.findall(r"^\./\S+(?: --\S+)*", text, re.M)) for text in (english, korean)]
    assert commands[0] == commands[1]
    links = [set(re.findall(r"\]\(([^)]+)\)", text)) for text in (english, korean)]
    assert {link.replace(".ko.md", ".md") for link in links[1]} - {pair[0].name} == {
        link for link in links[0] if not link.endswith(".ko.md")
    } - {pair[0].name}


@pytest.mark.parametrize("name", READMES)
def test_korean_pages_lead_to_korean_pages_where_they_exist(name):
    korean = name.endswith(".ko.md")
    links = [link for link in re.findall(r"\]\(([^)#]+\.md)\)", (ROOT / name).read_text())
             if link not in READMES]  # fmt: skip
    for link in links:
        page = ROOT / link
        assert link.endswith(".ko.md") == (korean and page.exists() and ".ko" in page.name)
        assert not (korean and page.with_suffix(".ko.md").exists()), link


@pytest.mark.parametrize("name", READMES)
def test_animation_is_small_moves_and_is_shown_at_a_multiple_of_its_pixels(name):
    source, width = re.search(r'<img src="(\S+)" alt="[^"]+" width="(\d+)"',
                              (ROOT / name).read_text()).groups()  # fmt: skip
    path = ROOT / source
    with Image.open(path) as image:
        assert image.n_frames > 20 and int(width) % image.width == 0
    assert path.stat().st_size <= 2_000_000
    published = [file for stage in Pipeline.load("ohlora_v3", "quick").stages
                 for file in stage.publish.values()]  # fmt: skip
    assert path.relative_to(ROOT / "reports").as_posix() in published


def test_animation_begins_with_the_neutral_image_of_an_embedded_face():
    lora = OhLora.load(EMBEDDED_FACES)
    neutral = Sampler(lora.generator).to_show.images(lora.w).astype(float)
    with Image.open(ROOT / "reports/play/oh_lora.webp") as image:
        first = np.asarray(image.convert("RGB"), float)
    differences = np.abs(neutral - first).mean(axis=(1, 2, 3))
    nearest, other = np.sort(differences)[:2]
    assert nearest < 4 < 8 < other, "the weights have changed: run ./run_all.sh --only 10_play"


@pytest.mark.parametrize("name", READMES)
def test_diagram_has_the_stages_of_the_pipeline_in_order(name):
    diagram = re.search(r"```mermaid\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)[1]
    shown = re.findall(r'\["(\d\d) ', diagram)
    numbers = dict.fromkeys(stage.name[:2] for stage in Pipeline.load("ohlora_v3", "quick").stages)
    assert shown == sorted(numbers)[: len(shown)] and len(shown) == 10


RATE = r"\d[\d.]*%"


def faults(row, page):
    """What a reader could hold against a row of the table of results."""
    numbers = dict(page.headline)
    if absent := [name for name in (*row.headlines, row.count) if name not in numbers]:
        return [f"no number {absent[0]!r}"]
    found, meter = [], row.meter["en"].split(",")[0]
    for name in row.headlines:
        rates = re.findall(rf"{RATE}(?: \({RATE}–{RATE}\))?", numbers[name])
        found += [f"{rate} without interval" for rate in rates if "(" not in rate]
    if not re.fullmatch(r"[\d,]+", numbers[row.count]):
        found.append(f"n is {numbers[row.count]!r}")
    if USED in numbers:
        if meter in numbers[USED].split(", "):
            found.append(f"{meter} took part")
        if any(not name.endswith(f", {meter}") for name in row.headlines):
            found.append(f"not read by {meter}")
    elif meter == "annotator" and "labels" not in row.meter["en"]:
        found.append("not said that the annotator labels")
    return found


def highlights():
    """(row, page) of the table of results."""
    pages = {
        (system.name, page.stage): page for system in SYSTEMS for page in index.reports(system)
    }
    return [(row, pages[system.name, row.stage]) for system in SYSTEMS for row in system.highlights
            if (system.name, row.stage) in pages]  # fmt: skip


def test_table_has_five_rows_with_interval_count_and_a_meter_that_took_no_part():
    assert len(highlights()) == 5
    assert [faults(row, page) for row, page in highlights()] == [[]] * 5
    assert {row.meter["en"] for row, page in highlights() if USED in dict(page.headline)} == {
        dict(page.headline)[CONFIRMING] for _, page in highlights() if USED in dict(page.headline)
    }


@pytest.mark.parametrize(
    ("headline", "meter", "numbers", "fault"),
    [
        ("svm, judge", "judge", {}, []),
        ("svm, judge", "judge", {"svm, judge": "67%"}, ["67% without interval"]),
        ("svm, judge", "judge", {"latents": "many"}, ["n is 'many'"]),
        ("svm, cnn", "cnn", {}, ["cnn took part"]),
        ("svm, cnn", "judge", {}, ["not read by judge"]),
        ("svm, parser", "parser", {}, ["no number 'svm, parser'"]),
    ],
)
def test_faults_of_a_row_are_seen(headline, meter, numbers, fault):
    known = {"svm, judge": "67% (62%–72%)", "svm, cnn": "92% (89%–95%)", "latents": "300",
             USED: "cnn", CONFIRMING: "judge"} | numbers  # fmt: skip
    page = index.Report("s", "08", "quick", "", list(known.items()), "", "", 0)
    text = {"en": meter, "ko": meter}
    assert faults(index.Highlight(text, "08", (headline,), text, "latents"), page) == fault


def both(text):
    """A text that is the same in both languages."""
    return {"en": text, "ko": text}


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
    rows = (index.Result(both("women"), "93.7%", "05", "women", "images", both("here")),
            index.Result(both("not run"), "1", "06", "women"))  # fmt: skip
    rates = (index.Rate(both("`svm`"), "strict", "05", "svm"),
             index.Rate(both("`svm`"), "lenient", "05", "svm", ", v8"),
             index.Rate(both("`ridge`"), "strict", "05", "ridge"))  # fmt: skip
    best = (index.Highlight({"en": "steered", "ko": "조종"}, "05", ("women", "svm, external judge"),
                            {"en": "judge", "ko": "심판"}, "latents"),
            index.Highlight(both("not run"), "06", ("women",), both("judge"), "latents"),
            index.Highlight(both("no number"), "05", ("men",), both("judge"), "n"))  # fmt: skip
    system = index.System("s", "S", "", ("05", "06"), results=rows, rates=rates, highlights=best)
    tables = [line for line in index.index_page([system]).split("\n") if line.startswith("| ")]
    link = "[s/05](s/05.md)"
    assert tables[:7] == [
        "| | published |",
        "| women | 93.7% |",
        "| | here | from |",
        f"| women (here) | 94% (91%–96%), n = 300 | {link} |",
        "| method | cutoffs | n | property CNN | parser | external judge | from |",
        "| `svm` | strict | 20 | 92% (a) | – | 68% (b) | [05](s/05.md) |",
        "| `svm` | lenient | 20 | – | 50% (c) | – | [05](s/05.md) |",
    ]
    assert index.results([system]).split("\n")[2:] == [
        "| steered | 94% (91%–96%) / 68% (b) | 20 | judge | [05](reports/s/05.md) |",
        "",
    ]
    assert "| 조종 | 94% (91%–96%) / 68% (b) | 20 | 심판 |" in index.results([system], "ko")
    assert index.results([]) == ""


def test_korean_index_has_its_own_title_at_the_english_anchor_and_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "REPORTS", tmp_path)
    (tmp_path / "s").mkdir()
    found = {"sentence": "3 of 4 of a kind", "headline": [("kept", "3 of 4 (75%)")], "picture": ""}
    (tmp_path / "s/05.json").write_text(
        json.dumps({"scale": "quick", "finding": found, "figures": {}})
    )
    rows = (index.Result(both("kept"), "4,930 of 13,000", "05", "kept"),)
    system = index.System("s", "My system", "", ("05",), rows, korean_title="시스템")
    english, korean = (index.index_page([system], language) for language in ("en", "ko"))
    assert "\n## My system\n" in english and "| kept | 4,930 of 13,000 |" in english
    assert '\n## <a id="my-system"></a>시스템\n' in korean and "3 of 4 of a kind" in korean
    assert "| kept | 4,930 / 13,000 |" in korean and "| kept | 3 / 4 (75%) |" in korean


def test_korean_index_asks_in_korean_and_the_scale_is_a_column_only_where_pages_differ(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(index, "REPORTS", tmp_path)
    (tmp_path / "s").mkdir()
    for stage, scale in (("05", "quick"), ("06", "quick")):
        found = {"sentence": f"Found in {stage}", "headline": [], "picture": "faces"}
        record = {
            "scale": scale,
            "finding": found,
            "figures": {"faces": {"alt": "Faces", "file": "f"}},
        }
        (tmp_path / f"s/{stage}.json").write_text(json.dumps(record))
    system = index.System("s", "S", "", ("05", "06"), picture="05", korean_alt="얼굴",
                          questions={"05": "무엇인가?"})  # fmt: skip
    english, korean = (index.index_page([system], language) for language in ("en", "ko"))
    assert "| [05](s/05.md) | Found in 05 |\n" in english and 'alt="Faces"' in english
    assert "All pages are of `quick` [scale]" in english
    assert "| [05](s/05.md) | 무엇인가? |\n" in korean and 'alt="얼굴"' in korean
    assert "| [06](s/06.md) | Found in 06 |\n" in korean
    record["scale"] = "smoke"
    (tmp_path / "s/06.json").write_text(json.dumps(record))
    english = index.index_page([system])
    assert "| [06](s/06.md) | Found in 06 | smoke |\n" in english and "All pages" not in english


def test_every_notebook_of_a_shown_system_has_a_korean_question():
    questions = [question for system in SYSTEMS for question in system.questions.values()]
    assert all(re.search("[가-힣].*\\?$", question) for question in questions)


def test_index_begins_with_the_versions_of_oh_lora():
    names = [system.name for system in SYSTEMS]
    assert names[:5] == list(FIRST) and sorted(names[5:]) == names[5:]


def test_animation_comes_before_the_picture_once_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "REPORTS", tmp_path)
    found = {"sentence": "", "headline": [], "picture": "faces"}
    (tmp_path / "s").mkdir()
    figures = {"faces": {"alt": "Faces", "file": "figures/faces.webp", "width": 100}}
    (tmp_path / "s/05.json").write_text(
        json.dumps({"scale": "quick", "finding": found, "figures": figures})
    )
    moves = index.Animation("10", "play/she.webp", 256, {"en": "She moves", "ko": "움직입니다"})
    system = index.System("s", "S", "", ("05",), animation=moves, picture="05")
    assert 'src="reports/s/figures/faces.webp" alt="Faces" width="100"' in index.picture([system])
    (tmp_path / "play").mkdir()
    (tmp_path / "play/she.webp").touch()
    shown = index.picture([system], "ko")
    assert 'src="reports/play/she.webp" alt="움직입니다" width="256"' in shown
    assert 'href="reports/s/10.md"' in shown and "faces" not in shown


def test_every_number_that_the_tables_need_is_in_the_committed_reports():
    for system in SYSTEMS:
        pages = {page.stage: dict(page.headline) for page in index.reports(system)}
        for row in system.results:
            if row.stage in pages:
                assert row.headline in pages[row.stage], (system.name, row.label)
