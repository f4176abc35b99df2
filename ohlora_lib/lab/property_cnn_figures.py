"""The figures, tables and sentences of notebook 06."""

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.lab.property_cnn import PROPERTIES, Checked, Faces
from ohlora_lib.lab.segment import overlay
from ohlora_lib.measure.parse import Parser, parse
from ohlora_lib.measure.rendered import TRUE_ATTRIBUTES
from ohlora_lib.measure.scores import MIN_BLOCKS, ORIGINAL_HAIRSTYLE
from ohlora_lib.models.annotator import Annotator
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import INK, MUTED, SERIES
from ohlora_lib.train.regressor import Trained

PUBLISHED_FIT = {ORIGINAL_HAIRSTYLE: {"correlation": 0.7669, "mean error": 0.4144}}
"""Of the third version's hairstyle CNN, on its held-out images (its training log, epoch 18). The
logs of the other seven outputs are not among the published tables."""
WANTED = dict.fromkeys(
    ("eyes", "hair_color", "hair_length", "mouth", "pose", "background_mean"), 0.9
) | {"hairstyle": 0.75}
"""How closely the CNN shall follow the computed scores on held-out generated images."""
WORST = 0.1  # of the rendered faces, those where the parser's score is furthest off


def faces_told(faces: Faces) -> str:
    """How many faces taught, and how many could not."""
    unknown = int(faces.raw[list(PROPERTIES)].isna().all(axis=1).sum())
    told = f"{len(faces.raw) - faces.test:,} faces to learn from, {faces.test:,} to test on"
    if not unknown:
        return f"{told}; the parser found a face in all of them."
    return f"{told}; in {unknown:,} of them the parser found no face."


def curves(trained: Trained) -> Figure:
    """Losses of every branch, and the epoch that was kept."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4))
    for axes, (name, curve) in zip(grid.flat, trained.curves.groupby("branch"), strict=False):
        epochs = curve["epoch"] + 1
        axes.plot(epochs, curve["training"], color=MUTED, lw=1.3, label="training")
        axes.plot(epochs, curve["validation"], color=SERIES[0], lw=1.6, label="validation")
        kept = curve[curve["kept"]]
        axes.plot(kept["epoch"] + 1, kept["validation"], "o", color=SERIES[0], ms=5, label="kept")
        axes.set(title=name.replace("_", " "))
        axes.set_ylim(0, min(1.5, axes.get_ylim()[1]))
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("loss")
    for axes in grid[1, :3]:
        axes.set_xlabel("epoch")
    grid[1, 3].set_axis_off()
    grid[1, 3].legend(*grid[0, 0].get_legend_handles_labels(), loc="center")
    return figure


def fit_table(table: pd.DataFrame) -> pd.DataFrame:
    """Each property's correlation and error on the test faces, beside what was published."""
    rows = {}
    for name in (*PROPERTIES, ORIGINAL_HAIRSTYLE):
        said = table["predicted_hairstyle" if name == ORIGINAL_HAIRSTYLE else f"predicted_{name}"]
        computed = table[f"computed_{name}"]
        gap = said - computed
        rows[name] = {
            "correlation": said.corr(computed),
            "of ranks": said.corr(computed, method="spearman"),  # outliers may rule the other
            "wanted": WANTED.get(name),
            "mean error": gap.abs().mean(),
            "root mean square": np.sqrt((gap**2).mean()),
        }
        for key, value in PUBLISHED_FIT.get(name, {}).items():
            rows[name][f"published {key}"] = value
    return pd.DataFrame(rows).T.astype(float).rename_axis("property")


def fit_scatter(table: pd.DataFrame, fit: pd.DataFrame) -> Figure:
    """Predicted over computed score, property by property."""
    figure, grid = pyplot.subplots(2, 4, figsize=(8.6, 4.6))
    for axes, name in zip(grid.flat, PROPERTIES, strict=True):
        said, computed = table[f"predicted_{name}"], table[f"computed_{name}"]
        axes.plot(computed, said, ".", ms=3.5, color=SERIES[1], alpha=0.5)
        ends = [np.nanmin([computed.min(), said.min()]), np.nanmax([computed.max(), said.max()])]
        axes.plot(ends, ends, color=INK, lw=0.8, ls="--")
        axes.set_title(name)
        told = f"r = {fit.at[name, 'correlation']:.2f}"
        axes.text(0.04, 0.9, told, transform=axes.transAxes, color=INK)
    for axes in grid[:, 0]:
        axes.set_ylabel("predicted")
    for axes in grid[1]:
        axes.set_xlabel("computed")
    return figure


def fit_told(fit: pd.DataFrame) -> str:
    """Which properties are read as closely as wanted."""
    asked = fit.dropna(subset="wanted")
    short = asked[~(asked["correlation"] >= asked["wanted"])]
    if short.empty:
        return f"All {len(asked)} properties of which it is asked are read closely enough."
    told = ", ".join(f"{name} ({row.correlation:.2f})" for name, row in short.iterrows())
    return f"Not as close to the computed score as asked: {told}."


