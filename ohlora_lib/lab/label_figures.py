"""The figures, tables and sentences of notebook 02."""

from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.lab.figures import INK, MUTED, SERIES, labelled_sheet
from ohlora_lib.lab.label_and_filter import ANNOTATOR, Judged, Kept, Labelled, LabelSettings
from ohlora_lib.measure.annotate import INDEX, PROPERTIES
from ohlora_lib.measure.cutoffs import ALL, AT_LEAST, Cutoffs, passes
from ohlora_lib.store.images import ImageSet

PUBLISHED_PASSES = {"gender": 11_251, "quality": 12_147, "age": 6_857, "glass": 11_142, ALL: 4_930}
PUBLISHED_IMAGES = 13_000
"""How many of the published scores pass the published cutoffs."""
COLOURS = dict(zip(PROPERTIES, SERIES, strict=False))


def labels_table(labelled: Labelled) -> pd.DataFrame:
    """How many of the labelled faces are female, good, old, with glasses."""
    sets = {"generated": labelled.labels} | ({"rendered": labelled.extra} if labelled.extra else {})
    rows = {
        who: {"faces": len(labels.table), **labels.table[list(PROPERTIES)].sum()}
        for who, labels in sets.items()
    }
    names = {"gender": "female", "quality": "good", "age": "old", "glass": "with glasses"}
    return pd.DataFrame(rows).T.rename(columns=names).rename_axis("labelled")


def extra_told(labelled: Labelled) -> str:
    """Why faces of another kind are labelled too."""
    if labelled.extra is None:
        return "Only generated images were labelled."
    return (
        "Poor pictures, old people and glasses are rare among them, too rare to learn from so few "
        f"labels. So the same annotator labelled {len(labelled.extra.table):,} rendered faces too: "
        "a quarter each old, with glasses, with defects, and as they come. They train the CNNs and "
        "are no part of anything else on this page."
    )


def learning_curves(folds: pd.DataFrame, settings: LabelSettings) -> Figure:
    """Validation loss by epoch of each property's folds, with the kept epoch and the threshold."""
    figure, grid = pyplot.subplots(2, 2, figsize=(8.2, 5))
    for axes, name in zip(grid.flat, PROPERTIES, strict=True):
        for row in folds[folds["property"] == name].itertuples():
            losses = row.tries[row.kept]["losses"]
            epochs = np.arange(1, len(losses) + 1)
            axes.plot(epochs, losses, color=COLOURS[name], alpha=0.55, lw=1.3)
            axes.plot(row.best_epoch + 1, row.loss, "o", color=COLOURS[name], ms=5)
        threshold = settings.recipes[name].plan.accept
        axes.axhline(threshold, color=MUTED, ls="--", lw=1)
        axes.set(title=name, xlabel="epoch", ylabel="validation loss")
        axes.set_ylim(0, max(threshold * 1.1, axes.get_ylim()[1]))
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def folds_told(folds: pd.DataFrame) -> str:
    """How many networks, how many tries, and which were kept though no try passed."""
    tries = folds["tries"].map(len)
    again = int((tries > 1).sum())
    text = f"{len(folds)} networks; {again or 'none'} had to be trained again."
    failed = folds[~folds["accepted"]]
    if len(failed):
        names = ", ".join(f"{row.property} {row.fold}" for row in failed.itertuples())
        text += f" No try of these passed the threshold, so their best one is used: {names}."
    return text


def auroc_table(folds: pd.DataFrame, judged: dict[str, Judged]) -> pd.DataFrame:
    """AUROC of each fold on its held-out labels, and of the vote on whole sets of faces."""
    table = folds.pivot(index="property", columns="fold", values="auroc").loc[list(PROPERTIES)]
    table.columns = [f"fold {fold}" for fold in table.columns]
    for who, one in judged.items():
        table[f"vote, {who}"] = pd.Series(one.aurocs())
    return table


def histograms(scores: pd.DataFrame, settings: LabelSettings) -> Figure:
    """The scores of each property; the side of the cutoff that passes is coloured."""
    figure, grid = pyplot.subplots(2, 2, figsize=(8.2, 5))
    for axes, (name, cutoff) in zip(grid.flat, asdict(settings.limits).items(), strict=True):
        values = scores[name]
        passed = values >= cutoff if name in AT_LEAST else values <= cutoff
        bins = np.linspace(0, 1, 41)
        sets, colours = [values[passed], values[~passed]], [COLOURS[name], "#c9ced6"]
        labels = [f"passes: {passed.mean():.0%}", f"fails: {1 - passed.mean():.0%}"]
        axes.hist(sets, bins, stacked=True, color=colours, label=labels)
        axes.axvline(cutoff, color=INK, lw=1)
        sign = "≥" if name in AT_LEAST else "≤"
        axes.set(
            title=f"{name} {sign} {cutoff:g}", xlabel="score", ylabel="images", yscale="symlog"
        )
        axes.legend(loc="upper center")
    return figure


def passes_table(kept: Kept) -> pd.DataFrame:
    """How many images pass each cutoff and all; the published ones beside them."""
    rows = {}
    for name in (*PROPERTIES, ALL):
        passed, theirs = kept.passed[name], PUBLISHED_PASSES[name]
        rows["all four" if name == ALL else name] = {
            "passed": int(passed.sum()),
            "share": f"{passed.mean():.1%}",
            "published: passed": theirs,
            "published: share": f"{theirs / PUBLISHED_IMAGES:.1%}",
        }
    return (
        pd.DataFrame(rows).T.astype({"passed": int, "published: passed": int}).rename_axis("cutoff")
    )


