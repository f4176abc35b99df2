"""What page 04 leaves and says: complete scores, their scale, their truth."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.lab import property_scores as lab
from ohlora_lib.measure.normalize import Normalization, read_statistics
from ohlora_lib.measure.parse import Parsed, load_parser, parse
from ohlora_lib.measure.rendered import ParsedTruth, crop_maps
from ohlora_lib.measure.scores import SECOND
from ohlora_lib.measure.segmentation import segment
from ohlora_lib.store import StoreError
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import read_table
from ohlora_lib.toyworld import face

NUMBER = 70


@pytest.fixture(scope="module")
def rendered():
    drawn = [face(991, index) for index in range(NUMBER)]
    pictures = np.stack([one.image for one in drawn])
    parsed = parse(pictures, load_parser())
    maps = crop_maps(np.stack([one.parse_map for one in drawn]), parsed)
    table = pd.DataFrame([one.attributes.to_dict() for one in drawn])
    return ParsedTruth(pictures, parsed, maps, table)


@pytest.fixture(scope="module")
def made(rendered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    pictures = ImageSet(folder / "images")
    idx = np.arange(NUMBER) * 2
    pictures.write(idx, rendered.images)
    return segment(pictures, idx, folder / "out", load_parser())


def test_scores_through_the_parser_follow_what_was_drawn(rendered):
    faces, table = lab.against_truth(rendered, load_parser())
    wanted = table.dropna(subset="wanted")
    assert len(faces) == NUMBER and len(wanted) == 7
    assert (wanted["second"] >= wanted["wanted"]).all(), table
    assert lab.truth_told(table).startswith("All 7 scores")
    weak = table.assign(second=table["second"].where(table.index != "eyes", 0.5))
    assert "eyes (0.50)" in lab.truth_told(weak)


def test_files_hold_the_eight_scores_of_complete_faces_and_their_scale(made, tmp_path):
    scored = lab.score_all(made, "z", load_parser())
    lab.write(scored, tmp_path, "z")
    raw, normalized = (read_table(tmp_path / f"{n}.parquet") for n in ("scores", "normalized"))
    assert list(normalized) == ["idx", *SECOND] and len(raw) == NUMBER
    assert raw["idx"].tolist() == (np.arange(NUMBER) * 2).tolist()
    np.testing.assert_allclose(normalized[list(SECOND)].std(), 1, atol=1e-3)
    again = read_statistics(tmp_path / "statistics.json")(raw)
    np.testing.assert_array_equal(again, normalized[list(SECOND)])


def test_a_face_with_an_infinite_or_missing_score_goes_no_further():
    raw = pd.DataFrame(
        {"idx": range(4), **{name: [1.0, 2.0, 3.0, 4.0] for name in (*SECOND, *lab.OTHERS)}}
    )
    raw.loc[1, "pose"], raw.loc[2, "eyes"], raw.loc[3, "v1_pose"] = np.inf, np.nan, np.nan
    ones = dict.fromkeys(SECOND, 1.0)
    scored = lab.Scored(raw, Normalization(ones, ones))
    assert scored.normalized["idx"].tolist() == [0, 3]
    assert lab.left_out_told(scored).startswith("2 of 4 faces")
    assert lab.summary(scored).at["pose", "no value"] == 1


def test_hair_that_only_the_original_reads_is_told():
    names = (*SECOND, *lab.OTHERS)
    raw = pd.DataFrame({"idx": range(5), **{name: np.arange(5) / 10 for name in names}})
    raw["hairstyle"] = [0.45, 0.45, 0.2, 0.3, 0.4]
    raw[lab.ORIGINAL_HAIRSTYLE] = [1.75, 0.45, 0.2, 0.3, 0.4]
    ones = dict.fromkeys(SECOND, 1.0)
    scored = lab.Scored(raw, Normalization(ones, ones))
    told = lab.left_out_told(scored)
    assert "40.0%" in told and "1 of these 2" in told
    assert "1.75 to 1.75" in told and "0.30 ± 0.10" in told
    same = lab.Scored(raw.assign(original_hairstyle=raw["hairstyle"]), scored.normalization)
    assert "original" not in lab.left_out_told(same)


def test_too_few_faces_to_normalize_are_told_with_what_to_do(made, tmp_path):
    pictures = ImageSet(tmp_path / "images")
    pictures.write([0, 1], np.zeros((2, 16, 16, 3), np.uint8))
    none = Parsed(
        np.zeros((2, 224, 224), np.uint8),
        np.zeros((2, 224, 224, 3), np.uint8),
        np.full((2, 4), np.nan, np.float32),
        np.zeros(2, bool),
    )
    empty = segment(pictures, np.array([0, 1]), tmp_path / "out", lambda _: none)
    with pytest.raises(StoreError, match=r"0 of 2 faces have all eight scores.*notebook 03"):
        lab.score_all(empty, "z", lambda _: none)


def test_extremes_show_the_least_faces_left_and_the_largest_right(made, monkeypatch):
    shown = {}

    def sheet(images, columns, rows, heads):
        shown.update(images=images, columns=columns, rows=rows)
        return lab.pyplot.figure(figsize=(1, 1)).subplots().figure

    monkeypatch.setattr(lab, "labeled_sheet", sheet)
    scored = lab.score_all(made, "z", load_parser())
    lab.pyplot.close(lab.extremes(made, scored, columns=2))
    assert shown["images"].shape[0] == 8 * 4
    order = scored.complete.sort_values("background_mean", kind="stable")["idx"]
    row = list(SECOND).index("background_mean") * 4
    darkest, lightest = made.faces.read([order.iloc[0], order.iloc[-1]])
    np.testing.assert_array_equal(shown["images"][row], darkest)
    np.testing.assert_array_equal(shown["images"][row + 3], lightest)


def test_damaged_statistics_are_named(tmp_path):
    (tmp_path / "statistics.json").write_text("{")
    with pytest.raises(StoreError, match="run notebook 04 again"):
        read_statistics(tmp_path / "statistics.json")