def original_told(table: pd.DataFrame) -> str:
    """How many faces have another hairstyle in the original, which reads hair of any amount."""
    original, computed = table[f"computed_{ORIGINAL_HAIRSTYLE}"], table["computed_hairstyle"]
    others = (original - computed).abs() > 1e-6
    if not others.any():
        return "The hairstyle is the original's score."
    return (
        f"The hair of {others.sum()} of these faces counts as none, since it has fewer than "
        f"{MIN_BLOCKS} blocks. The original gives them a hairstyle of "
        f"{original[others].abs().max():.0f} deviations at most; the table's last row compares "
        "with it."
    )


def third_reading(annotator: Annotator, faces: Faces, table: pd.DataFrame) -> pd.DataFrame:
    """Test faces as the annotator reads them: does it agree with the parser, or with the CNN?"""
    said = annotator.annotate(faces.test_images).attributes
    rows = {}
    for name, attribute in TRUE_ATTRIBUTES.items():
        third = pd.Series(said[attribute], dtype=float)
        rows[name] = {
            "with the computed score": third.corr(table[f"computed_{name}"]),
            "with the CNN": third.corr(table[f"predicted_{name}"]),
        }
    return pd.DataFrame(rows).T.rename_axis("the annotator's correlation, by property")


def furthest_apart(faces: Faces, table: pd.DataFrame, parser: Parser) -> Figure:
    """For each property the test face on which CNN and parser differ most, and what was read."""
    pictures, heads = [], []
    for name in PROPERTIES:
        said, computed = table[f"predicted_{name}"], table[f"computed_{name}"]
        row = (said - computed).abs().fillna(0).idxmax()
        pictures.append(faces.test_images[row])
        title = name.replace("_", "\n")
        heads.append(f"{title}\nCNN {said[row]:+.1f}\nmap {computed[row]:+.1f}")
    parsed = parse(np.stack(pictures), parser)
    images = np.concatenate([parsed.faces, overlay(parsed.faces, parsed.maps)])
    return labeled_sheet(images, len(heads), rows=["face", "read as"], heads=heads)


def repairs(checked: Checked) -> pd.DataFrame:
    """Where the parser is furthest off: its error and the CNN's; who follows the truth."""
    rows = {}
    for name, attribute in TRUE_ATTRIBUTES.items():
        wrong = (checked.computed[name] - checked.exact[name]).abs()
        cnn = (checked.said[name] - checked.exact[name]).abs()
        worst = wrong.sort_values(ascending=False, kind="stable").index
        worst = worst[: max(3, round(WORST * len(wrong)))]
        rows[name] = {
            "parser's error there": wrong[worst].mean(),
            "CNN's error there": cnn[worst].mean(),
            "CNN nearer": (cnn[worst] < wrong[worst]).mean(),
            "computed with truth": checked.computed[name].corr(checked.attributes[attribute]),
            "CNN with truth": checked.said[name].corr(checked.attributes[attribute]),
        }
    return pd.DataFrame(rows).T.rename_axis("property")


def repair_bars(table: pd.DataFrame) -> Figure:
    """The parser's and the CNN's error on the faces that the parser reads worst."""
    figure, axes = pyplot.subplots(figsize=(7.4, 3.2))
    place = np.arange(len(table))
    for shift, column, color in (
        (-0.2, "parser's error there", SERIES[5]),
        (0.2, "CNN's error there", SERIES[0]),
    ):
        axes.bar(place + shift, table[column], width=0.38, color=color, label=column)
    names = [name.replace("_", "\n") for name in table.index]
    axes.set_xticks(place, names)
    axes.set_ylabel("distance from the true map's score\n(standard deviations)")
    axes.grid(axis="x", visible=False)
    axes.legend()
    return figure


def repairs_told(table: pd.DataFrame, count: int) -> str:
    """For which properties the CNN mends the parser's worst readings."""
    better = table.index[table["CNN nearer"] > 0.5]
    worst = max(3, round(WORST * count))
    told = ", ".join(better) if len(better) else "no property"
    over_all = table.index[table["CNN with truth"] > table["computed with truth"]]
    return (
        f"On the {worst} of {count} rendered faces that the parser reads worst, the CNN is nearer "
        f"to the true map's score on most for {told}. That is no wonder of the faces where it errs "
        f"most: over all {count} the CNN follows what was drawn more closely than the computed "
        f"score for {', '.join(over_all) if len(over_all) else 'no property'}. It never saw a "
        "rendered face."
    )


def found(fit: pd.DataFrame, faces: Faces) -> tuple[str, dict[str, str]]:
    """The page's finding and headline."""
    asked = fit.dropna(subset="wanted")["correlation"]
    sentence = (
        f"On {faces.test:,} faces that taught nothing the CNN follows the computed scores with "
        f"correlations of {asked.min():.2f} ({asked.idxmin()}) to {asked.max():.2f} "
        f"({asked.idxmax()})."
    )
    names = ("eyes", "mouth", "pose", "hairstyle")
    told = " / ".join(f"{fit.at[name, 'correlation']:.2f}" for name in names)
    return sentence, {
        "faces to learn from": f"{len(faces.raw) - faces.test:,}",
        f"correlation, {' / '.join(names)}": told,
    }
