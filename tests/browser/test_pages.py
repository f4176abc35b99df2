"""Every page, rendered about as GitHub does, in a real browser: pictures load, nothing spills."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import mistune
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.ko.md", *sorted((ROOT / "reports").rglob("*.md"))]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
STYLE = """
body { max-width: 860px; margin: 32px auto; padding: 0 16px; color: #1f2328;
  font: 16px/1.5 system-ui, "Noto Sans", "Noto Sans CJK KR", sans-serif }
h1, h2 { border-bottom: 1px solid #d1d9e0; padding-bottom: .3em }
table { border-collapse: collapse; margin: 0 0 16px; display: block; overflow: auto;
  width: max-content; max-width: 100% }
td, th { border: 1px solid #d1d9e0; padding: 6px 13px } tr:nth-child(2n) { background: #f6f8fa }
code { background: #eff1f3; padding: .2em .4em; font-size: 85%; border-radius: 6px }
pre { background: #f6f8fa; padding: 16px; overflow: auto } pre code { background: none }
img { max-width: 100% } blockquote { border-left: .25em solid #d1d9e0; margin: 0; padding: 0 1em;
  color: #59636e }
"""
LOOK = """<script>addEventListener("load", () => {
  const look = (section) => { const images = [...section.querySelectorAll("img")]; return {
    broken: images.filter(i => !i.naturalWidth).map(i => i.getAttribute("src")),
    silent: images.filter(i => !i.alt).map(i => i.getAttribute("src")),
    overflow: section.scrollWidth - section.clientWidth, text: section.innerText.length } }
  const seen = [...document.querySelectorAll("section")].map(s => [s.id, look(s)])
  document.body.innerHTML = "<pre id=seen>" + JSON.stringify(Object.fromEntries(seen)) + "</pre>"
})</script>"""


def as_html(pages, extra=""):
    """Pages one below the other, each as GitHub lays it out, more or less."""
    markdown = mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])
    sections = []
    for page in pages:
        body = re.sub(
            r'src="(?=[^:"]*")', f'src="{page.parent.as_uri()}/', markdown(page.read_text())
        )
        sections.append(f'<section id="{name(page)}">{body}</section>')
    head = f'<meta charset="utf-8"><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(sections)}{extra}</body></html>"


def name(page):
    return page.relative_to(ROOT).as_posix()


def browse(html, *options):
    """Open an HTML file in headless Chromium; returns what it prints."""
    profile = html.parent / "profile"
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--no-sandbox"]
    command = [CHROMIUM, "--headless", *quiet, f"--user-data-dir={profile}", *options]
    done = subprocess.run([*command, html.as_uri()], capture_output=True, text=True, timeout=180)
    return done.stdout


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a browser sees of every page."""
    html = tmp_path_factory.mktemp("pages") / "pages.html"
    html.write_text(as_html(PAGES, LOOK))
    dom = browse(html, "--window-size=1000,1200", "--virtual-time-budget=20000", "--dump-dom")
    return json.loads(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.S)[1])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)")
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_page_shows_all_its_pictures_and_fits_its_column(page, seen):
    found = seen[name(page)]
    assert found["broken"] == [] and found["silent"] == []
    assert found["overflow"] <= 0 and found["text"] > 200
