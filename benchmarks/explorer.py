"""Speed of the Explorer, seen in the browser: `python -m benchmarks.explorer [SECONDS]`.

Opens it in JupyterLab with the faces of the package, and moves the slider of the eyes at 60 Hz.
Latency: from a movement of the slider until its image is shown. Needs Chromium with chromedriver.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.lab import MISSING, Lab, Notebook, browser

MOVE = """
const [milliseconds, done] = arguments
const root = document.querySelector(".ox-root"), slider = root.querySelector("[data-name=eyes]")
const latencies = [], start = performance.now()
const drawn = (event) => latencies.push(event.detail.latency)
root.addEventListener("drawn", drawn)
const move = (time) => {
  if (performance.now() - start > milliseconds) {
    root.removeEventListener("drawn", drawn)
    return done([latencies, performance.now() - start])
  }
  slider.value = 1.5 * Math.sin(time / 400)
  slider.dispatchEvent(new Event("input"))
  requestAnimationFrame(move)
}
requestAnimationFrame(move)
"""
ONCE = """
const done = arguments[0], root = document.querySelector(".ox-root")
const slider = root.querySelector("[data-name=eyes]")
root.addEventListener("drawn", (event) => done(event.detail.latency), { once: true })
slider.value = 2 * Math.random() - 1
slider.dispatchEvent(new Event("input"))
"""
CELL = """
from ohlora_lib import OhLora
from ohlora_lib.faces.domain import TOY
from ohlora_lib.models import precision
from ohlora_lib.steering.exploration import Exploration, saved_faces
from ohlora_lib.steering.meters import MeterSet, judge_meter, load_meters
from ohlora_lib.steering.sampling import Sampler
from ohlora_lib.widgets.explorer import Explorer

lora = OhLora.load()
sampler = Sampler(precision.place(lora.generator))
cnn, parser, annotator = load_meters(TOY, None, sampler.device)
meters = MeterSet.fit(cnn, parser, annotator, sampler.images(lora.w))
shown = {"CNN": meters.cnn, "parser": meters.parser}
if judge := judge_meter(sampler.images(lora.w)):
    shown["judge"] = judge
faces = saved_faces(lora)
exploration = Exploration(sampler, {"Oh-LoRA": faces, "the same": faces}, len(lora))
Explorer(exploration, shown, parser.parser)
"""
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
NAME = "notebooks/speed.ipynb"
REST = ".ox-root[aria-busy='false']"


def measure(notebook: Notebook, seconds: float) -> str:
    """Images per second and latencies, in words."""
    driver = notebook.driver
    driver.set_script_timeout(2 * seconds + 60)
    notebook.find(REST)
    driver.execute_async_script(MOVE, 1000)  # warm up
    notebook.find(REST)
    latencies, elapsed = driver.execute_async_script(MOVE, 1000 * seconds)
    notebook.find(REST)
    single = [driver.execute_async_script(ONCE) for _ in range(20)]
    low, middle, high = np.percentile(latencies, [10, 50, 90])
    return (
        f"{1000 * len(latencies) / elapsed:5.1f} images/s; latency while the slider moves: median "
        f"{middle:.0f} ms ({low:.0f} to {high:.0f}); of single movements: {np.median(single):.0f}"
    )


def main(seconds: float = 10) -> None:
    """Print the speed without and with meters, with the class map, and with two methods."""
    if MISSING:
        sys.exit(MISSING)
    folder = Path(tempfile.mkdtemp())
    lab = Lab(folder / "lab")
    nbformat.write(new_notebook(cells=[new_code_cell(CELL)], metadata=KERNEL), folder / "new.ipynb")
    lab.add(folder / "new.ipynb", NAME)
    lab.start()
    driver = browser(folder / "profile")
    try:
        notebook = Notebook(driver, lab, NAME)
        notebook.run_all(900)
        print(f"with all meters:   {measure(notebook, seconds)}", flush=True)
        notebook.click("[aria-label=meters]")
        print(f"without meters:    {measure(notebook, seconds)}", flush=True)
        notebook.click("[aria-label='class map']")
        print(f"with class map:    {measure(notebook, seconds)}", flush=True)
        notebook.click("[aria-label='class map']")
        choose = "arguments[0].value = 'the same'; arguments[0].onchange()"
        driver.execute_script(choose, notebook.find("[aria-label='compare with']"))
        print(f"two methods:       {measure(notebook, seconds)}", flush=True)
    finally:
        driver.quit()
        lab.stop()


if __name__ == "__main__":
    main(*(float(value) for value in sys.argv[1:]))