def kept_told(kept: Kept, settings: LabelSettings) -> str:
    """How many are kept, and by which rule."""
    number, every = len(kept.numbers), len(kept.passed)
    if kept.by_rank:
        return (
            f"**Only {int(kept.passed[ALL].sum())} of {every:,} images pass all four cutoffs, "
            f"fewer than the {settings.least} that the next notebooks need. So the {number} "
            "best-ranked were taken instead, whether they pass or not.**"
        )
    return f"{number:,} of {every:,} images pass all four cutoffs: the filtered set."


def around_cutoffs(
    scores: pd.DataFrame, images: ImageSet, settings: LabelSettings, columns: int = 8
) -> Figure:
    """For each cutoff, the images that just pass it and those that just fail."""
    chosen, rows = [], []
    for name, cutoff in asdict(settings.limits).items():
        passed = passes(scores, Cutoffs(**{**dict.fromkeys(PROPERTIES), name: cutoff}))[name]
        order = (scores[name] - cutoff).abs().sort_values(kind="stable").index
        for told, side in (("passes", passed), ("fails", ~passed)):
            numbers = scores.loc[order[side[order].to_numpy()][:columns], INDEX].tolist()
            chosen += numbers + [None] * (columns - len(numbers))
            rows.append(f"{name}\njust {told}")
    return labelled_sheet(_pictures(images, chosen), columns, rows)


def _pictures(images: ImageSet, numbers: list[int | None]) -> np.ndarray:
    """Pictures of these numbers; white where there is none."""
    read = images.read(sorted({number for number in numbers if number is not None}))
    at = {number: place for place, number in enumerate(sorted(set(numbers) - {None}))}
    blank = np.full_like(read[0], 255)
    return np.stack([blank if number is None else read[at[number]] for number in numbers])


def filter_table(judged: dict[str, Judged], settings: LabelSettings) -> pd.DataFrame:
    """What the cutoffs let pass of faces about which a judge knows whether they fit."""
    rows = {}
    for who, one in judged.items():
        passed, fits = passes(one.scores, settings.limits)[ALL], one.fits
        rows[who] = {
            "faces": len(fits),
            "fit": _share(fits.sum(), len(fits)),
            "pass": int(passed.sum()),
            "fit, of those that pass": _share((passed & fits).sum(), passed.sum()),
            "pass, of those that fit": _share((passed & fits).sum(), fits.sum()),
        }
    table = pd.DataFrame(rows).T.rename_axis("judged by")
    return table.astype({"faces": int, "pass": int}) if rows else table


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def auroc_told(judged: dict[str, Judged], rare: int = 20) -> str:
    """The lowest AUROC of each judge, and which properties have few cases to measure on."""
    if not judged:
        return NOBODY
    parts = []
    for who, one in judged.items():
        found, few = pd.Series(one.aurocs()), _few_cases(one, rare)
        few = [f"{name} ({cases})" for name, cases in few.items()]
        text = f"against {who}: {found.min():.3f} or more ({found.idxmin()} is the hardest)"
        parts.append(text + (f", with few cases of {', '.join(few)}" if few else ""))
    return "AUROC of the vote " + "; ".join(parts) + "."


def _few_cases(one: Judged, rare: int = 20) -> dict[str, int]:
    """The properties of which this judge saw so few cases, or all but so few, and how many."""
    counts = one.answers[list(PROPERTIES)].sum()
    least = np.minimum(counts, len(one.answers) - counts)
    return {name: int(least[name]) for name in PROPERTIES if least[name] < rare}


NOBODY = "Nobody knows the truth about these images: how right the scores are is left out."


def fit_of_kept(kept: Kept, judged: dict[str, Judged]) -> str | None:
    """The share of kept images that fit, by the annotator network; None if it cannot say."""
    if ANNOTATOR not in judged:
        return None
    one = judged[ANNOTATOR]
    chosen = one.scores[INDEX].isin(kept.numbers)
    return _share((one.fits & chosen).sum(), chosen.sum())


def judges_told(kept: Kept, judged: dict[str, Judged]) -> str:
    """How many of the kept fit, by the judge that knows them, and how many of all."""
    share = fit_of_kept(kept, judged)
    if share is None:
        return NOBODY
    fits = judged[ANNOTATOR].fits
    return (
        f"By the annotator network {share} of the kept images fit the concept, and "
        f"{_share(fits.sum(), len(fits))} of all that could have been kept."
    )


def found(kept: Kept, judged: dict[str, Judged]) -> tuple[str, dict[str, str]]:
    """The page's finding and headline."""
    number, every, share = len(kept.numbers), len(kept.passed), fit_of_kept(kept, judged)
    how = "were taken by rank, as too few pass" if kept.by_rank else "pass all four cutoffs"
    told = f" {share} of these fit the concept, as the annotator network sees it." if share else ""
    headline = {"images kept": f"{number:,} of {every:,} ({number / every:.1%})"}
    for who, one in judged.items():
        few, values = _few_cases(one), []
        for name, value in one.aurocs().items():
            cases = f" ({few[name]} cases)" if few.get(name) else ""
            values.append("–" if np.isnan(value) else f"{value:.3f}{cases}")
        headline[f"AUROC of {' / '.join(PROPERTIES)}, by {who}"] = " / ".join(values)
    return f"{number:,} of {every:,} images {how}.{told}", headline
