"""The play page while its face is dragged, in Chromium: `python -m benchmarks.play_page [SECONDS]`.

Frames per second of reports/play/index.html, and how many of them showed a new image; its size.
"""

import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ohlora_lib.store import ROOT
from tests.browser.lab import MISSING, browser, wait_for

PAGE = ROOT / "reports" / "play" / "index.html"
WATCH = """
window.intervals = []; window.shown = 0
let last = performance.now(), image = ""
const look = (time) => {
  intervals.push(time - last)
  last = time
  if (drawn !== image) { shown++; image = drawn }
  requestAnimationFrame(look)
}
requestAnimationFrame(look)
"""
CENTER = "const box = canvas.getBoundingClientRect();" \
    "return [box.x + box.width / 2, box.y + box.height / 2]"  # fmt: skip


def main(seconds: float = 5) -> None:
    """Print the size and the speed."""
    if MISSING:
        sys.exit(MISSING)
    driver = browser(Path(tempfile.mkdtemp()) / "profile")
    try:
        driver.get(PAGE.as_uri())
        wait_for(driver, lambda _: driver.execute_script("return drawn"))  # the first image
        x, y = driver.execute_script(CENTER)

        def mouse(kind, x):
            event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

        mouse("mousePressed", x)
        driver.execute_script(WATCH)
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            mouse("mouseMoved", x + 150 * math.sin(2 * passed))
        intervals, shown = driver.execute_script("return [intervals, shown]")
        mouse("mouseReleased", x)
    finally:
        driver.quit()
    middle, high = np.percentile(intervals, [50, 99])
    print(f"{PAGE.relative_to(ROOT)}: {PAGE.stat().st_size / 1e6:.1f} MB")
    print(
        f"dragging: {1000 * len(intervals) / sum(intervals):.1f} frames/s, "
        f"{shown / passed:.1f} new images/s; a frame takes {middle:.1f} ms (median), "
        f"{high:.1f} ms (99th percentile)"
    )


if __name__ == "__main__":
    main(*(float(value) for value in sys.argv[1:]))
