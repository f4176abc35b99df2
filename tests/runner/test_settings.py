"""Settings refuse what is not meant, and say what would be."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from ohlora_lib.runner.settings import Between, OneOf, Settings, SettingsError, fits


@dataclass(frozen=True)
class Example(Settings):
    share: Annotated[float, Between(0, 1)] = 0.5
    kind: Annotated[str, OneOf(("svm", "ridge"))] = "svm"
    levels: list[float] | None = None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed = -1: must be between 0"),
        ({"seed": 1.0}, "seed = 1.0: must be of type int"),
        ({"seed": True}, "seed = True: must be of type int"),
        ({"share": 1.5}, "share = 1.5: must be between 0 and 1"),
        ({"share": float("nan")}, "share = nan: must be between 0 and 1"),
        ({"kind": "svn"}, "kind = 'svn': must be one of svm, ridge"),
        ({"levels": [0.5, "1"]}, "must be of type list"),
        ({"out": None}, "out = None: must be of type str"),
    ],
)
def test_wrong_value_is_refused_with_its_name_and_what_is_wanted(change, message):
    with pytest.raises(SettingsError, match=message.replace("[", r"\[")):
        Example(**{"out": "data/x", "seed": 1, **change})


def test_right_values_are_kept():
    made = Example(out="data/x", seed=0, share=1, levels=[1, 2.5])
    assert (made.seed, made.share, made.levels) == (0, 1, [1, 2.5])


def test_bool_is_no_number_and_int_does_for_float():
    assert fits(3, float) and not fits(True, float) and not fits(3.0, int) and fits(True, bool)
    assert fits(None, int | None) and fits([], list[str]) and not fits([1], list[str])
