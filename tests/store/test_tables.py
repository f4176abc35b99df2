"""Tables: both formats, and errors that name file and column."""

import pandas as pd
import pytest

from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table, write_table

TABLE = pd.DataFrame({"index": [2, 3], "score": [0.1234, -1.0], "group": ["hhl", "lll"]})


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_table_comes_back_as_it_was(tmp_path, name):
    write_table(TABLE, tmp_path / name)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), TABLE, check_dtype=False)


def test_csv_has_the_columns_and_no_row_numbers_so_the_original_code_can_read_it(tmp_path):
    write_table(TABLE, tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == "index,score,group"


def test_missing_file_column_and_format_are_named(tmp_path):
    with pytest.raises(StoreError, match=r"none\.csv is missing"):
        read_table(tmp_path / "none.csv")
    write_table(TABLE, tmp_path / "scores.csv")
    with pytest.raises(StoreError, match=r"no column 'eyes'; its columns are index, score, group"):
        read_table(tmp_path / "scores.csv", ["score", "eyes"])
    with pytest.raises(StoreError, match=r"\.parquet or \.csv"):
        write_table(TABLE, tmp_path / "scores.xlsx")


@pytest.mark.parametrize("name", ["broken.parquet", "broken.csv"])
def test_damaged_table_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(StoreError, match=f"{name} cannot be read"):
        read_table(tmp_path / name)
