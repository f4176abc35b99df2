"""What holds for all tests."""

import matplotlib
import pytest


@pytest.fixture(autouse=True)
def figure_style_of_one_test_only():
    """The pages' style that a test sets ends with it."""
    with matplotlib.rc_context():
        yield
