"""What notebook 04 does and draws: the scores of all faces, their extremes, and their truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.measure.normalize import NORMALIZATIONS, Normalization, write_statistics
from ohlora_lib.measure.parse import PARSERS, Parser, default_scores, face_scores
from ohlora_lib.measure.rendered import TRUE_ATTRIBUTES, ParsedTruth
from ohlora_lib.measure.scores import (
    FIRST,
    MIN_BLOCKS,
    NO_HAIRSTYLE,
    ORIGINAL_HAIRSTYLE,
    SECOND,
    score,
)
from ohlora_lib.measure.segmentation import Segmentation, segment
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import INK, MUTED, SERIES
from ohlora_lib.runner.settings import Between, OneOf, Settings, SettingsError
from ohlora_lib.store import StoreError, inside_root
from ohlora_lib.store.tables import write_table
from ohlora_lib.toyworld.dataset import make_faces

OTHERS = {score: score for score in FIRST.values()} | {ORIGINAL_HAIRSTYLE: SECOND["hairstyle"]}
"""Beside the eight of `default_scores`: the first algorithm's seven, hair of any amount."""
DIFFERENT = ("eyes", "hair_color", "hair_length", "mouth", "pose")
"""What the two algorithms compute differently."""
WANTED = dict.fromkeys(
    ("eyes", "hair_color", "hair_length", "mouth", "pose", "background_mean"), 0.9
) | {"hairstyle": 0.7}
"""How closely the computed scores shall follow the truth on the toy world."""
MEANING = {
    "eyes": ("closed", "open"),
    "hair_color": ("dark", "light"),
    "hair_length": ("short", "long"),
    "mouth": ("closed", "open"),
    "pose": ("turned left", "turned right"),
    "background_mean": ("dark", "light"),
    "background_std": ("even", "uneven"),
    "hairstyle": ("straight", "curly"),
}
"""What the least and the largest score of each property mean."""


@dataclass(frozen=True)
class ScoreSettings(Settings):
    """Which parsed faces: 03's folder; without one, `rendered` faces, which also give the truth."""

    segmentation: str
    parser: Annotated[str, OneOf(PARSERS)]
    normalization: Annotated[str, OneOf(tuple(NORMALIZATIONS))]
    rendered: Annotated[int, Between(0, 100_000)]
    columns: Annotated[int, Between(2, 8)]


@dataclass(frozen=True)
class Scored:
    """Raw scores of all faces (NaN where there is none), the scale of complete ones.

    `raw` has idx, the eight under their properties' names, and OTHERS.
    """

    raw: pd.DataFrame
    normalization: Normalization

    @property
    def complete(self) -> pd.DataFrame:
        """The rows with a finite score of every property."""
        return self.raw[np.isfinite(self.raw[list(SECOND)]).all(axis=1)]

    @property
    def normalized(self) -> pd.DataFrame:
        """Of those: idx and the eight normalized scores."""
        table = self.normalization(self.complete)
        table.insert(0, "idx", self.complete["idx"])
        return table.reset_index(drop=True)


def parsed_faces(settings: ScoreSettings, folder: Path, parser: Parser) -> Segmentation:
    """03's; without a folder of it, the rendered faces parsed here."""
    if settings.segmentation:
        return Segmentation(inside_root(settings.segmentation))
    if not settings.rendered:
        raise SettingsError("rendered = 0: without a segmentation there are no faces to score")
    images = make_faces(folder / "rendered", settings.seed, settings.rendered).images
    return segment(images, images.table["index"].to_numpy(), folder, parser)


def score_all(made: Segmentation, method: str, parser: Parser) -> Scored:
    """Score every parsed face, some at a time."""
    which = {**default_scores(parser), **OTHERS}
    parts = [face_scores(parsed, which) for parsed in made.batches()]
    raw = pd.concat(parts, ignore_index=True)
    raw.insert(0, "idx", made.boxes["idx"].to_numpy())
    complete = raw.loc[np.isfinite(raw[list(SECOND)]).all(axis=1), list(SECOND)]
    if len(complete) < 2:
        raise StoreError(
            f"{made.folder}: {len(complete)} of {len(raw)} faces have all eight scores, which is "
            "too few to normalize: look in notebook 03 at what the parser finds"
        )
    return Scored(raw, NORMALIZATIONS[method](complete))


