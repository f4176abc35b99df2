"""`python -m tests.reference.scores DIR`: are our property scores the published ones?

DIR has parse_maps.npz (`maps`, `names`), images_rgb.npz (`images`), reference_scores.csv, and may
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

from ohlora_lib.measure.normalize import DECIMALS, z_scores
from ohlora_lib.measure.scores import ALL, ScoreError, score
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table

RELATIVE = 1e-9
NEAR_ZERO = 1e-12
"""Where a correlation or deviation cancels to 0, the original leaves its rounding noise."""
WHOLE = ("v1_eyes", "v1_hair_length", "v1_mouth", "v2_hair_length")
"""Counts and heights, halves at most: equal to the last bit."""
HALF_UNIT = 0.5 * 10**-DECIMALS + 1e-8
"""How far a value lies from its rounded self."""
PROSE = {"hairstyle_if_all_16_pixels_tested": "hairstyle_whole_blocks"}
"""A column that is not the original's: what its prose would give."""
NORMALIZED, STATUS = "reference_scores_normalised.csv", "reference_status.json"


class Row(NamedTuple):
    """One line of the report; `missed` says which values differ, empty where all agree."""

    what: str
    compared: int
    difference: float
    missed: str


def check(folder: Path) -> Iterator[Row]:
    """The report's lines, file by file."""
    maps, names = _arrays(folder / "parse_maps.npz", "maps", "names")
    (images,) = _arrays(folder / "images_rgb.npz", "images")
    ours = score(maps, images, ALL).set_axis(names.astype(str))
    yield from _compare_raw(ours, _table(folder / "reference_scores.csv", ours.index))
    if (folder / NORMALIZED).exists():
        yield from _compare_normalized(ours, _table(folder / NORMALIZED, ours.index))
    if (folder / STATUS).exists():
        yield _compare_status(ours.drop(columns=PROSE.values()), _status(folder / STATUS))


def _compare_raw(ours: pd.DataFrame, reference: pd.DataFrame) -> Iterator[Row]:
    """Every column of the reference, and every published score that it lacks."""
    reference = reference.rename(columns=PROSE)
    for column in reference:
        allowed = np.maximum(RELATIVE * np.abs(reference[column].to_numpy()), NEAR_ZERO)
        yield _compare(column, column, ours, reference, 0.0 if column in WHOLE else allowed)
    for column in ours.columns.difference([*reference.columns, *PROSE.values()]):
        yield Row(column, 0, np.nan, "the reference has no such score")


def _compare_normalized(ours: pd.DataFrame, reference: pd.DataFrame) -> Iterator[Row]:
    """Every normalized column, ours before rounding."""
    # Where a score never varies the original divides 0 by 0.
    varies = ours.nunique() > 1
    ours = z_scores(ours)(ours, decimals=None).where(varies, axis=1)
    for column in reference:
        yield _compare(f"{column}, normalized", column, ours, reference, HALF_UNIT)


def _compare(what: str, column: str, ours: pd.DataFrame, reference: pd.DataFrame, allowed) -> Row:
    """Compare one column; NaN agrees with NaN, and an infinity with itself only."""
    if column not in ours:
        return Row(what, 0, np.nan, "we have no such score")
    mine, theirs = ours[column].to_numpy(), reference[column].to_numpy()
    finite = np.isfinite(mine) & np.isfinite(theirs)
    difference = np.abs(np.where(finite, mine, 0) - np.where(finite, theirs, 0))
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    wrong = np.flatnonzero(~np.where(finite, difference <= allowed, same))
    missed = [f"{ours.index[i]}: {mine[i]:.17g}, not {theirs[i]:.17g}" for i in wrong]
    return Row(what, len(mine), difference.max(initial=0), "; ".join(missed))


def _compare_status(ours: pd.DataFrame, status: dict[str, dict[str, str]]) -> Row:
    """Where the original has no finite value, ours is what it says; elsewhere ours has one."""
    stated = {(name, score): text for name, of in status.items() for score, text in of.items()}
    values = ours.stack().to_dict()  # (name, score) -> value
    missed = [
        f"{name} {score}: ours is {values.get((name, score), 'not there')}, the original's: {text}"
        for (name, score), text in stated.items()
        if not _agrees(values.get((name, score), 0.0), text)
    ]
    missed += [
        f"{name} {score}: ours is {value}, the original has a value"
        for (name, score), value in values.items()
        if not np.isfinite(value) and (name, score) not in stated
    ]
    return Row("status", len(stated), np.nan, "; ".join(missed))


def _agrees(value: float, text: str) -> bool:
    """`returns inf` is that infinity; an exception, `returns None` and `returns nan` are NaN."""
    returned = text.removeprefix("returns ").strip()
    return value == float(returned) if returned.lstrip("+-") == "inf" else bool(np.isnan(value))


def _arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Arrays of an npz, or an error that names the file."""
    try:
        with np.load(path) as arrays:
            return [arrays[name] for name in names]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _table(path: Path, names: pd.Index) -> pd.DataFrame:
    """Scores of every map, in the maps' order."""
    table = read_table(path, ["index", "name"]).sort_values("index")
    rows = list(zip(table.pop("index"), table.pop("name").astype(str), strict=True))
    if rows != list(enumerate(names)):
        raise StoreError(f"{path}: its rows are not the {len(names)} maps of the folder")
    try:
        return table.astype(float)
    except ValueError as error:
        raise StoreError(f"{path}: a score is not a number: {error}") from error


def _status(path: Path) -> dict[str, dict[str, str]]:
    """What the original does where it has no finite value: map name -> score -> text."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is no JSON: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reference.scores", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    failed = total = 0
    try:
        for row in check(folder):
            difference = "-" if np.isnan(row.difference) else f"{row.difference:.1e}"
            mark = f"   MISS {row.missed}" if row.missed else ""
            print(f"{row.what:36} {row.compared:6} compared, off by {difference:>7}{mark}")
            total, failed = total + 1, failed + bool(row.missed)
    except (StoreError, ScoreError) as error:
        print(error, file=sys.stderr)
        return 1
    for file in (NORMALIZED, STATUS):
        if not (folder / file).exists():
            print(f"{file} is not there: not compared")
    print(f"{total - failed} of {total} agree" + (f", {failed} MISS" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
