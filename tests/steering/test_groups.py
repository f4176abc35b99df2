"""Groups by medians."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import GROUP_PROPERTIES
from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering.groups import Grouping, VectorError, median_grouping

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/golden/published"


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no published tables in {PUBLISHED}")
def test_the_published_sample_has_the_published_medians():
    names = {"background_score": "background_mean"}
    scores, statistics = (
        pd.read_csv(PUBLISHED / f"v8_property_scores_{name}.csv").rename(columns=names)
        for name in ("sampled_20k", "mean_and_median")
    )
    grouping = median_grouping(scores)
    published = statistics.set_index("value_type").loc["median", list(GROUP_PROPERTIES)]
    # The background's median lies between two places that it can be rounded to.
    allowed = [5e-5, 5e-5, 1e-4, 5e-5]
    assert (np.abs(np.array(grouping.medians) - published) <= allowed).all()
    counts = grouping.of(scores).value_counts()
    assert len(counts) == 16 and counts.sum() == 20_000


def test_names_are_the_published_ones_in_their_order():
    names = ",".join(median_grouping(scores([1.0, 2.0]), V7).names)
    assert names == "hhh,hhl,hlh,hll,lhh,lhl,llh,lll"
    names = median_grouping(scores([1.0, 2.0]), GROUP_PROPERTIES).names
    assert len(names) == 16 and names[0] == "hhhh" and names[4] == "hlhh" and names[-1] == "llll"


def scores(values, **changed):
    return pd.DataFrame(dict.fromkeys(GROUP_PROPERTIES, values) | changed)


def test_bits_follow_the_order_of_properties_and_the_median_itself_is_h():
    table = pd.DataFrame([[0, 0, 0], [-1, 0, 9], [9, -1, -1]], columns=list(V7), dtype=float)
    grouping = Grouping(V7, (0.0, 0.0, 0.0))
    assert grouping.of(table).tolist() == ["hhh", "lhh", "hll"]
    assert [grouping.names[i] for i in grouping.indices(table)] == ["hhh", "lhh", "hll"]


def test_each_property_halves_the_images():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((1000, 4)), columns=list(GROUP_PROPERTIES))
    names = median_grouping(table).of(table)
    assert all((names.str[place] == "h").sum() == 500 for place in range(4))


def test_low_groups_of_a_constant_score_are_empty():
    table = scores(np.arange(10.0), hairstyle=0.3)
    assert set(median_grouping(table).of(table)) == {"hhhh", "lllh"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (scores([1.0, np.nan]), "'hair_color' in row 1 is nan"),
        (scores([1.0, np.inf]), "is inf"),
        (scores([1.0, 2.0]).drop(columns="hairstyle"), "no scores of 'hairstyle'"),
        (scores([1.0, 2.0], hairstyle="curly"), "'hairstyle' are not numbers"),
        (scores([]), "no rows"),
    ],
)
def test_scores_that_make_no_groups_are_named(table, says):
    with pytest.raises(VectorError, match=says):
        median_grouping(table)
