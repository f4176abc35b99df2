"""The figures, tables and sentences of notebook 02."""

from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.faces.concept import ALL, AT_LEAST, Cutoffs, passes
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.lab.label_and_filter import ANNOTATOR, TRUTH, Judged, Kept, Labeled, LabelSettings
from ohlora_lib.measure.labels import INDEX
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import INK, MUTED, SERIES
from ohlora_lib.store.images import ImageSet

PUBLISHED_PASSES = {"gender": 11_251, "quality": 12_147, "age": 6_857, "glass": 11_142, ALL: 4_930}
PUBLISHED_IMAGES = 13_000
"""How many of the published scores pass the published cutoffs: of FineTune-v1's images."""
COLORS = dict(zip(FILTER_PROPERTIES, SERIES, strict=False))


def labels_table(labeled: Labeled) -> pd.DataFrame:
    """How many of the labeled faces are female, good, old, with glasses."""
    sets = {"generated": labeled.labels} | ({"rendered": labeled.extra} if labeled.extra else {})
    rows = {
        who: {"faces": len(labels.table), **labels.table[list(FILTER_PROPERTIES)].sum()}
        for who, labels in sets.items()
    }
    names = {"gender": "female", "quality": "good", "age": "old", "glass": "with glasses"}
    return pd.DataFrame(rows).T.rename(columns=names).rename_axis("labeled")


def extra_told(labeled: Labeled) -> str:
    """Why faces of another kind are labeled too."""
    if labeled.extra is None:
        return "Only generated images were labeled."
    return (
        "Poor pictures, old people and glasses are rare among them, too rare to learn from so few "
        f"labels. So the same annotator labeled {len(labeled.extra.table):,} rendered faces too: "
        "a quarter each old, with glasses, with defects, and as they come. They train the CNNs and "
        "are no part of anything else on this page."
    )


def learning_curves(folds: pd.DataFrame, settings: LabelSettings) -> Figure:
    """Validation loss by epoch of each property's folds, with the kept epoch and the threshold."""
    figure, grid = pyplot.subplots(2, 2, figsize=(8.2, 5))
    for axes, name in zip(grid.flat, FILTER_PROPERTIES, strict=True):
        for row in folds[folds["property"] == name].itertuples():
            losses = row.tries[row.kept]["losses"]
            epochs = np.arange(1, len(losses) + 1)
            axes.plot(epochs, losses, color=COLORS[name], alpha=0.55, lw=1.3)
            axes.plot(row.best_epoch + 1, row.loss, "o", color=COLORS[name], ms=5)
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
    table = folds.pivot(index="property", columns="fold", values="auroc").loc[
        list(FILTER_PROPERTIES)
    ]
    table.columns = [f"fold {fold}" for fold in table.columns]
    for who, one in judged.items():
        table[f"vote, {who}"] = pd.Series(one.aurocs())
    return table


def histograms(scores: pd.DataFrame, settings: LabelSettings) -> Figure:
    """The scores of each property; the side of the cutoff that passes is colored."""
    figure, grid = pyplot.subplots(2, 2, figsize=(8.2, 5))
    for axes, (name, cutoff) in zip(grid.flat, asdict(settings.limits).items(), strict=True):
        values = scores[name]
        passed = values >= cutoff if name in AT_LEAST else values <= cutoff
        bins = np.linspace(0, 1, 41)
        sets, colors = [values[passed], values[~passed]], [COLORS[name], "#c9ced6"]
        labels = [f"passes: {passed.mean():.0%}", f"fails: {1 - passed.mean():.0%}"]
        axes.hist(sets, bins, stacked=True, color=colors, label=labels)
        axes.axvline(cutoff, color=INK, lw=1)
        title = f"{name} {_cutoff_told(settings.limits, name)}"
        axes.set(title=title, xlabel="score", ylabel="images", yscale="symlog")
        axes.legend(loc="upper center")
    return figure


