"""The Explorer in JupyterLab: sliders and pointer change the image, which follows without a queue.

The cell builds it from a small untrained generator: what matters here is the way from the slider to
the image and back, and that takes no trained weights.
"""

import io

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from selenium.webdriver import ActionChains, Keys

MADE = """
import time
import numpy as np
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering.exploration import Exploration, SteeredFace
from ohlora_lib.steering.meters import Reading
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.widgets.explorer import Explorer

sampler = Sampler(Generator(GeneratorConfig(16, fmaps_base=128, fmaps_max=16), seed=3).eval())
w = sampler.vectors(latents(1, range(4), sampler.z_size))
steps = np.random.default_rng(0).standard_normal((4, 512)).astype("float32")
asked = []

class Slow:
    properties = ("brightness",)

    def __call__(self, images):
        asked.append(1)
        time.sleep(0.15)
        return Reading(images.mean(axis=(1, 2, 3))[:, None] / 128 - 1)

def steered(names):
    return lambda face: SteeredFace(names, w[face], steps[: len(names)])

exploration = Exploration(sampler, {
    "ridge": steered(("eyes", "mouth", "pose", "hair_color")),
    "svm": steered(("eyes", "mouth", "pose")),
}, 4)
explained = {"svm": "a line between low and high scores"}
groups = ["hh", "hl", "hh", "ll"]
explorer = Explorer(exploration, {"slow": Slow()}, None, groups, "made", explained=explained)
explorer
"""
LATER = "explorer.code, len(asked), explorer.state['values']"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
CANVAS = "return document.querySelectorAll('.ox-view canvas')[arguments[0]].toDataURL()"
TOGETHER = """const places = [...document.querySelectorAll(".ox-view canvas, .ox-slider")]
  .map(one => one.getBoundingClientRect())
return Math.max(...places.map(one => one.bottom)) - Math.min(...places.map(one => one.top))"""
"""Height of all images and sliders together."""
REST = ".ox-root[aria-busy='false']"
"""The Explorer when its image shows the last change."""


@pytest.fixture(scope="module")
def made(lab, tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "made.ipynb"
    cells = [new_code_cell(MADE), new_code_cell(LATER)]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)
    lab.add(path, "notebooks/made.ipynb")
    return "notebooks/made.ipynb"


def test_sliders_pointer_and_choices_change_the_image(made, open_notebook, driver, lab):
    notebook = open_notebook(made)
    notebook.run_all()
    notebook.find(REST)

    def canvas(place=0):
        return driver.execute_script(CANVAS, place)

    def named(name):
        return f".ox-root [aria-label='{name}']"

    def value(name):
        return driver.execute_script("return arguments[0].value", notebook.find(named(name)))

    def press(selector, *keys):
        driver.execute_script("arguments[0].focus()", notebook.find(selector))
        notebook.press(*keys)

    def choose(name, value):
        choice = "arguments[0].value = arguments[1]; arguments[0].onchange()"
        driver.execute_script(choice, notebook.find(named(name)), value)
        notebook.find(REST)

    def changes(act):
        """The image changes after `act` and comes to rest."""
        before = canvas()
        act()
        notebook.wait(lambda _: notebook.find(REST) and canvas() != before)

    first = canvas()
    notebook.click(named("meters"))  # quick from here on
    stops = notebook.tab_stops(".ox-root")
    expected = {"face", "group", "method", "compare with", "eyes", "truncation", "turn the head"}
    assert expected <= {*stops}
    assert stops[-2:] == ["Python code", "Copy as Python"]
    changes(lambda: press(named("eyes"), *[Keys.ARROW_RIGHT] * 20))
    changes(lambda: press(named("hair color"), *[Keys.ARROW_RIGHT] * 20))
    face = named("turn the head")

    def drag():
        ActionChains(driver).drag_and_drop_by_offset(notebook.find(face), -96, 0).perform()

    changes(drag)
    assert value("pose") == "1.25"  # a quarter of the range of 5
    changes(lambda: press(face, Keys.ARROW_RIGHT))
    assert value("pose") == "1"
    assert float(notebook.attribute(face, "aria-valuenow")) == 1

    choose("compare with", "svm")
    assert notebook.text(".ox-explained") == "svm: a line between low and high scores"
    assert canvas(1) != canvas(0)  # svm does not change the hair color
    marks = "return [...document.querySelectorAll('.ox-slider small')].map(one => one.textContent)"
    assert driver.execute_script(marks) == ["", "", "", "ridge only", ""]
    assert notebook.text(".ox-code button") == "Copy as Python (left face)"
    driver.set_window_size(1366, 768)  # a laptop, where images and sliders are seen together
    notebook.wait(lambda _: driver.execute_script(TOGETHER) < 480)
    driver.set_window_size(1400, 1000)

    choose("group", "hl")
    code = notebook.text(".ox-root code")
    wanted = "exploration.image(face=1, method='ridge', eyes=1, hair_color=1, pose=1)"
    assert sorted(code.split(", ")) == sorted(wanted.split(", "))

    for count in (1, 2):
        notebook.click(".ox-animation > button")
        notebook.wait(lambda _, count=count: len(notebook.find_all(".ox-keyframe")) == count)
        changes(lambda: press(named("eyes"), Keys.ARROW_LEFT))
    notebook.click(".ox-animation > button")
    press(named("remove keyframe 3"), Keys.ENTER)
    focused = "return document.activeElement.textContent"
    notebook.wait(lambda _: driver.execute_script(focused).startswith("Add keyframe"))  # not lost
    notebook.click(".ox-root [data-kind=gif]:enabled")
    notebook.wait(lambda _: "animation-1.gif" in notebook.text(".ox-saved"))
    saved = lab.folder / "notebooks" / "made" / "animation-1.gif"
    with Image.open(io.BytesIO(saved.read_bytes())) as moving:
        assert moving.n_frames == 24
        size = [moving.width, moving.height]
    preview = "const one = document.querySelector('.ox-saved img')" \
        ";return one && [one.naturalWidth, one.naturalHeight]"  # fmt: skip
    notebook.wait(lambda _: driver.execute_script(preview) == size)
    notebook.click(".ox-panel button")
    choose("group", "")
    choose("face", "0")
    notebook.wait(lambda _: canvas() == first)


def test_a_slow_kernel_gets_no_queue_and_the_last_number_wins(made, open_notebook, driver):
    notebook = open_notebook(made)
    notebook.run_all()
    notebook.find(REST)
    move = """const slider = document.querySelector('[data-name=eyes]'), done = arguments[0]
        window.drawn = []
        document.querySelector('.ox-root').addEventListener('drawn',
          event => drawn.push({...event.detail, at: performance.now()}))
        let step = 0
        const timer = setInterval(() => {
          slider.value = 0.05 * ++step
          slider.dispatchEvent(new Event('input'))
          if (step === 40) { clearInterval(timer); done(performance.now()) }
        }, 15)"""
    end = driver.execute_async_script(move)
    notebook.find(REST)
    assert "eyes=2" in notebook.text(".ox-root code")
    drawn = driver.execute_script("return window.drawn")
    assert len(drawn) >= 2 and [one["number"] for one in drawn] == sorted(
        {one["number"] for one in drawn}
    )
    # When the slider stops, one image is being made and one is asked for: no queue of 40.
    assert sum(one["at"] > end for one in drawn) <= 2
    assert min(one["latency"] for one in drawn) > 100  # the meter's own time is in it
    assert notebook.attribute(".ox-bar", "title").startswith("slow: ")
