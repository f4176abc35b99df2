"""Markdown pages as GitHub lays them out, about: HTML, and what their links lead to."""

import html
import re
from pathlib import Path
from urllib.parse import unquote

import mistune

STYLE = """
body { width: 830px; margin: 32px auto; padding: 0 32px; color: #1f2328;
  font: 16px/1.5 system-ui, "Noto Sans", "Noto Sans CJK KR", sans-serif; overflow-wrap: break-word }
h1, h2 { border-bottom: 1px solid #d1d9e0; padding-bottom: .3em }
table { border-collapse: collapse; margin: 0 0 16px; display: block; overflow: auto;
  width: max-content; max-width: 100% }
td, th { border: 1px solid #d1d9e0; padding: 6px 13px } tr:nth-child(2n) { background: #f6f8fa }
code { background: #eff1f3; padding: .2em .4em; font-size: 85%; border-radius: 6px }
pre { background: #f6f8fa; padding: 16px; overflow: auto } pre code { background: none }
img { max-width: 100% } blockquote { border-left: .25em solid #d1d9e0; margin: 0; padding: 0 1em;
  color: #59636e }
"""
to_html = mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])


def section(page: Path, name: str) -> str:
    """A page as a section of HTML; its pictures are found from any folder, its details are open."""
    body = to_html(page.read_text()).replace("<details>", "<details open>")
    body = re.sub(r'src="(?=[^:"]*")', f'src="{page.parent.as_uri()}/', body)
    return f'<section id="{html.escape(name)}">{body}</section>'


def document(pages: dict[str, Path], script: str = "") -> str:
    """Pages by name, one below the other."""
    head = f'<meta charset="utf-8"><style>{STYLE}</style>'
    body = "".join(section(page, name) for name, page in pages.items())
    return f"<!doctype html><html><head>{head}</head><body>{body}{script}</body></html>"


def anchors(page: Path) -> set[str]:
    """The names of a page's headings in addresses, by GitHub's rule, and those given by hand."""
    found: dict[str, int] = {}
    body = to_html(page.read_text())
    for title in re.findall(r"<h[1-6][^>]*>(.*?)</h[1-6]>", body, re.DOTALL):
        text = html.unescape(re.sub(r"<[^>]+>", "", title)).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    given = set(re.findall(r'<a id="([^"]+)"', body))
    return given.union(
        f"{slug}-{n}" if n else slug for slug, last in found.items() for n in range(last + 1)
    )


def broken_links(page: Path) -> list[str]:
    """Links and pictures of a page that lead to no file, or to no heading of one."""
    broken = []
    for address in re.findall(r'(?:href|src)="([^"]+)"', to_html(page.read_text())):
        address = html.unescape(address)
        if re.match(r"\w+:", address):
            continue  # elsewhere in the net
        file, _, anchor = unquote(address).partition("#")
        target = (page.parent / file).resolve() if file else page
        is_page = target.suffix == ".md" and target.is_file()
        if not target.exists() or (anchor and is_page and anchor not in anchors(target)):
            broken.append(address)
    return broken
