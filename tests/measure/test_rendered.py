"""Rendered faces: true maps in the parser's frame, and scores that follow the truth."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.measure.parse import Parsed, default_scores, face_scores, load_parser, parse
from ohlora_lib.measure.rendered import (
    TARGETS,
    TRUE_ATTRIBUTES,
    algorithm_agreement,
    crop_maps,
    truth_correlations,
)
from ohlora_lib.measure.scores import FIRST, ORIGINAL_HAIRSTYLE, OTHERS, SECOND, score
from ohlora_lib.toyworld import face


def test_true_maps_are_cropped_to_the_parsers_boxes():
    one = face(3, 0)
    maps = np.stack([one.parse_map] * 3)
    boxes = np.float32([[0, 0, 128, 128], [32, 16, 96, 112], [np.nan] * 4])
    crops = np.zeros((3, 224, 224, 3), np.uint8)
    parsed = Parsed(maps, crops, boxes, np.array([True, True, False]))
    whole, part, none = crop_maps(maps, parsed)
    centers = np.arange(128) * 224 // 128 + 1
    assert (whole[np.ix_(centers, centers)] == one.parse_map).mean() > 0.97
    columns, rows = np.arange(64) * 224 // 64 + 1, np.arange(96) * 224 // 96 + 1
    assert (part[np.ix_(rows, columns)] == one.parse_map[16:112, 32:96]).mean() > 0.97
    assert not none.any()


def planted(seed=0, number=200):
    """Attributes, and scores that follow them with noise of a size of their own each."""
    rng = np.random.default_rng(seed)
    attributes = pd.DataFrame(
        {name: rng.standard_normal(number) for name in TRUE_ATTRIBUTES.values()}
    )
    columns = [*PROPERTIES, *FIRST.values(), ORIGINAL_HAIRSTYLE]
    scores = pd.DataFrame(rng.standard_normal((number, len(columns))), columns=columns)
    return attributes, scores


def test_each_correlation_is_of_its_own_score_and_attribute():
    attributes, computed = planted()
    exact = computed.copy()
    computed["hairstyle"] = -attributes["curl"]  # the sign is kept
    computed["v1_eyes"] = attributes["eyes"] * 3 + 1
    exact["pose"] = attributes["pose"]
    computed.index = computed.index + 50  # rows are matched by position
    table = truth_correlations(computed, exact, attributes)
    assert table.index.tolist() == [*PROPERTIES, ORIGINAL_HAIRSTYLE]
    assert table.at["hairstyle", "second"] == pytest.approx(-1)
    assert table.at["hairstyle", "true attribute"] == "curl"
    assert abs(table.at["hairstyle", "true maps"]) < 0.3
    assert table.at["eyes", "first"] == pytest.approx(1) and abs(table.at["eyes", "second"]) < 0.3
    assert (
        table.at["pose", "true maps"] == pytest.approx(1) and abs(table.at["pose", "second"]) < 0.3
    )
    assert table["first"].notna().sum() == 5 and table["target"].notna().sum() == 7
    r = np.corrcoef(computed["mouth"], attributes["mouth"])[0, 1]
    assert table.at["mouth", "second"] == pytest.approx(r)


def test_infinite_scores_are_left_out_of_a_correlation():
    attributes, computed = planted()
    computed["pose"] = attributes["pose"]
    computed.loc[3, "pose"] = np.inf
    assert truth_correlations(computed, computed, attributes).at["pose", "second"] == pytest.approx(
        1
    )


def test_agreement_compares_the_two_algorithms_where_they_differ():
    _, raw = planted()
    raw["v1_mouth"] = -raw["mouth"]
    raw.loc[0, "v1_mouth"] = np.nan
    table = algorithm_agreement(raw)
    assert table.index.tolist() == ["eyes", "hair_color", "hair_length", "mouth", "pose"]
    assert table.at["mouth", "first with second"] == pytest.approx(-1)
    assert abs(table.at["eyes", "first with second"]) < 0.3


def test_scores_through_the_embedded_parser_reach_their_targets():
    drawn = [face(991, index) for index in range(70)]
    parser = load_parser()
    parsed = parse(np.stack([one.image for one in drawn]), parser)
    maps = crop_maps(np.stack([one.parse_map for one in drawn]), parsed)
    attributes = pd.DataFrame([one.attributes.to_dict() for one in drawn])
    which = {**default_scores(parser), **OTHERS}
    table = truth_correlations(
        face_scores(parsed, which), score(maps, parsed.faces, which), attributes
    )
    aimed = table.dropna(subset="target")
    assert (aimed["second"] >= aimed["target"]).all(), table
    assert (aimed["true maps"] >= aimed["target"] - 0.02).all(), table
    assert set(TARGETS) == set(SECOND)
