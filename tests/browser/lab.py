"""A JupyterLab server in a temporary copy of the repository, and the Chromium that drives it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
MISSING = (
    None if CHROMIUM and CHROMEDRIVER
    else "no Chromium with chromedriver here (Debian: apt install chromium chromium-driver)"
)  # fmt: skip
TOKEN = "test"
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
)
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
"""No news dialog; cells outside the window stay in the page, so that outputs can be found."""


def browser(profile: Path, width: int = 1400, height: int = 1000) -> webdriver.Chrome:
    """Headless Chromium with an empty profile; the caller quits it."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*QUIET, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(120)
    return driver


def wait_for(driver: webdriver.Chrome, condition: Callable, seconds: float = 120) -> Any:
    """Poll `condition(driver)` until its result is true; returns it.

    A widget may redraw between finding an element and using it: that is polled again. So tests keep
    no elements of a widget; they name them by selectors.
    """
    return WebDriverWait(driver, seconds, 0.05, ignored_exceptions=REDRAWN).until(condition)


REDRAWN = (
    StaleElementReferenceException,
    ElementClickInterceptedException,
    ElementNotInteractableException,
)
"""The element is gone, covered or hidden; nothing was done to it."""
PANEL = """[...window.jupyterapp.shell.widgets("main")]
  .find(one => one.context?.path === arguments[0])"""
KERNEL = f"{PANEL}?.sessionContext.session?.kernel"
ERRORS = f"""return {PANEL}.content.widgets
  .flatMap(cell => cell.model.outputs?.toJSON() ?? [])
  .flatMap(one => one.output_type === "error" ? [`${{one.ename}}: ${{one.evalue}}`]
    : one.name === "stderr" && String(one.text).includes("Traceback") ? [String(one.text)] : [])"""
"""Of the cells' model: their outputs may not be drawn yet."""
OUTLINED = """const next = arguments[0].nextElementSibling
const element = arguments[0].matches("[type=radio]") ? next : arguments[0]
const style = getComputedStyle(element)
return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2"""
"""Whether one sees that the element has the focus (a picture's radio button: the picture)."""
FOCUS = """const all = arguments[0].querySelectorAll("button, input, select, [tabindex]")
;[...all].find(one => one.offsetParent && one.tabIndex >= 0 && !one.disabled).focus()"""


