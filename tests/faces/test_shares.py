import pytest

from ohlora_lib.faces.shares import percent


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.5, 0, "50%"),
        (0.5, 1, "50.0%"),
        (299 / 300, 0, "99.7%"),
        (1 / 300, 0, "0.3%"),
        (9999 / 10000, 1, "99.99%"),
        (1 / 100_000, 0, "0.001%"),
        (1 - 1e-16, 0, "100%"),
    ],
)
def test_only_none_is_0_percent_and_only_all_is_100_percent(share, digits, text):
    assert percent(share, digits) == text
    assert float(percent(0, digits)[:-1]) == 0 and float(percent(1, digits)[:-1]) == 100
