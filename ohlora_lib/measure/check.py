"""`python -m ohlora_lib.measure.check DIR`: are our property scores the published ones?

DIR has parse_maps.npz (`maps`, `names`), images_rgb.npz (`images`) and reference_scores.csv; it may
have reference_scores_normalised.csv and reference_status.json (where the original fails). Whole
numbers must be equal, the rest to 1e-9 relative; where the reference has no value, ours is NaN.
Exit status 1 on any miss.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ohlora_lib.measure.normalise import DECIMALS, z_scores
from ohlora_lib.measure.scores import ALL, ScoreError, score
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table

RELATIVE = 1e-9
NEAR_ZERO = 1e-12
"""A correlation or deviation that cancels to 0 leaves rounding noise, which differs by summation."""
WHOLE = ("v1_eyes", "v1_hair_length", "v1_mouth", "v2_hair_length")
"""Counts and heights, halves at most: equal to the last bit."""
HALF_UNIT = 0.5 * 10**-DECIMALS + 1e-8
"""How far a value lies from its rounded self."""
OUR_NAME = {"hairstyle_if_all_16_pixels_tested": "hairstyle_whole_blocks"}


class Row(NamedTuple):
    """One line of the report; `missed` says which values differ, empty where all agree."""

    what: str
    compared: int
    difference: float
    missed: str


def check(folder: Path) -> Iterator[Row]:
    """The report's lines, file by file."""
    maps, names = _array(folder, "parse_maps.npz", "maps", "names")
    (images,) = _array(folder, "images_rgb.npz", "images")
    ours = score(maps, images, ALL)
    reference = _table(folder, "reference_scores.csv", names)
    for column in reference:
        yield _compare_scores(column, ours.iloc[reference.index], reference[column], names)
    if (folder / "reference_scores_normalised.csv").exists():
        reference = _table(folder, "reference_scores_normalised.csv", names)
        known = ours[[column for column in reference if column in ours]]
        normalised = z_scores(known)(known, decimals=None).iloc[reference.index]
        for column in reference:
            yield _compare_normalised(column, normalised, reference[column], names)
    if (folder / "reference_status.json").exists():
        yield _compare_status(_status(folder), ours, names)


def _compare_scores(column: str, ours: pd.DataFrame, values: pd.Series, names) -> Row:
    """One column of raw scores."""
    name = OUR_NAME.get(column, column)
    if name not in ours:
        return Row(column, 0, np.nan, "no score of ours has this name")
    mine, theirs = ours[name].to_numpy(), values.to_numpy()
    allowed = 0.0 if column in WHOLE else np.maximum(RELATIVE * np.abs(theirs), NEAR_ZERO)
    return _row(column, mine, theirs, allowed, names[values.index])


def _compare_normalised(column: str, ours: pd.DataFrame, values: pd.Series, names) -> Row:
    """One column of normalised scores, ours before rounding."""
    what = f"{column}, normalised"
    if column not in ours:
        return Row(what, 0, np.nan, "no score of ours has this name")
    mine, theirs = ours[column].to_numpy(), values.to_numpy()
    return _row(what, mine, theirs, HALF_UNIT, names[values.index])


def _row(what: str, mine: np.ndarray, theirs: np.ndarray, allowed, names: np.ndarray) -> Row:
    """Compare values of one name; NaN agrees with NaN, and an infinity with itself only."""
    finite = np.isfinite(mine) & np.isfinite(theirs)
    difference = np.abs(np.where(finite, mine, 0) - np.where(finite, theirs, 0))
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    wrong = np.flatnonzero(~np.where(finite, difference <= allowed, same))
    missed = [f"{names[i]} {mine[i]:.17g}, not {theirs[i]:.17g}" for i in wrong]
    return Row(what, len(mine), difference.max(initial=0), "; ".join(missed))


def _compare_status(status: dict[str, dict[str, str]], ours: pd.DataFrame, names) -> Row:
    """Where the original has no finite value, and nowhere else, ours is what the status says."""
    row_of = {str(name): row for row, name in enumerate(names)}
    stated = {(name, column): text for name, of in status.items() for column, text in of.items()}
    published = ours.drop(columns=list(OUR_NAME.values()))
    found = {
        (str(names[row]), str(published.columns[column])): published.iat[row, column]
        for row, column in np.argwhere(~np.isfinite(published.to_numpy()))
    }
    missed = []
    for (name, column), text in stated.items():
        if name not in row_of or column not in published:
            missed.append(f"{name} {column}: no such map or score")
        elif not _agrees(published.at[row_of[name], column], text):
            missed.append(f"{name} {column}: ours is {published.at[row_of[name], column]}, {text}")
    missed += [f"{n} {c}: ours is {found[n, c]}" for n, c in found if (n, c) not in stated]
    return Row("status", len(stated), np.nan, "; ".join(missed))


def _agrees(value: float, text: str) -> bool:
    """`returns inf` is that infinity; an exception, `returns None` and `returns nan` are NaN."""
    returned = text.removeprefix("returns ").strip()
    return value == float(returned) if returned.lstrip("+-") == "inf" else bool(np.isnan(value))


def _array(folder: Path, file: str, *names: str) -> list[np.ndarray]:
    """Arrays of an npz, or an error that names the file."""
    try:
        with np.load(folder / file) as arrays:
            return [arrays[name] for name in names]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise StoreError(f"{folder / file} cannot be read: {error}") from error


def _table(folder: Path, file: str, names: np.ndarray) -> pd.DataFrame:
    """A table of scores by map number; its names must be the maps' names."""
    table = read_table(folder / file, ["index", "name"]).set_index("index")
    inside = table.index.isin(range(len(names)))
    if not inside.all() or (names[table.index] != table["name"].to_numpy(str)).any():
        raise StoreError(f"{folder / file}: its rows are not those of the {len(names)} maps")
    return table.drop(columns="name").astype(float)


def _status(folder: Path) -> dict[str, dict[str, str]]:
    """What the original does where it has no finite value: map name -> score -> text."""
    path = folder / "reference_status.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is no JSON: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ohlora_lib.measure.check", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    failed = total = 0
    try:
        print(f"{'score':36} {'compared':>8} {'max abs diff':>13}")
        for row in check(folder):
            difference = "-" if np.isnan(row.difference) else f"{row.difference:.1e}"
            mark = f"   MISS {row.missed}" if row.missed else ""
            print(f"{row.what:36} {row.compared:8} {difference:>13}{mark}")
            total, failed = total + 1, failed + bool(row.missed)
    except (StoreError, ScoreError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{total - failed} of {total} agree" + (f", {failed} MISS" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
