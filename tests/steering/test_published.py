"""The published selections agree with themselves: counts, case numbers and grades."""

import pytest

from ohlora_lib.steering.published import LOW, SELECTIONS, TOP, published_cases, published_funnel
from ohlora_lib.steering.select import CUTOFFS_V7, CUTOFFS_V7_RECHECK


def test_v7_chose_12_and_19_cases_of_which_4_are_the_same():
    v7 = SELECTIONS["v7"]
    first, second = v7.cases[CUTOFFS_V7], v7.cases[CUTOFFS_V7_RECHECK]
    assert (len(first), len(second), len({*first} & {*second})) == (12, 19, 4)
    assert set(v7.grades) == {*first, *second} and len(v7.grades) == v7.chosen
    assert v7.grades[1277][2] == TOP and v7.grades[2089][2] == LOW


@pytest.mark.parametrize("name", SELECTIONS)
def test_case_numbers_are_those_of_tested_latents_and_each_step_has_fewer(name):
    one = SELECTIONS[name]
    assert all(0 <= case < one.tested for cases in one.cases.values() for case in cases)
    assert all(one.chosen < count < one.tested for count in one.passed.values())
    assert all(len(cases) <= one.chosen for cases in one.cases.values())


def test_tables_state_the_published_shares():
    funnel = published_funnel().set_index(["source", "step"])["share of tested"]
    assert funnel["published v7", "passes .92 / .88 / .92"].startswith("2.4% (")
    assert funnel["published v9 svm_ms2", "chosen by a person"].startswith("0.4% (")
    cases = published_cases()
    assert cases["case numbers"].str.split().map(len).tolist() == cases["chosen"].tolist()
