"""Compare our property scores with those of the original code.

A folder has parse_maps.npz (`maps`, `names`), images_rgb.npz (`images`), reference_scores.csv, and
may have reference_scores_normalised.csv and reference_status.json (where the original fails). Whole
numbers must be equal, the rest to 1e-9 relative; where the reference has no value, ours is NaN.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.measure.normalize import DECIMALS, z_scores
from ohlora_lib.measure.scores import ALL, score
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table
from tests.reference.golden import Row

RELATIVE = 1e-9
NEAR_ZERO = 1e-12
"""Where a correlation or deviation cancels to 0, the original has rounding noise."""
WHOLE = ("v1_eyes", "v1_hair_length", "v1_mouth", "v2_hair_length")
"""Counts and heights, multiples of a half: must be equal."""
HALF_UNIT = 0.5 * 10**-DECIMALS + 1e-8
"""Largest error of rounding to DECIMALS places."""
PROSE = {"hairstyle_if_all_16_pixels_tested": "hairstyle_whole_blocks"}
"""A column that the original does not compute: its documentation's definition."""
NORMALIZED, STATUS = "reference_scores_normalised.csv", "reference_status.json"


def check(folder: Path) -> Iterator[Row]:
    """The table's rows; a StoreError or ScoreError if a file cannot be used."""
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
        exact = column in WHOLE
        yield _compare(
            column, ours, reference, 0.0 if exact else allowed, "0" if exact else "1e-9 relative"
        )
    for column in ours.columns.difference([*reference.columns, *PROSE.values()]):
        yield _row(column, np.nan, "-", "the reference has no such score")


def _compare_normalized(ours: pd.DataFrame, reference: pd.DataFrame) -> Iterator[Row]:
    """Every normalized column, ours before rounding."""
    # Where a score never varies the original divides 0 by 0.
    varies = ours.nunique() > 1
    ours = z_scores(ours)(ours, decimals=None).where(varies, axis=1)
    for column in reference:
        yield _compare(column, ours, reference, HALF_UNIT, "rounding", " normalized")


def _compare(
    column: str,
    ours: pd.DataFrame,
    reference: pd.DataFrame,
    allowed: float | np.ndarray,
    tolerance: str,
    suffix: str = "",
) -> Row:
    """Compare one column; NaN agrees with NaN, and an infinity with itself only."""
    what = column + suffix
    if column not in ours:
        return _row(what, np.nan, "-", "we have no such score")
    mine, theirs = ours[column].to_numpy(), reference[column].to_numpy()
    finite = np.isfinite(mine) & np.isfinite(theirs)
    difference = np.abs(np.where(finite, mine, 0) - np.where(finite, theirs, 0))
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    wrong = np.flatnonzero(~np.where(finite, difference <= allowed, same))
    missed = [f"{ours.index[i]}: {mine[i]:.17g}, not {theirs[i]:.17g}" for i in wrong]
    return _row(what, difference.max(initial=0), tolerance, "; ".join(missed))


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
    return _row("status", np.nan, "same failures", "; ".join(missed))


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


def _row(what: str, difference: float, tolerance: str, missed: str) -> Row:
    shown = "-" if np.isnan(difference) else f"{difference:.1e}"
    return Row("property scores", what, shown, tolerance, not missed, missed)
