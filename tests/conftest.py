"""What holds for all tests."""

import matplotlib
import pytest
from matplotlib import pyplot


@pytest.fixture(autouse=True)
def figures_of_one_test_only():
    """Figures that a test leaves open, and the style that it sets, end with it."""
    with matplotlib.rc_context():
        yield
    pyplot.close("all")
