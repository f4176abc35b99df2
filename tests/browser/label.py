"""A person who labels in the browser, for tests and benchmarks."""

import cv2
import numpy as np
import pandas as pd
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from ohlora_lib.measure.labels import read_labels
from ohlora_lib.store.images import ImageSet
from ohlora_lib.widgets.labeler import QUESTIONS

SOURCE = """
from pathlib import Path
from ohlora_lib.store.images import ImageSet
from ohlora_lib.widgets.labeler import Labeler
Labeler(ImageSet(Path({images!r})), {labels!r}, "the test", per_page={per_page})
"""
KEYS = "".join(question["key"] for question in QUESTIONS)
FOCUSED = "return !!document.querySelector('.oa-root:focus-within')"
UNSEEN = "return document.querySelector('.oa-more')?.textContent ?? ''"
IN_VIEW = """const view = document.querySelector(".oa-view").getBoundingClientRect()
return [...document.querySelectorAll(".oa-face")].filter((face) => {
  const { top, bottom, height } = face.getBoundingClientRect()
  return height && top >= view.top - 1 && bottom <= view.bottom + 1
}).map((face) => Number(face.dataset.number))"""
IN_WINDOW = """const { top, bottom } = document.querySelector(arguments[0]).getBoundingClientRect()
return bottom > top && top >= 0 && bottom <= innerHeight"""
USUAL = np.array([question["usual"] for question in QUESTIONS])


def numbered_images(folder, count, size=64):
    """Images that show their numbers."""
    images = ImageSet(folder)
    pixels = np.full((count, size, size, 3), 200, np.uint8)
    for number, image in enumerate(pixels):
        cv2.putText(image, str(number), (4, size // 2), 0, 0.7, (40, 40, 40), 2)
    images.write(range(count), pixels)
    images.finish(pd.DataFrame({"index": range(count)}))
    return images


def random_labels(count, exceptions, seed=0):
    """Labels (count, 4) of which this share is not the usual one."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((count, len(USUAL))) < exceptions, 1 - USUAL, USUAL)


class Answering:
    """A person at the Labeler or Picker of an opened notebook."""

    def __init__(self, notebook):
        self.notebook, self.driver = notebook, notebook.driver

    def start(self):
        """The first click, which marks nothing: from then on keys and clicks are the widget's."""
        self.notebook.click(".oa-face, .oa-sheet, .oa-done")
        self.notebook.wait(lambda _: self.driver.execute_script(FOCUSED))

    def in_window(self, selector):
        """Whether all of an element is inside the window."""
        return self.driver.execute_script(IN_WINDOW, selector)

    def unseen(self):
        """What has not been on the screen, in words; empty if all has."""
        self.notebook.find(".oa-root[aria-busy='false']")
        return self.driver.execute_script(UNSEEN)

    def scroll(self):
        """Space, which shows what has not been on the screen."""
        before = self.unseen()
        self.notebook.press(Keys.SPACE)
        self.notebook.wait(lambda _: self.unseen() != before)

    def space(self):
        """Space as often as it only scrolls, and once more."""
        while self.unseen():
            self.scroll()
        self.notebook.press(Keys.SPACE)


class Labeling(Answering):
    """The Labeler."""

    @property
    def status(self):
        return self.notebook.text(".oa-status")

    @property
    def saved(self):
        """How many faces are saved, in words; as soon as all of a page is shown."""
        self.notebook.find(".oa-root[aria-busy='false']")
        return self.status.split(" · ")[1]

    def wait_for_page(self, page):
        """Until this page is shown, its faces decoded."""
        self.notebook.find(".oa-root[aria-busy='false'] :is(.oa-face, .oa-done)")
        self.notebook.wait(lambda _: self.status.startswith(f"Page {page} "))

    def numbers(self):
        """The numbers of the faces that can be seen on this page."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll('.oa-face')].filter(face => face.offsetParent)"
            ".map(face => Number(face.dataset.number))"
        )

    def face(self, number):
        """The selector of a face."""
        return f".oa-face[data-number='{number}']"

    def click(self, number):
        """Click on a face."""
        self.notebook.click(self.face(number))

    def in_view(self):
        """The numbers of the faces that are wholly on the screen: a click does not scroll."""
        return self.driver.execute_script(IN_VIEW)

    def drag(self, first, last):
        """Press on one face, release on another."""

        def act(_):
            places = [self.notebook.find(self.face(number)) for number in (first, last)]
            chain = webdriver.ActionChains(self.driver, duration=0)
            chain.click_and_hold(places[0]).move_to_element(places[1]).release().perform()
            return True

        self.notebook.wait(act)

    def turn(self, seconds=60):
        """Space until the next page is shown, or all are done."""
        before = self.saved
        self.space()
        self.notebook.wait(lambda _: self.saved != before, seconds)

    def labels(self, path):
        """The CSV as {number: [four labels]}."""
        table = read_labels(path, "the test").table.set_index("idx")
        return {
            number: row.tolist() for number, row in zip(table.index, table.to_numpy(), strict=True)
        }
