"""Tables on disk: Parquet, or CSV where the original project uses CSV."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import atomic_path


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table atomically; the suffix (.parquet, .csv) chooses the format."""
    path = Path(path)
    if path.suffix not in (".parquet", ".csv"):
        raise StoreError(f"{path}: a table must be .parquet or .csv")
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


def read_table(path: str | Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table and check that it has `columns`."""
    path = Path(path)
    if not path.exists():
        raise StoreError(f"{path} is missing: run the stage that writes it first")
    try:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parse errors are ValueErrors
        raise StoreError(f"{path} cannot be read as {path.suffix}: {error}") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise StoreError(
            f"{path} has no column {missing[0]!r}; its columns are {', '.join(table.columns)}"
        )
    return table