def write(scored: Scored, folder: Path, method: str) -> None:
    """Leave scores.parquet, normalized.parquet and statistics.json."""
    write_table(scored.raw, folder / "scores.parquet")
    write_table(scored.normalized, folder / "normalized.parquet")
    write_statistics(scored.normalization, folder / "statistics.json", method)


def summary(scored: Scored) -> pd.DataFrame:
    """Mean, deviation and range of each raw score, and how many faces have none."""
    raw = scored.raw[list(SECOND)].replace([np.inf, -np.inf], np.nan)
    table = raw.agg(["mean", "std", "min", "median", "max"]).T
    table["no value"] = raw.isna().sum()
    return table.rename_axis("property").rename(columns={"std": "standard deviation"})


def left_out_told(scored: Scored) -> str:
    """How many faces have all scores, and which are at a value that stands for 'none'."""
    complete, total = len(scored.complete), len(scored.raw)
    hairstyle, original = scored.raw["hairstyle"], scored.raw[ORIGINAL_HAIRSTYLE]
    unread = hairstyle == NO_HAIRSTYLE
    few = unread & (original != NO_HAIRSTYLE)
    told = (
        f"{complete:,} of {total:,} faces have all eight scores; only they are normalized and go "
        f"on. The hairstyle of {unread.mean():.1%} is set to {NO_HAIRSTYLE}: in the lower half "
        "they show no hair, or too little to tell."
    )
    if few.any():
        told += (
            f" Too little are fewer than {MIN_BLOCKS} blocks: so {few.sum():,} of these "
            f"{unread.sum():,} faces. The original reads them too: it gives them "
            f"{original[few].min():.2f} to {original[few].max():.2f}, where faces with more hair "
            f"have {hairstyle[~unread].mean():.2f} ± {hairstyle[~unread].std():.2f}."
        )
    return told


def histograms(scored: Scored) -> Figure:
    """How each raw score is spread."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4.2))
    for axes, name in zip(grid.flat, SECOND, strict=True):
        values = scored.complete[name]
        low, high = values.quantile([0.002, 0.998])
        axes.hist(values.clip(low, high), bins=26, color=SERIES[1], alpha=0.85)
        axes.axvline(values.mean(), color=INK, lw=1, ls="--")
        least, most = MEANING[name]
        axes.set(title=name, xlabel=f"{least}  →  {most}")
    for axes in grid[:, 0]:
        axes.set_ylabel("faces")
    return figure


def correlations(table: pd.DataFrame) -> Figure:
    """The matrix of correlations between the eight scores."""
    matrix = table[list(SECOND)].corr().to_numpy()
    figure, axes = pyplot.subplots(figsize=(6.2, 5))
    shown = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    names = [name.replace("_", " ") for name in SECOND]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        color = "white" if abs(value) > 0.6 else INK
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, size=8)
    figure.colorbar(shown, label="correlation", shrink=0.8)
    return figure


def strongest_told(table: pd.DataFrame) -> str:
    """Which two scores go together most."""
    matrix = table[list(SECOND)].corr()
    pairs = matrix.where(np.triu(np.ones(matrix.shape, bool), 1)).stack()
    first, second = pairs.abs().idxmax()
    return (
        f"{first} and {second} go together most (correlation {pairs[first, second]:+.2f}): faces "
        "that differ in one tend to differ in the other, and so will what is learnt from them."
    )


def extremes(made: Segmentation, scored: Scored, columns: int) -> Figure:
    """Each property's least and most extreme faces, from the least to the largest score."""
    pictures, labels = [], []
    boxes = made.boxes.set_index("idx")
    for name in SECOND:
        order = scored.complete.sort_values(name, kind="stable")["idx"]
        ends = pd.concat([order.head(columns), order.tail(columns)])
        rows = boxes.loc[ends].reset_index()
        pictures.append(made.read(rows).faces)
        labels.append(name.replace("_", "\n"))
    heads = [""] * (2 * columns)
    heads[0], heads[columns] = "least …", "… largest"
    figure = labeled_sheet(np.concatenate(pictures), 2 * columns, rows=labels, heads=heads)
    axes = figure.axes[0]
    axes.set_aspect("auto")  # or the layout cuts the longest label off
    axes.axvline(columns * (pictures[0].shape[2] + 4) - 2, color=INK, lw=1.5)
    return figure


def first_against_second(scored: Scored) -> Figure:
    """Both algorithms' scores of the same faces."""
    figure, grid = pyplot.subplots(1, len(DIFFERENT), figsize=(8.6, 2.3))
    for axes, name in zip(grid, DIFFERENT, strict=True):
        axes.plot(
            scored.raw[FIRST[name]], scored.raw[name], ".", ms=2.5, color=SERIES[1], alpha=0.4
        )
        axes.set(title=name, xlabel="first")
    grid[0].set_ylabel("second algorithm")
    return figure


