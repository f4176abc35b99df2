"""Notebook 09 on an untrained generator, cell by cell, without a kernel."""

from pathlib import Path

import nbformat
import pytest

from ohlora_lib import pages
from ohlora_lib.checkpoints import save
from ohlora_lib.models.stylegan import Generator, GeneratorConfig

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "09_select_final_vectors.ipynb"
CELLS = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]


class Page:
    """The notebook's variables, and what it put on its page."""

    def __init__(self, folder, **parameters):
        self.folder, self.parameters = folder, parameters
        self.scope = {"display": lambda table: None}
        self.shown, self.said, self.findings = {}, [], []

    def run(self, first="parameters", last="end"):
        names = [cell.id for cell in CELLS]
        for cell in CELLS[names.index(first) : names.index(last) + 1]:
            exec(cell.source, self.scope)
            if cell.id == "parameters":
                self.scope |= self.parameters
        return self

    def start(self, namespace):
        self.folder.mkdir(exist_ok=True)
        return self.folder

    def show(self, picture, name, alt, title):
        self.shown[name] = alt

    def finding(self, sentence, headline, picture, limitation=""):
        self.findings.append((sentence, headline, picture))

    @property
    def text(self):
        return " ".join(self.said)


def runner(folder):
    """A function that runs the notebook with these parameters, from one cell to the end; `before`:
    a page whose results are used."""
    config = GeneratorConfig(32, fmaps_base=128, fmaps_max=8)
    generator = str(folder / "generator.safetensors")
    save(Generator(config, seed=3), generator)

    def run(name, first="parameters", before=None, **parameters):
        given = {"generator": generator, "base": generator, "test_latents": 3, "max_selected": 2}
        page = Page(folder / name, **(given | parameters))
        if before:
            page.scope |= before.scope | {"folder": page.start({})} | parameters
        with pytest.MonkeyPatch.context() as patch:
            for function in ("start", "show", "finding"):
                patch.setattr(pages, function, getattr(page, function))
            patch.setattr(pages, "say", page.said.append)
            patch.setattr(pages, "end", lambda: None)
            patch.setattr("ohlora_lib.store.inside_root", Path)
            exec("from ohlora_lib.pages import end, finding, say, show", page.scope)
            return page.run(first)

    return run