class Lab:
    """A server whose root is `folder`: a copy of the library, the pipelines and some notebooks."""

    def __init__(self, folder: Path, notebooks: tuple[str, ...] = ()):
        self.folder, self.server, self.url = folder, None, ""
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "ohlora_lib", folder / "ohlora_lib", ignore=ignore)
        (folder / "pipelines").mkdir()
        for name in notebooks:
            self.add(ROOT / "notebooks" / name, f"notebooks/{name}")
        for name, value in SETTINGS.items():
            package, plugin = name.split("/")
            file = folder / ".lab/settings/@jupyterlab" / package / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))

    def add(self, notebook: Path, name: str) -> None:
        """Copy a notebook to `name`, relative to the server's root."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(notebook, self.folder / name)

    def write(self, name: str, *cells: str) -> None:
        """Write a notebook with these cells to `name`."""
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        made = nbformat.v4.new_notebook(metadata=kernel)
        made.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, self.folder / name)

    def start(self) -> None:
        """Start the server on a free port and wait until it answers."""
        own = self.folder / ".lab"
        folders = {"JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config",
                   "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
                   "IPYTHONDIR": "ipython"}  # fmt: skip
        environment = os.environ | {name: str(own / place) for name, place in folders.items()}
        environment["PYTHONPATH"] = str(self.folder)
        runtime = own / "runtime"
        shutil.rmtree(runtime, ignore_errors=True)
        options = [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.folder}",
                   "--LabApp.expose_app_in_browser=True", "--ServerApp.port=0"]  # fmt: skip
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *options]
        with (self.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 180
        while not self._answers(runtime):
            if self.server.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError((self.folder / "server.log").read_text()[-3000:])
            time.sleep(0.1)

    def _answers(self, runtime: Path) -> bool:
        for file in runtime.glob("jpserver-*.json"):
            try:
                self.url = json.loads(file.read_text())["url"]
                return isinstance(self.api("kernels"), list)
            except (OSError, ValueError):
                pass
        return False

    def api(self, path: str, method: str = "GET") -> object:
        """A request to the server's REST API."""
        request = urllib.request.Request(
            f"{self.url}api/{path}", method=method, headers={"Authorization": f"token {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def kernels(self) -> list[int]:
        """Process ids of the running kernels."""
        found = []
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        for child in children.split():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                if b"ipykernel" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
        return found

    def kill_kernels(self) -> None:
        """SIGKILL every kernel; the server starts them again (`Notebook.recover`)."""
        for kernel in self.kernels():
            os.kill(kernel, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL the server and its kernels."""
        kernels = self.kernels()
        self.server.kill()
        self.server.wait()
        for kernel in kernels:
            os.kill(kernel, signal.SIGKILL)

    def stop(self) -> None:
        """Shut the kernels and the server down."""
        if self.server is None or self.server.poll() is not None:
            return
        self.server.terminate()
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


class Notebook:
    """One notebook, opened in the browser."""

    patience = 120.0  # seconds that a wait lasts at most, unless it is told others

    def __init__(self, driver: webdriver.Chrome, lab: Lab, name: str):
        """Open `name`, relative to the server's root, in a new workspace; wait for its kernel."""
        self.driver, self.lab, self.name = driver, lab, name
        # A workspace per opening: no tab of an earlier one is restored.
        driver.get(f"{lab.url}lab/workspaces/{time.monotonic_ns()}?token={TOKEN}")
        self.wait(lambda _: driver.execute_script("return !!window.jupyterapp"))
        self._await("window.jupyterapp.restored")
        self.command("application:toggle-left-area")
        self.command("docmanager:open", path=name)
        self.wait(lambda _: self.kernel() == "idle")

    def wait(self, condition: Callable, seconds: float | None = None) -> Any:
        return wait_for(self.driver, condition, seconds or self.patience)

    def kernel(self) -> str | None:
        """The kernel's status: idle, busy, ...; None if there is none yet."""
        return self.driver.execute_script(f"return {KERNEL}?.status ?? null", self.name)

    def command(self, name: str, **arguments: object) -> None:
        """Execute a JupyterLab command, and wait for it."""
        self._await("window.jupyterapp.commands.execute(...arguments)", name, arguments)

    def _await(self, promise: str, *arguments: object, seconds: float = 120) -> None:
        """Wait for a promise by polling: Selenium ends scripts after two minutes."""
        self.driver.execute_script(
            f"window.awaited = null; ({promise}).then(() => {{ window.awaited = [null] }},"
            " error => { window.awaited = [String(error)] })", *arguments,
        )  # fmt: skip
        done = self.wait(lambda _: self.driver.execute_script("return window.awaited"), seconds)
        if done[0]:
            raise RuntimeError(f"{promise} {arguments}: {done[0]}")

    def run_all(self, seconds: float = 300) -> None:
        """Run all cells, and wait until they are done; an error of a cell is raised."""
        self._await("window.jupyterapp.commands.execute('notebook:run-all-cells')", seconds=seconds)
        if failed := self.driver.execute_script(ERRORS, self.name):
            raise RuntimeError(failed[0])

    def recover(self) -> None:
        """After the kernel was killed: confirm JupyterLab's message, wait for the new kernel."""
        self.click(".jp-Dialog .jp-mod-accept")
        self.wait(lambda _: self.kernel() == "idle")
        self._await(f"{KERNEL}.requestKernelInfo()", self.name)

    def press(self, *keys: str, holding: str | None = None) -> None:
        """Type into what has the focus, while a key such as Keys.SHIFT is held down."""
        chain = webdriver.ActionChains(self.driver, duration=0)
        if holding:
            chain.key_down(holding).send_keys(*keys).key_up(holding).perform()
        else:
            chain.send_keys(*keys).perform()

    def click(self, selector: str) -> None:
        """Click on the first element that matches and is displayed."""
        self.wait(lambda _: [self.find(selector).click()])

    def attribute(self, selector: str, name: str) -> str | None:
        """An attribute of the first element that matches and is displayed."""
        return self.wait(lambda _: [self.find(selector).get_attribute(name)])[0]

    def tab_stops(self, root: str) -> list[str]:
        """What Tab reaches in the widget `root`, from its first control on: accessible names.

        Raises for an element without a name, or whose focus cannot be seen.
        """
        names = []
        self.driver.execute_script(FOCUS, self.find(root))
        self.press(Keys.TAB, holding=Keys.SHIFT)
        while True:
            self.press(Keys.TAB)
            element = self.driver.switch_to.active_element
            if not self.driver.execute_script(
                "return !!arguments[0].closest(arguments[1])", element, root
            ):
                return names
            names.append(element.accessible_name.strip())
            if not names[-1] or not self.driver.execute_script(OUTLINED, element):
                raise AssertionError(element.get_attribute("outerHTML"))

    def find_all(self, selector: str) -> list[WebElement]:
        """All elements that match now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def find(self, selector: str, seconds: float | None = None) -> WebElement:
        """The first element that matches, as soon as it is displayed."""

        def displayed(_):
            return next((one for one in self.find_all(selector) if one.is_displayed()), None)

        return self.wait(displayed, seconds)

    def text(self, selector: str, seconds: float | None = None) -> str:
        """The visible text of the first element that is displayed, as soon as there is one."""
        return self.wait(lambda _: [self.find(selector).text], seconds)[0]