def agreement(scored: Scored, truth: pd.DataFrame | None) -> pd.DataFrame:
    """How far the two algorithms agree, and which follows the truth better where it is known."""
    finite = scored.raw.replace([np.inf, -np.inf], np.nan)
    rows = {
        name: {"first with second": finite[name].corr(finite[FIRST[name]])} for name in DIFFERENT
    }
    table = pd.DataFrame(rows).T.rename_axis("property")
    if truth is not None:
        kept = truth.loc[list(DIFFERENT)]
        table["first with truth"], table["second with truth"] = kept["first"], kept["second"]
    return table


def against_truth(rendered: ParsedTruth, parser: Parser) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of rendered faces, and their correlations with the true attributes.

    `second` and `first` algorithm through the parser; `true maps`: second, had the parser no error.
    """
    known, all_scores = rendered.parsed.found, {**default_scores(parser), **OTHERS}
    scores = face_scores(rendered.parsed, all_scores)[known].reset_index(drop=True)
    exact = score(rendered.maps[known], rendered.parsed.faces[known], all_scores)
    attributes = rendered.attributes[known].reset_index(drop=True)
    rows = {}
    for name, attribute in (
        TRUE_ATTRIBUTES | {ORIGINAL_HAIRSTYLE: TRUE_ATTRIBUTES["hairstyle"]}
    ).items():
        tables = {"second": scores[name], "true maps": exact[name]}
        if name in DIFFERENT:
            tables["first"] = scores[FIRST[name]]
        rows[name] = {"true attribute": attribute} | {
            which: _corr(values, attributes[attribute]) for which, values in tables.items()
        }
        rows[name]["wanted"] = WANTED.get(name, np.nan)
    columns = ["true attribute", "second", "first", "true maps", "wanted"]
    table = pd.DataFrame(rows).T[columns].rename_axis("property")
    return scores.join(attributes.add_suffix(" (true)")), table.astype(
        dict.fromkeys(columns[1:], float)
    )


def _corr(values: pd.Series, truth: pd.Series) -> float:
    return float(values.replace([np.inf, -np.inf], np.nan).corr(truth))


def truth_scatter(faces: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Computed score over true attribute, property by property."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4.6))
    for axes, (name, attribute) in zip(grid.flat, TRUE_ATTRIBUTES.items(), strict=True):
        axes.plot(faces[f"{attribute} (true)"], faces[name], ".", ms=3, color=SERIES[3], alpha=0.5)
        axes.set_title(name)
        told = f"r = {table.at[name, 'second']:.2f}"
        axes.text(0.04, 0.9, told, transform=axes.transAxes, color=INK)
        axes.set_xlabel(f"true {attribute.replace('_', ' ')}", color=MUTED)
    for axes in grid[:, 0]:
        axes.set_ylabel("computed score")
    return figure


def truth_told(table: pd.DataFrame) -> str:
    """Whether the scores follow the truth as closely as is wanted."""
    wanted = table.dropna(subset="wanted")
    short = wanted[~(wanted["second"].abs() >= wanted["wanted"])]
    if short.empty:
        return f"All {len(wanted)} scores of which it is asked follow the truth closely enough."
    told = ", ".join(f"{name} ({row.second:.2f})" for name, row in short.iterrows())
    return f"Not as close to the truth as asked: {told}."


def found(scored: Scored, table: pd.DataFrame | None) -> tuple[str, dict[str, str]]:
    """The page's finding and headline."""
    number = len(scored.complete)
    sentence = f"{number:,} of {len(scored.raw):,} faces have all eight scores"
    headline = {"faces scored": f"{number:,}"}
    if table is None:
        return f"{sentence}; how true they are is not known for these faces.", headline
    wanted = table.dropna(subset="wanted")["second"].abs()
    sentence += (
        ", and on rendered faces the scores correlate with what was drawn by "
        f"{wanted.min():.2f} ({wanted.idxmin()}) to {wanted.max():.2f} ({wanted.idxmax()})."
    )
    names = ("eyes", "mouth", "pose", "hairstyle")
    told = " / ".join(f"{wanted[name]:.2f}" for name in names)
    return sentence, headline | {f"correlation with the truth, {' / '.join(names)}": told}
