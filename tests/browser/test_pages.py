"""Every page, laid out about as on GitHub, in a real browser: nothing is lost, cut or shrunk.

Committed reports that today's code did not write (they have no block of links) may still have wide
tables and small faces; all else is checked on them, too.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ohlora_lib.pages import notebook, report
from ohlora_lib.pages.index import BEGIN
from ohlora_lib.plots.sheets import contact_sheet, density, labeled_sheet
from tests.browser.markdown import broken_links, document

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "README.ko.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "reports").rglob("*.md")),
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LOOK = """<script>addEventListener("load", () => {
  const look = (section) => { const images = [...section.querySelectorAll("img")]; return {
    broken: images.filter(i => !i.naturalWidth).map(i => i.getAttribute("src")),
    silent: images.filter(i => !i.alt).map(i => i.getAttribute("src")),
    scale: Object.fromEntries(images.map(i => [i.getAttribute("src"), i.width / i.naturalWidth])),
    wide: [...section.querySelectorAll("table, pre")].filter(
      t => t.scrollWidth > t.clientWidth + 1).map(t => t.innerText.slice(0, 60)),
    overflow: section.scrollWidth - section.clientWidth, text: section.innerText.length } }
  const seen = [...document.querySelectorAll("section")].map(s => [s.id, look(s)])
  document.body.innerHTML = "<pre id=seen>" + JSON.stringify(Object.fromEntries(seen)) + "</pre>"
})</script>"""
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)"
)


def name(page):
    return page.relative_to(ROOT).as_posix()


def look(pages, folder):
    """What a browser sees of pages (name -> file)."""
    html = folder / "pages.html"
    html.write_text(document(pages, LOOK))
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--no-sandbox"]
    size = ["--window-size=1000,1200", "--virtual-time-budget=20000", "--dump-dom"]
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, "--headless", *quiet, profile, *size, html.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=180).stdout
    text = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1]
    return json.loads(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@cache
def faces(folder):
    """Address of each sheet of faces of a folder's pages -> the width of a face, in its pixels."""
    return {
        f"{folder.as_uri()}/{figure['file']}": figure["face"]
        for record in folder.glob("*.json")
        for figure in json.loads(record.read_text())["figures"].values()
        if "face" in figure
    }


def shrunk(seen):
    """Faces that are shown smaller than sheets are made for, and animations by no whole number."""
    found = []
    for address, scale in seen["scale"].items():
        path = Path(unquote(urlparse(address).path)).resolve()
        face = faces(path.parents[2]).get(path.as_uri())
        if face and scale * density(face) < 0.999:
            found.append(path.name)
        if path.suffix == ".webp" and path.is_file():
            with Image.open(path) as image:
                if image.n_frames > 1 and abs(scale - max(1, round(scale))) > 0.001:
                    found.append(path.name)
    return found


def problems(page, seen):
    """What a reader of the page would miss."""
    found = {key: seen[key] for key in ("broken", "silent") if seen[key]}
    if seen["overflow"] > 0:
        found["overflow"] = seen["overflow"]
    hand_written = page.parent in (ROOT, ROOT / "docs", ROOT / "reports")
    if hand_written or BEGIN.format("links") in page.read_text():
        found |= {key: value for key in ("wide",) if (value := seen[key])}
        found |= {"shrunk": files} if (files := shrunk(seen)) else {}
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a browser sees of every committed page."""
    return look({name(page): page for page in PAGES}, tmp_path_factory.mktemp("pages"))


@needs_browser
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_page_shows_all_its_pictures_and_fits_its_column(page, seen):
    assert problems(page, seen[name(page)]) == {} and seen[name(page)]["text"] > 200


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    assert broken_links(page) == []


CHANGES = {
    "nothing": lambda text: text,
    "wide": lambda text: text + "\n\n" + "| word " * 60 + "|\n" + "|---" * 60 + "|\n",
    "shrunk": lambda text: re.sub(r'width="\d+"', 'width="300"', text, count=1),
    "broken": lambda text: text + '\n<img src="nothing.png" alt="nothing">',
    "silent": lambda text: text.replace('alt="Faces"', "", 1),
    "overflow": lambda text: text + "\n<p style='width: 900px'>wide</p>\n",
}
"""The problem that a change of a page's text makes -> the change."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A page as a stage writes it, with contact sheets of faces of two sizes and a table of 20
    columns, and what is wrong with it after each of CHANGES: (text, problems by change)."""
    folder, emitted = tmp_path_factory.mktemp("written"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebook, "_emit", lambda data, note: emitted.append((data, note)))
        patch.setattr(notebook, "_claim_name", lambda name: None)
        patch.setattr(report, "REPORTS", folder)
        rng = np.random.default_rng(0)
        for size in (128, 256):
            colors = rng.integers(0, 256, (10, 1, 1, 3), dtype=np.uint8)
            faces = np.tile(colors, (1, size, size, 1))
            heads = [f"pose {number / 7:.6f}" for number in range(10)]
            labeled = labeled_sheet(faces, 10, ["a row with a long label"], heads)
            for kind, sheet in {"plain": contact_sheet(faces, 10), "labeled": labeled}.items():
                notebook.show(sheet, f"{kind}_{size}", "Faces", "Faces")
        names = [f"measured_value_{number}" for number in range(20)]
        index = pd.Index(["svm", "ridge, calibrated", "mixed"], name="method")
        table = pd.DataFrame(rng.random((3, 20)), index, names)
        notebook.say(notebook.markdown_table(table))
        notebook.finding("All is well.", {"a number": "1"}, "plain_128", limitation="Noise.")
        outputs = [new_output("display_data", data, metadata=note) for data, note in emitted]
        title = new_markdown_cell("# 01 · Is it well?\n\nA page in the form of the runner. " * 8)
        made = new_notebook(cells=[title, new_code_cell("x", outputs=outputs)])
        source = report.Source("demo", "01_make", "smoke", "notebooks/make.ipynb", "Demo")
        page = report.publish(report.render(made, source), source, with_code=False)
    pages = {}
    for problem, change in CHANGES.items():
        pages[problem] = page.with_name(f"{problem}.md")
        pages[problem].write_text(change(page.read_text()))
        shutil.copy(page.with_suffix(".json"), page.with_name(f"{problem}.json"))
    seen = look(pages, folder)
    return page.read_text(), {one: problems(file, seen[one]) for one, file in pages.items()}


@needs_browser
def test_new_page_has_no_wide_table_and_no_small_face(written):
    text, found = written
    assert found["nothing"] == {} and text.count("<img") == 4
    assert len(re.findall(r"^\| svm", text, re.MULTILINE)) > 1, "the table is divided"


@needs_browser
@pytest.mark.parametrize("problem", [problem for problem in CHANGES if problem != "nothing"])
def test_what_is_wrong_with_a_page_is_seen(written, problem):
    assert list(written[1][problem]) == [problem]


def test_broken_links_and_anchors_are_seen(tmp_path):
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text('# One `two`, *three*!\n\n## 낱말 하나\n\n## <a id="word"></a>낱말 하나\n')
    good = "[a](other.md#one-two-three) [b](other.md#낱말-하나-1) [c](#here) [d](https://x.y/#z)"
    good += " [h](other.md#word)"
    page.write_text(f"# Here\n\n{good}\n\n[e](other.md#one) [f](lost.md) [g](#there)")
    assert broken_links(page) == ["other.md#one", "lost.md", "#there"]
