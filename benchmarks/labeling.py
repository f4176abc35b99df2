"""Labeling in a real browser: how fast at human speed, and what SIGKILL loses.

    python -m benchmarks.labeling speed [--faces 2000] [--per-page 60] [--seconds 0.25]
    python -m benchmarks.labeling kill [--times 10]

`speed` labels with 15 % exceptions (every property of every face), one key or click at a time, at
least `--seconds` apart. Required: 400 answers a minute, and at most 200 ms from space to the next
page on the screen (median). `kill` sends SIGKILL to the kernel, the server and the browser in turn,
each at a random moment after at least one page. Required: at most the current page is lost, the CSV
is always whole, and no saved row changes. Needs Chromium and chromedriver.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from selenium.common.exceptions import WebDriverException
from urllib3.exceptions import HTTPError

from ohlora_lib.store.images import ImageSet
from tests.browser.lab import MISSING, Lab, Notebook, browser
from tests.browser.label import KEYS, SOURCE, USUAL, Labeling, random_labels

FAILED = (WebDriverException, HTTPError, OSError)
NAME = "notebooks/benchmark.ipynb"
WINDOW = 1366, 768
"""A laptop's: not all faces of a page are on the screen at once."""


def noise(folder: Path, count: int, size: int = 128) -> ImageSet:
    """Images of noise: PNG files twice as large as those of toy faces."""
    images = ImageSet(folder)
    for at in range(0, count, 250):
        numbers = range(at, min(at + 250, count))
        pixels = np.random.default_rng(at).integers(0, 256, (len(numbers), size, size, 3), np.uint8)
        images.write(numbers, pixels)
    images.finish(pd.DataFrame({"index": range(count)}))
    return images


class Pace:
    """Keys and clicks of a person: each at least `seconds` after the one before."""

    def __init__(self, person: Labeling, seconds: float):
        self.person, self.seconds, self.due, self.actions = person, seconds, 0.0, 0

    def wait(self) -> None:
        time.sleep(max(0, self.due - time.monotonic()))
        self.due = time.monotonic() + self.seconds
        self.actions += 1

    def page(self, labels: np.ndarray, seconds: float = 60) -> None:
        """Mark the exceptions of the page, the part that is on the screen first, then turn it,
        which may take `seconds`."""
        done = set()
        while left := [number for number in self.person.numbers() if number not in done]:
            if done and self.person.unseen():
                self.wait()
                self.person.scroll()
            shown = self.person.in_view() if self.person.unseen() else left
            numbers = [number for number in left if number in shown]
            for place, key in enumerate(KEYS):
                marked = [number for number in numbers if labels[number, place] != USUAL[place]]
                if marked:
                    self.wait()
                    self.person.notebook.press(key)
                for number in marked:
                    self.wait()
                    self.person.click(number)
            done.update(numbers)
        self.wait()
        self.person.turn(seconds)


def opened(lab: Lab, profile: Path) -> Labeling:
    """A new browser with the notebook run in it."""
    driver = browser(profile, *WINDOW)
    notebook = Notebook(driver, lab, NAME)
    notebook.run_all()
    person = Labeling(notebook)
    person.start()
    return person


def prepared(folder: Path, count: int, per_page: int) -> tuple[Lab, Path]:
    """A running server, and the CSV that its notebook fills."""
    lab = Lab(folder / "lab")
    noise(folder / "images", count)
    path = folder / "labels.csv"
    source = SOURCE.format(images=str(folder / "images"), labels=str(path), per_page=per_page)
    lab.write(NAME, source)
    lab.start()
    return lab, path


