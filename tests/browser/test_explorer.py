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
from selenium.webdriver.common.by import By

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
explorer = Explorer(exploration, {"slow": Slow()}, None, ["hh", "hl", "hh", "ll"], "made")
explorer
"""
LATER = "explorer.code, len(asked), explorer.state['values']"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
CANVAS = "return document.querySelectorAll('.ox-view canvas')[arguments[0]].toDataURL()"
WATCH = "window.drawn = []; document.querySelector('.ox-root').addEventListener('drawn'," \
    " event => window.drawn.push(event.detail))"  # fmt: skip


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
    root = notebook.find(".ox-root")

    def canvas(place=0):
        return driver.execute_script(CANVAS, place)

    def control(name):
        return next(
            one for one in root.find_elements(By.CSS_SELECTOR, "input, select, canvas, button")
            if one.accessible_name == name
        )  # fmt: skip

    def press(element, *keys):
        driver.execute_script("arguments[0].focus()", element)
        ActionChains(driver).send_keys(*keys).perform()

    def changes(act):
        """The image changes after `act` and comes to rest; returns what it is then."""
        before = canvas()
        numbers = driver.execute_script("return window.drawn.length")
        act()
        notebook.wait(
            lambda _: (
                driver.execute_script("return window.drawn.length") > numbers and canvas() != before
            ),
            20,
        )
        return canvas()

    driver.execute_script(WATCH)
    first = canvas()
    control("meters").click()  # quick from here on
    changes(lambda: press(control("eyes"), *[Keys.ARROW_RIGHT] * 20))
    changes(lambda: press(control("hair color"), *[Keys.ARROW_RIGHT] * 20))
    face = control("turn the head")
    changes(lambda: ActionChains(driver).drag_and_drop_by_offset(face, -96, 0).perform())
    assert control("pose").get_property("value") == "1.25"  # a quarter of the range of 5
    changes(lambda: press(face, Keys.ARROW_RIGHT))
    assert control("pose").get_property("value") == "1"
    assert float(face.get_attribute("aria-valuenow")) == 1

    driver.execute_script("arguments[0].value = 'svm'; arguments[0].onchange()", control("beside"))
    notebook.wait(lambda _: len([one for one in root.find_elements(By.TAG_NAME, "canvas")
                                 if one.is_displayed()]) == 2)  # fmt: skip
    assert canvas(1) != canvas(0)  # svm does not change the hair color

    driver.execute_script("arguments[0].value = 'hl'; arguments[0].onchange()", control("group"))
    notebook.wait(lambda _: "face=1" in root.find_element(By.TAG_NAME, "code").text)
    code = root.find_element(By.TAG_NAME, "code").text
    wanted = "exploration.image(face=1, method='ridge', eyes=1, hair_color=1, pose=1)"
    assert sorted(code.split(", ")) == sorted(wanted.split(", "))

    for _ in range(2):
        control("Add keyframe").click()
        changes(lambda: press(control("eyes"), Keys.ARROW_LEFT))
    control("Save GIF").click()
    notebook.wait(lambda _: "animation-1.gif" in root.text)
    saved = lab.folder / "notebooks" / "made" / "animation-1.gif"
    with Image.open(io.BytesIO(saved.read_bytes())) as moving:
        assert moving.n_frames == 24
    control("Reset").click()
    driver.execute_script("arguments[0].value = ''; arguments[0].onchange()", control("group"))
    driver.execute_script("arguments[0].value = '0'; arguments[0].onchange()", control("face"))
    notebook.wait(lambda _: canvas() == first)


def test_a_slow_kernel_gets_no_queue_and_the_last_number_wins(made, open_notebook, driver):
    notebook = open_notebook(made)
    notebook.run_all()
    notebook.find(".ox-root")
    driver.execute_script(WATCH)
    move = """const slider = document.querySelector('[data-name=eyes]'), done = arguments[0]
        let step = 0
        const timer = setInterval(() => {
          slider.value = 0.05 * ++step
          slider.dispatchEvent(new Event('input'))
          if (step === 40) { clearInterval(timer); done(performance.now()) }
        }, 15)"""
    driver.execute_async_script(move)
    notebook.wait(lambda _: "eyes=2" in notebook.text(".ox-root code").replace("2.0", "2"))
    drawn = driver.execute_script("return window.drawn")
    assert 2 <= len(drawn) < 20  # of 40 changes; each image takes 150 ms
    assert [one["number"] for one in drawn] == sorted({one["number"] for one in drawn})
    assert min(one["latency"] for one in drawn) > 100  # the meter's own time is in it
    assert notebook.find(".ox-bar").get_attribute("title").startswith("slow: ")
