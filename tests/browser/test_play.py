"""The play page, opened from a file: pointer, keyboard and text steer it, and it loads nothing.

Its images are of one color each, from which the test reads what is drawn: red tells the eyes, green
the mouth, blue the pose.
"""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from ohlora_lib.steering.play_page import level_requests, write_page
from tests.browser.lab import MISSING, OUTLINED, browser, wait_for

LEVELS = {"eyes": (-4, 0, 1), "mouth": (-1, 0, 3), "pose": (-2, 0, 2)}
BASE, UNIT = 125, 30  # gray levels at 0, and per unit
PIXEL = """const canvas = document.getElementById('face'), at = canvas.width / 2
return [...canvas.getContext('2d').getImageData(at, at, 1, 1).data.slice(0, 3)]"""


def colored(requests, face):
    color = np.uint8(BASE + UNIT * requests + 5 * face)
    return np.broadcast_to(color[:, None, None], (len(requests), 32, 32, 3))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page in a browser of 1400 × 1000 pixels."""
    if MISSING:
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("play")
    write_page(folder / "play.html", colored, [4, 2], LEVELS)
    assert len(level_requests(LEVELS)) == 27
    driver = browser(folder / "profile")
    driver.get((folder / "play.html").as_uri())
    yield driver
    driver.quit()


@pytest.fixture
def reset(page):
    """The page in its first state, as far as a user can bring it there; not blinking by itself."""
    page.refresh()
    page.execute_script("document.getElementById('alive').checked = false")
    if page.execute_script("return document.documentElement.lang") == "ko":
        page.find_element(By.ID, "language").click()
    wait_for(page, lambda _: np.allclose(drawn(page), 0, atol=0.15))
    return page


def drawn(page, face=4):
    """Eyes, mouth and pose of the image on the page, read from its color."""
    return (np.array(page.execute_script(PIXEL)) - BASE - 5 * face) / UNIT


def until(page, name, condition, face=4):
    place = ("eyes", "mouth", "pose").index(name)
    return wait_for(page, lambda _: condition(drawn(page, face)[place]))


def value(page, name):
    return float(page.find_element(By.ID, name).get_property("value"))


def test_dragging_turns_the_head_and_the_numbers_follow(reset):
    canvas = reset.find_element(By.ID, "face")

    def drag(share):  # of the canvas's width, to the right
        actions = ActionChains(reset, duration=50).click_and_hold(canvas)
        actions.move_by_offset(round(share * canvas.size["width"]), 0).release().perform()

    drag(-0.25)  # a quarter of the range of 4
    until(reset, "pose", lambda pose: abs(pose - 1) < 0.15)
    assert value(reset, "pose") == pytest.approx(1, abs=0.02)
    ActionChains(reset).move_to_element(canvas).perform()  # released: no longer dragged
    assert value(reset, "pose") == pytest.approx(1, abs=0.02)
    drag(0.49)
    drag(0.49)  # farther than she can turn
    until(reset, "pose", lambda pose: abs(pose + 2) < 0.15)
    assert value(reset, "pose") == -2
    code = reset.find_element(By.ID, "python").text
    assert code == "OhLora.load().image(eyes=0, mouth=0, pose=-2, face=4)"


def test_everything_can_be_reached_and_operated_by_keyboard(reset):
    def press(*keys):
        ActionChains(reset).send_keys(*keys).perform()

    def focused():
        element = reset.switch_to.active_element
        assert reset.execute_script(OUTLINED, element), element.get_attribute("outerHTML")
        return element

    reached = []
    for _ in range(12):
        press(Keys.TAB)
        reached.append(focused())
    ids = [one.get_attribute("id") or one.get_attribute("name") for one in reached]
    assert ids == [
        "face", "language", "face", "eyes", "mouth", "pose", "words", "say", "alive", "blink",
        "reset", "python",
    ]  # fmt: skip
    names = [one.accessible_name for one in reached]
    assert all(names) and names[0] == "Turn her head" and names[3:6] == ["Eyes", "Mouth", "Pose"]
    ActionChains(reset).move_to_element(reached[0]).perform()
    reset.execute_script("arguments[0].focus()", reached[0])
    press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    until(reset, "pose", lambda pose: abs(pose - 0.4) < 0.1)
    assert float(reached[0].get_attribute("aria-valuenow")) == 0.4
    reset.execute_script("arguments[0].focus()", reached[4])
    press(*[Keys.ARROW_RIGHT] * 10)
    until(reset, "mouth", lambda mouth: abs(mouth - 0.5) < 0.1)
    reset.execute_script("arguments[0].focus()", reached[2])
    press(Keys.ARROW_RIGHT)  # the other face, with the same numbers
    until(reset, "mouth", lambda mouth: abs(mouth - 0.5) < 0.1, face=2)
    assert "face=2" in reset.find_element(By.ID, "python").text


def record(page):
    """From now on the page keeps the color of every frame."""
    page.execute_script(
        "window.frames_seen = []; (function look() {"
        f"window.frames_seen.push((() => {{ {PIXEL} }})()); requestAnimationFrame(look) }})()"
    )


def passes_through(page, name, condition):
    """Wait until any frame since `record` met the condition."""
    place = ("eyes", "mouth", "pose").index(name)

    def met(_):
        colors = np.array(page.execute_script("return window.frames_seen"))
        return any(condition(value) for value in (colors[:, place] - BASE - 5 * 4) / UNIT)

    wait_for(page, met)


def test_she_blinks_and_opens_her_eyes_again(reset):
    record(reset)
    reset.execute_script("document.getElementById('blink').click()")
    passes_through(reset, "eyes", lambda eyes: eyes < -3)
    until(reset, "eyes", lambda eyes: abs(eyes) < 0.1)


@pytest.mark.parametrize(("wide", "closed"), [("aaaa", "mmmm"), ("아아아", "밈밈밈")])
def test_her_mouth_follows_typed_text(reset, wide, closed):
    def opens():
        passes_through(reset, "mouth", lambda mouth: mouth > 1.8)

    def closes():
        passes_through(reset, "mouth", lambda mouth: mouth < -0.6)

    words = reset.find_element(By.ID, "words")
    for typed, moves in ((wide, [opens]), (closed, [closes]), (Keys.ENTER, [opens, closes])):
        record(reset)  # ENTER says all of it again
        words.send_keys(typed)
        for move in moves:
            move()
        until(reset, "mouth", lambda mouth: abs(mouth) < 0.1)  # back to the slider's


def test_one_sees_that_she_talks_and_can_stop_her(reset):
    def button():
        return reset.find_element(By.ID, "say").text

    said = reset.find_element(By.ID, "said")
    reset.execute_script(
        "document.getElementById('words').value = 'a'.repeat(200)"
    )  # half a minute
    reset.find_element(By.ID, "say").click()
    wait_for(reset, lambda _: button() == "Stop" and said.text.startswith("She says: aaa"))
    outline = "return getComputedStyle(document.getElementById('face')).boxShadow"
    assert reset.execute_script(outline) != "none"
    reset.find_element(By.ID, "say").click()
    wait_for(reset, lambda _: button() == "Say it" and not said.is_displayed())
    assert reset.execute_script(outline) == "none"
    until(reset, "mouth", lambda mouth: abs(mouth) < 0.1)


def test_both_languages_say_everything(reset):
    def texts():
        elements = reset.find_elements(By.CSS_SELECTOR, "[data-text]")
        return [one.text for one in elements]

    english = texts()
    reset.find_element(By.ID, "language").click()
    korean = texts()
    assert all(english) and all(korean)
    assert not any(a == b for a, b in zip(english, korean, strict=True))
    assert reset.find_element(By.ID, "face").accessible_name == "고개 돌리기"


def test_the_page_loads_nothing_and_cannot(reset):
    entries = "return performance.getEntriesByType('resource').map(one => one.name)"
    assert [one for one in reset.execute_script(entries) if not one.startswith("data:")] == []
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        ask = """const [url, done] = arguments, image = new Image()
            image.onload = image.onerror = () => fetch(url + 'fetch').then(() => done('loaded'),
              () => done('refused'))
            image.src = url + 'image'"""
        assert reset.execute_async_script(ask, url) == "refused"
        assert seen == []
        reset.get(url)  # the server itself does answer
        assert "/" in seen
        server.shutdown()
    reset.back()


@pytest.mark.parametrize("width", [1400, 800, 390])
def test_the_page_fits_its_window(reset, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    reset.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wait_for(reset, lambda _: reset.execute_script("return innerWidth") == width)
        spread = "return document.documentElement.scrollWidth"
        wait_for(reset, lambda _: reset.execute_script(spread) <= width)
        canvas = reset.find_element(By.ID, "face")
        times = canvas.size["width"] / 32
        assert times == int(times) and canvas.size["width"] >= min(320, width - 70)
        for one in reset.find_elements(By.CSS_SELECTOR, "button, input, code"):
            assert one.rect["x"] >= 0 and one.rect["x"] + one.rect["width"] <= width
    finally:
        reset.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