def passes_table(kept: Kept, settings: LabelSettings) -> pd.DataFrame:
    """How many images pass each cutoff and all; the published cutoffs and numbers beside them."""
    rows = {}
    for name in (*FILTER_PROPERTIES, ALL):
        passed, theirs = kept.passed[name], PUBLISHED_PASSES[name]
        rows["all four" if name == ALL else name] = {
            "cutoff": _cutoff_told(settings.limits, name),
            "passed": int(passed.sum()),
            "share": f"{passed.mean():.1%}",
            "published: cutoff": _cutoff_told(Cutoffs(), name),
            "published: passed": theirs,
            "published: share": f"{theirs / PUBLISHED_IMAGES:.1%}",
        }
    table = pd.DataFrame(rows).T.rename_axis("property")
    return table.astype({"passed": int, "published: passed": int})


def _cutoff_told(cutoffs: Cutoffs, name: str) -> str:
    if name == ALL:
        return ""
    return f"{'≥' if name in AT_LEAST else '≤'} {getattr(cutoffs, name):g}"


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
        passed = passes(scores, Cutoffs(**{**dict.fromkeys(FILTER_PROPERTIES), name: cutoff}))[name]
        order = (scores[name] - cutoff).abs().sort_values(kind="stable").index
        for told, side in (("passes", passed), ("fails", ~passed)):
            numbers = scores.loc[order[side[order].to_numpy()][:columns], INDEX].tolist()
            chosen += numbers + [None] * (columns - len(numbers))
            rows.append(f"{name}\njust {told}")
    return labeled_sheet(_pictures(images, chosen), columns, rows)


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
    counts = one.answers[list(FILTER_PROPERTIES)].sum()
    least = np.minimum(counts, len(one.answers) - counts)
    return {name: int(least[name]) for name in FILTER_PROPERTIES if least[name] < rare}


NOBODY = "Nobody knows the truth about these images: how right the scores are is left out."


def judges_told(kept: Kept, judged: dict[str, Judged], settings: LabelSettings) -> str:
    """How many fit of rendered faces that pass and of all, and of the kept images and of all."""
    if not judged:
        return NOBODY
    of_all = {who: _share(one.fits.sum(), len(one.fits)) for who, one in judged.items()}
    return (
        f"{_passing_told(judged[TRUTH], settings)}; of all rendered ones {of_all[TRUTH]} fit. By "
        f"the annotator network {_fit_of_kept(kept, judged[ANNOTATOR])} of the kept images fit, "
        f"and {of_all[ANNOTATOR]} of all that could have been kept."
    )


def _passing_told(rendered: Judged, settings: LabelSettings) -> str:
    """How many fit of the rendered faces that pass."""
    passed = passes(rendered.scores, settings.limits)[ALL]
    if not passed.any():
        return "No rendered face passes"
    share = _share((passed & rendered.fits).sum(), passed.sum())
    return f"Of rendered faces that pass, {share} fit the concept"


def _fit_of_kept(kept: Kept, one: Judged) -> str:
    """The share of the kept images that fit, by a judge that knows them."""
    chosen = one.scores[INDEX].isin(kept.numbers)
    return _share((one.fits & chosen).sum(), chosen.sum())


def found(
    kept: Kept, judged: dict[str, Judged], settings: LabelSettings
) -> tuple[str, dict[str, str]]:
    """The page's finding and headline."""
    number, every = len(kept.numbers), len(kept.passed)
    how = "were taken by rank, as too few pass" if kept.by_rank else "pass all four cutoffs"
    sentence = f"{number:,} of {every:,} images {how}."
    if judged:
        sentence += (
            f" {_passing_told(judged[TRUTH], settings)}; of the kept images, as the annotator "
            f"network sees them, {_fit_of_kept(kept, judged[ANNOTATOR])} fit."
        )
    headline = {"images kept": f"{number:,} of {every:,} ({number / every:.1%})"}
    for who, one in judged.items():
        few, values = _few_cases(one), []
        for name, value in one.aurocs().items():
            cases = f" ({few[name]} cases)" if few.get(name) else ""
            values.append("–" if np.isnan(value) else f"{value:.3f}{cases}")
        headline[f"AUROC of {' / '.join(FILTER_PROPERTIES)}, by {who}"] = " / ".join(values)
    return sentence, headline