def speed(count: int, per_page: int, seconds: float) -> bool:
    """Label all at human speed; print and check what it took."""
    folder = Path(tempfile.mkdtemp())
    lab, path = prepared(folder, count, per_page)
    person = opened(lab, folder / "profile")
    try:
        labels, pace = random_labels(count, 0.15), Pace(person, seconds)
        start = time.monotonic()
        for _ in range(-(-count // per_page)):
            pace.page(labels)
        minutes = (time.monotonic() - start) / 60
        turns = person.driver.execute_script(
            "return performance.getEntriesByName('labeler page').map(one => one.duration)"
        )
        right = person.labels(path) == dict(enumerate(labels.tolist()))
    finally:
        person.driver.quit()
        lab.stop()
    rate = count * labels.shape[1] / minutes
    turn, slowest = np.median(turns), max(turns)
    print(f"{count} faces, {labels.shape[1]} properties, {(labels != USUAL).sum()} exceptions")
    print(f"{pace.actions} keys and clicks in {minutes:.1f} min: {rate:,.0f} answers a minute")
    print(f"page of {per_page} faces: median {turn:.0f} ms, slowest {slowest:.0f} ms")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("the CSV has every answer" if right else "the CSV has WRONG answers")
    return right and rate >= 400 and turn <= 200


def kill(times: int, per_page: int = 24, count: int = 2000) -> bool:
    """Kill kernel, server and browser in turn at random moments; check what is left."""
    folder, moments = Path(tempfile.mkdtemp()), random.Random(0)
    lab, path = prepared(folder, count, per_page)
    labels, good = random_labels(count, 0.15), True
    person = opened(lab, folder / "profile")
    try:
        for attempt in range(times):
            victim = ("kernel", "server", "browser")[attempt % 3]
            pace = Pace(person, 0.02)
            pace.page(labels)
            finished = len(person.labels(path))
            processes = {
                "kernel": lab.kernels(),
                "server": [lab.server.pid],
                "browser": [person.driver.service.process.pid, *chromium(person)],
            }[victim]
            delay = moments.uniform(0.2, 6)
            timer = threading.Timer(delay, kill_all, [processes])
            timer.start()
            person.notebook.patience = 15  # JupyterLab's message then covers the faces
            try:
                while True:
                    pace.page(labels, seconds=10)
                    finished += per_page
            except FAILED:
                timer.join()
            person.notebook.patience = Notebook.patience
            left = person.labels(path) if path.exists() else {}
            whole = all(left[number] == labels[number].tolist() for number in left)
            kept = finished <= len(left) <= finished + per_page
            good &= whole and kept
            print(f"{victim} killed after {delay:.1f} s: {finished} faces on finished pages, "
                  f"{len(left)} in the CSV, {'all right' if whole and kept else 'WRONG'}",
                  flush=True)  # fmt: skip
            person = again(lab, person, victim, folder / f"profile{attempt}")
    finally:
        person.driver.quit()
        lab.stop()
    return good


def again(lab: Lab, person: Labeling, victim: str, profile: Path) -> Labeling:
    """Start again what was killed, and continue."""
    if victim == "kernel":
        with suppress(*FAILED):
            person.notebook.recover()
            person.notebook.run_all()
            person.start()
            return person
    with suppress(*FAILED):  # it may be gone
        person.driver.quit()
    person.driver.service.process.kill()
    if victim == "server":
        lab.kill()
        lab.start()
    for kernel in lab.api("kernels"):
        lab.api(f"kernels/{kernel['id']}", "DELETE")
    return opened(lab, profile)


def chromium(person: Labeling) -> list[int]:
    """Chromium's first process."""
    driver = person.driver.service.process.pid
    return [int(child) for child in
            Path(f"/proc/{driver}/task/{driver}/children").read_text().split()]  # fmt: skip


def kill_all(processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):  # Chromium ends with its driver
            os.kill(process, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["speed", "kill"])
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--per-page", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--times", type=int, default=10)
    given = parser.parse_args()
    if MISSING:
        print(MISSING)
        return 1
    if given.what == "kill":
        return 0 if kill(given.times) else 1
    return 0 if speed(given.faces, given.per_page, given.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
