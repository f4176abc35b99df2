"""The chosen latents on disk, in the published files.

ohlora_z_vectors.csv has a row per latent, z and then the label, under the headers 0, 1, 2 …;
ohlora_w_group_names.csv the same rows' case, vector_no, passed, group_name and correlations. A run
that finds them starts from these latents and groups instead of random ones.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.select import CORRELATIONS, SUM
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table, write_table

Z_VECTORS = "ohlora_z_vectors.csv"
LABEL_SIZE = 7
COLUMNS = ("case", "vector_no", "passed", "group_name", *CORRELATIONS, SUM)
"""VectorFind-v8's; v7 has neither `passed` nor the sum."""


def group_names_file(layer: str = "w") -> str:
    """v3.1 names the file after the vector that was steered: w, mapping_split1, mapping_split2."""
    return f"ohlora_{layer}_group_names.csv"


@dataclass(frozen=True, eq=False)
class Selection:
    """K latents and what is known of each."""

    z: np.ndarray  # (K, Z) float32
    label: np.ndarray  # (K, 7) float32
    info: pd.DataFrame  # K rows; group_name, case and whatever else of COLUMNS there is

    def __post_init__(self):
        rows = {len(self.z), len(self.label), len(self.info)}
        if len(rows) > 1 or self.z.ndim != 2 or self.label.shape[1:] != (LABEL_SIZE,):
            raise VectorError(
                f"z {self.z.shape}, label {self.label.shape} and {len(self.info)} rows of info are "
                f"no selection: need (K, Z), (K, {LABEL_SIZE}) and K"
            )
        if not (np.isfinite(self.z).all() and np.isfinite(self.label).all()):
            raise VectorError("a latent of the selection is not finite")
        for name in ("case", "group_name"):
            if name not in self.info:
                raise VectorError(f"the selection's info has no {name!r}")
        names = self.info["group_name"].astype(str)
        strange = names[~names.str.fullmatch("[hl]+") | (names.str.len() != names.str.len().max())]
        if len(strange):
            raise VectorError(
                f"{strange.iloc[0]!r} is no group like the others: names are letters h and l, "
                "three in v7, four in v8 and v9"
            )


def write_selection(selection: Selection, folder: str | Path, layer: str = "w") -> None:
    """Write both files into `folder`, each atomically; z to its last bit (published: 4 places)."""
    folder = Path(folder)
    numbers = np.concatenate([selection.z, selection.label], axis=1).astype(np.float32)
    columns = [name for name in COLUMNS if name in selection.info]
    write_table(pd.DataFrame(numbers), folder / Z_VECTORS)
    write_table(selection.info[columns], folder / group_names_file(layer))


def read_selection(folder: str | Path, layer: str = "w") -> Selection:
    """Read both files of `folder`, ours or published."""
    folder = Path(folder)
    vectors = folder / Z_VECTORS
    numbers = _without_row_numbers(read_table(vectors))
    info = _without_row_numbers(
        read_table(folder / group_names_file(layer), ["case", "group_name"])
    )
    if [str(name) for name in numbers.columns] != [str(i) for i in range(numbers.shape[1])]:
        raise StoreError(f"{vectors}: its headers are not 0, 1, 2 …, z and then the label's 7")
    if len(numbers) != len(info):
        raise StoreError(
            f"{vectors} has {len(numbers)} latents, {group_names_file(layer)} {len(info)} rows: "
            "they are not of the same selection"
        )
    try:
        numbers = numbers.to_numpy(dtype=np.float32)
        return Selection(numbers[:, :-LABEL_SIZE], numbers[:, -LABEL_SIZE:], info)
    except ValueError as error:  # a VectorError, too
        raise StoreError(f"{folder}: {error}") from error


def _without_row_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Without the column that has no name."""
    return table[[name for name in table if not re.match(r"Unnamed:", str(name))]]
