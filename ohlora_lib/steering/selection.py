"""The selected latents on disk, in the published CSV format.

ohlora_z_vectors.csv has one row per latent: z, then the label; headers 0, 1, 2 …
ohlora_w_group_names.csv has case, vector_no, passed, group_name and correlations of the same rows.
A run that is given both files tests these latents and groups instead of random ones.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.steering.control_test import LatentSet, meter_columns
from ohlora_lib.steering.groups import Grouping, VectorError
from ohlora_lib.steering.select import CORRELATIONS, PASSED, SUM
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table, write_table

Z_VECTORS = "ohlora_z_vectors.csv"
LABEL_SIZE = 7
COLUMNS = ("case", "vector_no", "passed", "group_name", *CORRELATIONS, SUM)
"""VectorFind-v8's columns; v7 has neither `passed` nor the sum."""
PUBLISHED_NAMES = {"svm_group_name": "group_name"}
"""Columns that v9's option `mixed` names otherwise."""


def group_names_file(layer: str = "w") -> str:
    """v3.1 names the file after the steered layer: w, mapping_split1 or mapping_split2."""
    return f"ohlora_{layer}_group_names.csv"


@dataclass(frozen=True, eq=False)
class Selection:
    """K latents."""

    z: np.ndarray  # (K, Z) float32
    label: np.ndarray  # (K, 7) float32
    info: pd.DataFrame  # K rows: case, group_name and any others of COLUMNS

    def __post_init__(self):
        rows = {len(self.z), len(self.label), len(self.info)}
        if len(rows) > 1 or self.z.ndim != 2 or self.label.shape[1:] != (LABEL_SIZE,):
            raise VectorError(
                f"no selection: z {self.z.shape}, label {self.label.shape}, {len(self.info)} rows "
                f"of info; must be (K, Z), (K, {LABEL_SIZE}), K"
            )
        if not (np.isfinite(self.z).all() and np.isfinite(self.label).all()):
            raise VectorError("a latent of the selection is not finite: check z and label")
        for name in ("case", "group_name"):
            if name not in self.info:
                raise VectorError(f"the selection's info has no column {name!r}")
        names = self.info["group_name"].astype(str)
        strange = names[~names.str.fullmatch("[hl]+") | (names.str.len() != names.str.len().max())]
        if len(strange):
            raise VectorError(
                f"group name {strange.iloc[0]!r}: all names must have the same number of letters h "
                "and l (three in v7, four in v8 and v9)"
            )


def latents_of(saved: Selection, grouping: Grouping | None, label_size: int) -> LatentSet:
    """The latents of a selection for another test, with their saved groups.

    `grouping`: that of the directions, None if they have no groups. `label_size`: the generator's;
    without a label (0) the saved one is not used.
    """
    groups = None
    if grouping is not None:
        names = saved.info["group_name"].tolist()
        if len(names[0]) != len(grouping.properties):
            raise VectorError(
                f"the selection has groups of {len(names[0])} bits, the directions of "
                f"{len(grouping.properties)}: run notebook 07 with group_bits = {len(names[0])}"
            )
        groups = np.array([grouping.names.index(name) for name in names])
    label = saved.label if label_size else None
    return LatentSet(saved.z, saved.info["case"].to_numpy(), label, groups)


def published_columns(table: pd.DataFrame, meter: str = "cnn") -> pd.DataFrame:
    """Rows of `apply_rules` -> the columns of VectorFind-v8's tables. `case` is the latent's idx,
    `passed` is by the CNN, `sum_abs_corr` the sum of the absolute correlations."""
    correlations = meter_columns(table, meter)[list(CORRELATIONS)]
    info = pd.DataFrame({"case": table["idx"], "vector_no": 0})
    info["passed"] = np.where(table["passes_cnn"], PASSED, "X")
    info["group_name"] = table["group_name"]
    info[list(CORRELATIONS)] = correlations.round(4)
    info[SUM] = correlations.abs().sum(axis=1).round(4)
    return info.reset_index(drop=True)


def write_selection(selection: Selection, folder: str | Path, layer: str = "w") -> None:
    """Write both files into `folder`, atomically; z at full precision (published: 4 digits)"""
    folder = Path(folder)
    numbers = np.concatenate([selection.z, selection.label], axis=1).astype(np.float32)
    columns = [name for name in COLUMNS if name in selection.info]
    write_table(pd.DataFrame(numbers), folder / Z_VECTORS)
    write_table(selection.info[columns], folder / group_names_file(layer))


def read_selection(folder: str | Path, layer: str = "w") -> Selection:
    """Read both files of `folder`, written by `write_selection` or published."""
    folder = Path(folder)
    vectors = folder / Z_VECTORS
    for path in (vectors, folder / group_names_file(layer)):
        if not path.exists():
            raise StoreError(
                f"{path} does not exist: copy it from a finished notebook 09, or from the original "
                "project (WannaBeSuperteur/AI_Projects, which has it beside its code)"
            )
    numbers = _without_row_numbers(read_table(vectors))
    info = _without_row_numbers(read_table(folder / group_names_file(layer), ["case"]))
    info = info.rename(columns=PUBLISHED_NAMES)
    if [str(name) for name in numbers.columns] != [str(i) for i in range(numbers.shape[1])]:
        raise StoreError(f"{vectors}: its headers must be 0, 1, 2 … (z, then the 7 label values)")
    if len(numbers) != len(info):
        raise StoreError(
            f"{vectors} has {len(numbers)} latents, {group_names_file(layer)} {len(info)} rows: "
            "they do not belong to the same selection"
        )
    try:
        numbers = numbers.to_numpy(dtype=np.float32)
        return Selection(numbers[:, :-LABEL_SIZE], numbers[:, -LABEL_SIZE:], info)
    except ValueError as error:  # a VectorError, too
        raise StoreError(f"{folder}: {error}") from error


def _without_row_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The table without an unnamed column."""
    return table[[name for name in table if not re.match(r"Unnamed:", str(name))]]
