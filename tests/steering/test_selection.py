"""The published CSV files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.steering.groups import Grouping, VectorError
from ohlora_lib.steering.selection import (
    Selection,
    latents_of,
    published_columns,
    read_selection,
    write_selection,
)
from ohlora_lib.store import StoreError

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/golden/published"


def selection(count=3):
    rng = np.random.default_rng(2)
    info = pd.DataFrame({"case": [83, 143, 194], "vector_no": 0, "passed": "O",
                         "group_name": ["lhlh", "lhhh", "lllh"], "eyes_corr": -0.9284,
                         "mouth_corr": -0.9006, "pose_corr": -0.9126, "sum_abs_corr": 2.7416,
                         "grade": "최상"})  # fmt: skip
    return Selection(rng.standard_normal((count, 512)).astype(np.float32),
                     rng.standard_normal((count, 7)).astype(np.float32), info)  # fmt: skip


def test_the_files_have_the_published_layout(tmp_path):
    write_selection(selection(), tmp_path)
    lines = (tmp_path / "ohlora_z_vectors.csv").read_text().splitlines()
    assert lines[0] == ",".join(str(i) for i in range(519)) and len(lines) == 4
    assert (tmp_path / "ohlora_w_group_names.csv").read_text().splitlines()[:2] == [
        "case,vector_no,passed,group_name,eyes_corr,mouth_corr,pose_corr,sum_abs_corr",
        "83,0,O,lhlh,-0.9284,-0.9006,-0.9126,2.7416",
    ]


def test_what_was_written_is_read_to_the_last_bit(tmp_path):
    chosen = selection()
    write_selection(chosen, tmp_path, layer="mapping_split2")
    assert (tmp_path / "ohlora_mapping_split2_group_names.csv").exists()
    again = read_selection(tmp_path, layer="mapping_split2")
    assert np.array_equal(again.z, chosen.z) and np.array_equal(again.label, chosen.label)
    assert again.z.dtype == np.float32
    pd.testing.assert_frame_equal(again.info, chosen.info.drop(columns="grade"), check_dtype=False)


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no published tables in {PUBLISHED}")
@pytest.mark.parametrize(("version", "letters", "count"), [("v7", 3, 27), ("v8", 4, 19)])
def test_published_group_names_are_read(tmp_path, version, letters, count):
    published = (PUBLISHED / f"{version}_selected_vectors_group_names.csv").read_text()
    (tmp_path / "ohlora_w_group_names.csv").write_text(published)
    pd.DataFrame(np.zeros((count, 519))).round(4).to_csv(
        tmp_path / "ohlora_z_vectors.csv", index=False
    )
    read = read_selection(tmp_path)
    assert read.z.shape == (count, 512) and read.label.shape == (count, 7)
    assert (read.info["group_name"].str.len() == letters).all()


def test_the_columns_of_the_published_mixed_option_are_read(tmp_path):
    """Its groups are called otherwise, and it has no vector_no."""
    write_selection(selection(), tmp_path, layer="mapping_split1")
    names = tmp_path / "ohlora_mapping_split1_group_names.csv"
    table = pd.read_csv(names).drop(columns="vector_no")
    table.rename(columns={"group_name": "svm_group_name"}).to_csv(names, index=False)
    read = read_selection(tmp_path, layer="mapping_split1")
    assert read.info["group_name"].tolist() == selection().info["group_name"].tolist()


def test_row_numbers_without_a_name_are_no_part_of_a_latent(tmp_path):
    write_selection(selection(), tmp_path)
    for name in ("ohlora_z_vectors.csv", "ohlora_w_group_names.csv"):
        pd.read_csv(tmp_path / name).to_csv(tmp_path / name)
    again = read_selection(tmp_path)
    assert again.z.shape == (3, 512)
    assert again.info.columns[0] == "case"


def test_files_that_do_not_belong_together_are_named(tmp_path):
    with pytest.raises(StoreError, match=r"ohlora_z_vectors\.csv does not exist"):
        read_selection(tmp_path)
    write_selection(selection(), tmp_path)
    names = tmp_path / "ohlora_w_group_names.csv"
    text = names.read_text()
    names.write_text(text.rsplit("\n", 2)[0] + "\n")
    with pytest.raises(StoreError, match=r"3 latents, ohlora_w_group_names\.csv 2 rows"):
        read_selection(tmp_path)
    names.write_text(text.replace("lhhh", "none"))
    with pytest.raises(StoreError, match="group name 'none'"):
        read_selection(tmp_path)
    names.write_text(text)
    vectors = tmp_path / "ohlora_z_vectors.csv"
    latents = vectors.read_text()
    vectors.write_text(latents.replace("0,1,2", "a,b,c", 1))
    with pytest.raises(StoreError, match="headers"):
        read_selection(tmp_path)
    head, first, *rest = latents.splitlines()
    for cell, says in (("x", "could not convert"), ("", "not finite")):
        broken = ",".join([cell, *first.split(",")[1:]])
        vectors.write_text("\n".join([head, broken, *rest]) + "\n")
        with pytest.raises(StoreError, match=says):
            read_selection(tmp_path)


def test_a_selection_that_does_not_fit_together_is_not_made():
    chosen = selection()
    with pytest.raises(VectorError, match="no selection"):
        Selection(chosen.z[:2], chosen.label, chosen.info)
    with pytest.raises(VectorError, match="no column 'group_name'"):
        Selection(chosen.z, chosen.label, chosen.info.drop(columns="group_name"))
    with pytest.raises(VectorError, match="group name 'lh'"):
        Selection(chosen.z, chosen.label, chosen.info.assign(group_name=["lhlh", "lh", "llll"]))


def test_the_exported_table_has_the_columns_and_values_of_the_published_one():
    """Column names: VectorFind-v8's ohlora_w_group_names.csv. Correlations are those of the CNN,
    rounded to four decimals; their sum is of absolute values, before rounding."""
    tested = pd.DataFrame({
        "idx": [83, 143], "group_name": ["lhlh", "lhhh"], "passes_cnn": [True, False],
        "cnn_eyes_corr": [0.928_44, -0.2], "cnn_mouth_corr": [0.9, 0.8],
        "cnn_pose_corr": [0.95, 0.7],
        "parser_eyes_corr": 0.1, "parser_mouth_corr": 0.1, "parser_pose_corr": 0.1,
    }, index=[7, 2])  # fmt: skip
    info = published_columns(tested)
    assert info.to_dict("list") == {
        "case": [83, 143],
        "vector_no": [0, 0],
        "passed": ["O", "X"],
        "group_name": ["lhlh", "lhhh"],
        "eyes_corr": [0.9284, -0.2],
        "mouth_corr": [0.9, 0.8],
        "pose_corr": [0.95, 0.7],
        "sum_abs_corr": [2.7784, 1.7],
    }
    assert list(info) == ["case", "vector_no", "passed", "group_name", "eyes_corr", "mouth_corr",
                          "pose_corr", "sum_abs_corr"]  # fmt: skip
    assert published_columns(tested, "parser")["sum_abs_corr"].tolist() == [0.3, 0.3]


def test_a_saved_selection_is_tested_again_with_its_own_groups_and_labels():
    """Group names count in binary, h = 0: hhh, hhl, hlh, …"""
    saved = selection()
    grouping = Grouping(("hair_color", "hair_length", "background_mean", "hairstyle"), (0.0,) * 4)
    asked = latents_of(saved, grouping, label_size=7)
    assert np.array_equal(asked.z, saved.z) and np.array_equal(asked.label, saved.label)
    assert asked.idx.tolist() == [83, 143, 194]
    assert asked.groups.tolist() == [0b1010, 0b1000, 0b1110]  # lhlh, lhhh, lllh
    plain = latents_of(saved, None, label_size=0)
    assert plain.label is None and plain.groups is None


def test_groups_of_another_number_of_bits_are_rejected():
    grouping = Grouping(("hair_color", "hair_length", "background_mean"), (0.0,) * 3)
    with pytest.raises(VectorError, match=r"4 bits, the directions of 3.*group_bits = 4"):
        latents_of(selection(), grouping, label_size=7)


def test_missing_files_of_a_selection_are_named_with_their_origin(tmp_path):
    with pytest.raises(StoreError, match=r"z_vectors\.csv does not exist: .*original project"):
        read_selection(tmp_path / "v8")
