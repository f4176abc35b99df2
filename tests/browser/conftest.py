"""Fixtures of the browser tests: a JupyterLab server, Chromium, and notebooks opened in it."""

import pytest

from tests.browser.lab import MISSING, Lab, Notebook, browser


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A running server in a copy of the repository; a test adds the notebooks that it opens. All
    tests share it, as it takes seconds to start."""
    if MISSING:
        pytest.skip(MISSING)
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.start()
    yield lab
    lab.stop()


@pytest.fixture
def driver(tmp_path):
    """Headless Chromium, 1400 × 1000 px."""
    if MISSING:
        pytest.skip(MISSING)
    driver = browser(tmp_path / "profile")
    yield driver
    driver.quit()


@pytest.fixture
def open_notebook(lab, driver):
    """`open_notebook("notebooks/hands_on/label.ipynb")`: a Notebook, its kernel ready."""
    return lambda name: Notebook(driver, lab, name)
