"""What notebook 08 shows: tables, figures and sentences of the image generation test."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.lab.recipe import read_name
from ohlora_lib.lab.steering import Ready, SteeringSettings, factors, pictures, strips
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import INK, MUTED, SERIES
from ohlora_lib.steering import comparison
from ohlora_lib.steering.fit import DIRECTIONS
from ohlora_lib.steering.responses import MOUTH, POSE
from ohlora_lib.steering.select import CUTOFFS_V7, CUTOFFS_V8

PUBLISHED = pd.DataFrame(
    [
        ["v7, 15 %", 2400, 0.9023, 0.8673, 0.7951, 164, 58],
        ["v8, 20 %", 2000, 0.8744, 0.8465, 0.8735, 49, 16],
        ["v9 mixed", 2000, 0.9198, 0.8159, 0.8372, 43, np.nan],
        ["v9 svm_ms2", 2000, 0.8726, 0.8443, 0.8813, 38, np.nan],
    ],
    columns=["method", "latents", *EXPRESSION, "pass", "strict pass"],
)
"""The published rows: real faces, the CNN as meter with its dropout on. How many pass either
cutoffs is counted in the published tables (`vectors.select`); v9's are not among them."""

LABELS = {"cnn": "CNN", "parser": "parser"}
DOTS = {
    "cnn": ("property CNN", SERIES[1]),
    "parser": ("parser and computed scores", SERIES[0]),
}
FEW = 5
"""Latents: of fewer no mean is told."""


def table(tested: pd.DataFrame) -> pd.DataFrame:
    """Methods × mean correlation on both meters and pass rates with their intervals."""
    rows = {}
    for meter, label in LABELS.items():
        means = comparison.mean_correlations(tested, meter)
        rows[f"{label}: mean corr. eyes / mouth / pose"] = means.apply(_triple, axis=1)
        for cutoffs, word in ((CUTOFFS_V8, "pass"), (CUTOFFS_V7, "strict pass")):
            rates = comparison.pass_rates(tested, meter, cutoffs)
            rows[f"{label}: {word}"] = rates.apply(_rate, axis=1)
    if "annotator_eyes_corr" in tested:
        rates = comparison.pass_rates(tested, "annotator", CUTOFFS_V7)
        rows["annotator: strict pass"] = rates.apply(_rate, axis=1)
    ours = pd.DataFrame({"latents": tested.groupby("method", sort=False).size()} | rows)
    return pd.concat([ours, _published()]).rename_axis("method")


def _published() -> pd.DataFrame:
    rows = PUBLISHED.set_index("method")
    cells = pd.DataFrame(
        {
            "latents": rows.latents,
            "CNN: mean corr. eyes / mouth / pose": rows[list(EXPRESSION)].apply(_triple, axis=1),
        }
    )
    for word in ("pass", "strict pass"):
        cells[f"CNN: {word}"] = [
            np.nan if np.isnan(passed) else f"{passed:.0f} ({passed / tested:.2%})"
            for passed, tested in zip(rows[word], rows.latents, strict=True)
        ]
    return cells.set_axis([f"*published: {name}*" for name in rows.index])


def _triple(row: pd.Series) -> str:
    return " / ".join("–" if np.isnan(row[n]) else f"{row[n]:.2f}" for n in EXPRESSION)


def _rate(row: pd.Series) -> str:
    return f"{row.rate:.0%} ({max(row.low, 0):.0%}–{row.high:.0%})"


def side_effects_table(tested: pd.DataFrame) -> pd.DataFrame:
    """Methods × what moves along per deviation of the target, gains, and recentering's change."""
    effects, gains = comparison.side_effects(tested), comparison.gains(tested)
    labels = {"background": "background", "outline": "outline", "identity": "identity"}
    shown = pd.DataFrame({"other scores, eyes / mouth / pose": effects.apply(_triple, axis=1)})
    for column, label in labels.items():
        shown[label] = effects[column]
    filters = [name for name in comparison.UNWANTED if name.endswith("_change")]
    shown["gender, quality, age, glass"] = effects[filters].apply(
        lambda row: " / ".join(f"{value:.2f}" for value in row), axis=1
    )
    shown["gain parser ÷ CNN"] = gains.apply(_triple, axis=1)
    shown["variation of slopes"] = comparison.slope_variation(tested).apply(_triple, axis=1)
    moved = tested.groupby("method", sort=False)["recentering_change"].mean()
    shown["moved by recentering"] = moved.where(moved > 0)
    return shown.rename_axis("method")


def steps_table(ready: Ready) -> pd.DataFrame:
    """What the rule made of each method's own unit."""
    rows = {name: factors(method) for name, method in ready.methods.items()}
    return pd.DataFrame(rows, index=list(EXPRESSION)).T.rename_axis("one unit asked for is")


def pass_figure(tested: pd.DataFrame) -> Figure:
    """Pass rates on both meters with their intervals, a line per method."""
    names = list(tested["method"].unique())
    figure, axes = pyplot.subplots(figsize=(8.6, 1.1 + 0.42 * len(names)))
    for offset, (meter, (label, color)) in enumerate(DOTS.items()):
        rates = comparison.pass_rates(tested, meter, CUTOFFS_V8)
        at = np.arange(len(names)) + 0.18 * (2 * offset - 1)
        spread = np.clip([rates.rate - rates.low, rates.high - rates.rate], 0, None)
        axes.errorbar(rates.rate, at, xerr=spread, fmt="o", color=color, label=label, capsize=2)
    axes.set(
        xlim=(-0.03, 1.03), xlabel="share of latents that pass .92/.88/.88, with 95 % interval"
    )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper right", ncol=2)
    return figure


def strips_figure(ready: Ready, names: Sequence[str], idx: int, seed: int) -> Figure:
    """The same latent by two methods, a row per property."""
    images = np.concatenate([strips(ready, name, idx, seed) for name in names])
    rows = [f"{name.split(',')[0]}:\n{one}" for name in names for one in EXPRESSION]
    heads = ["lowest", "", "middle", "", "highest"]
    return labeled_sheet(images, 5, rows, heads)


def sheet(ready: Ready, name: str, idx: int, seed: int) -> Figure:
    """Mouth × pose of one latent, eyes in the middle."""
    requests = np.float32([(0, mouth, pose) for mouth in MOUTH for pose in POSE])
    images = pictures(ready, name, idx, seed, requests)
    rows = [f"mouth {level:g}" for level in MOUTH]
    return labeled_sheet(images, 5, rows, [f"pose {level:g}" for level in POSE])


def extremes(tested: pd.DataFrame, name: str) -> tuple[int, int]:
    """The latents of a method's highest and lowest sum of correlations on both meters."""
    mine = tested[(tested["method"] == name) & (tested["part"] == "test")].set_index("idx")
    sums = sum(mine[f"{m}_{p}_corr"].fillna(-1) for m in comparison.METERS for p in EXPRESSION)
    return int(sums.idxmax()), int(sums.idxmin())


def most_told(tested: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """These methods' rows: of the latents that confirm, or of the first if not all are there."""
    fresh = fresh_part(tested)
    part = fresh if set(names) <= set(fresh["method"]) else tested[tested["part"] == "test"]
    return part[part["method"].isin(names)]


def failing_figure(tested: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Where a latent's own face lies, against how well it follows on either meter."""
    figure, grid = pyplot.subplots(
        len(names), 3, figsize=(8.6, 2.3 * len(names)), sharey=True, squeeze=False
    )
    cutoffs = asdict(CUTOFFS_V8)
    for row, name in zip(grid, names, strict=True):
        mine = tested[tested["method"] == name]
        for axes, one in zip(row, EXPRESSION, strict=True):
            for meter, (label, color) in DOTS.items():
                axes.scatter(mine[f"unedited_{one}"], mine[f"{meter}_{one}_corr"], s=9, lw=0,
                             alpha=0.6, color=color, label=label)  # fmt: skip
            axes.axhline(cutoffs[one], color=MUTED, lw=1, ls="--")
            axes.set(xlabel=f"own {one} (deviations)")
        row[0].set_ylabel(f"{name.split(',')[0]}\ncorrelation")
        row[0].annotate("cutoff", (0.02, cutoffs["eyes"]), xycoords=("axes fraction", "data"),
                        va="bottom", fontsize=7, color=INK)  # fmt: skip
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncol=2)
    return figure


def failing_told(tested: pd.DataFrame, name: str) -> str:
    """How many of this method's latents fail on either meter, for which property, and how those
    differ that fail for the most frequent one."""
    mine = tested[tested["method"] == name]
    parts = []
    for meter, label in LABELS.items():
        missed = _missed(mine, meter)
        fail = int(missed.any(axis=1).sum())
        counts = ", ".join(f"{one} {missed[one].sum()}" for one in EXPRESSION)
        parts.append(f"on the {label} {fail} (for {counts})" if fail else f"on the {label} none")
    told = f"Of {len(mine)} latents with '{name}' so many miss a cutoff: {'; '.join(parts)}."
    return told + _difference_told(mine)


def _missed(mine: pd.DataFrame, meter: str) -> pd.DataFrame:
    """Which latents (rows) miss the cutoff of which property."""
    return pd.DataFrame(
        {
            one: ~(mine[f"{meter}_{one}_corr"] >= cutoff)
            for one, cutoff in asdict(CUTOFFS_V8).items()
        }
    )


def _difference_told(mine: pd.DataFrame) -> str:
    """Of the meter and property that most latents fail on: where these begin, how far they go."""
    missed = {(meter, one): _missed(mine, meter)[one] for meter in LABELS for one in EXPRESSION}
    meter, worst = max(missed, key=lambda which: missed[which].sum())
    fails = missed[meter, worst]
    if min(fails.sum(), (~fails).sum()) < FEW:
        return ""
    own, slope = mine[f"unedited_{worst}"].abs(), mine[f"{meter}_{worst}_slope"]
    return (
        f" Those that miss it for {worst} on the {LABELS[meter]} lie {own[fails].mean():.2f} "
        f"deviations from the mean of {worst} to begin with, the others {own[~fails].mean():.2f}; "
        f"a unit asked for moves those by {slope[fails].mean():.2f} deviations and the others by "
        f"{slope[~fails].mean():.2f}."
    )


def tightened_told(tested: pd.DataFrame, baseline: str, best: str) -> str:
    """Where the baseline passes too often to compare: the ratio at tighter cutoffs."""
    cutoffs, added = comparison.raised_cutoffs(tested, baseline, "cnn")
    seen = {m: comparison.pass_rates(tested, m, cutoffs) for m in comparison.METERS}
    asked = "/".join(f"{value:.3f}".lstrip("0") for value in asdict(cutoffs).values())
    raised = f"raised by {added:g}, to {asked}," if added else f"as published, {asked},"
    ours, theirs = seen["cnn"].loc[best], seen["cnn"].loc[baseline]
    times = f", {ours.rate / theirs.rate:.0f} times as many" if theirs.rate else ""
    told = (
        f"At cutoffs {raised} '{baseline}' passes {_rate(theirs)} and '{best}' {_rate(ours)} on "
        f"the CNN{times}; on the independent meter {_rate(seen['parser'].loc[baseline])} and "
        f"{_rate(seen['parser'].loc[best])}."
    )
    if added:
        told += (
            f" They are raised alike until '{baseline}' passes with at most a tenth of these very "
            "latents on the CNN."
        )
    return told


def stiller_told(tested: pd.DataFrame, best: str) -> str:
    """How much of the other methods' side effects the best one has."""
    effects = comparison.side_effects(tested)
    shares = (effects.loc[best] / effects.drop(best)).round(2)
    rows = [
        f"the other scores {_triple(row)} (eyes / mouth / pose) and the background "
        f"{row.background:.2f} of what '{name}' does"
        for name, row in shares.iterrows()
    ]
    return f"Per deviation of its target '{best}' changes {'; '.join(rows)}." if rows else ""


def confirmed_table(tested: pd.DataFrame) -> pd.DataFrame:
    """What the latents say that no choice of method ever saw."""
    return table(fresh_part(tested)).dropna(subset=["parser: pass"])


def fresh_part(tested: pd.DataFrame) -> pd.DataFrame:
    """The rows of the latents that confirm."""
    return tested[tested["part"] == "confirmation"]


def dropout_told(tested: pd.DataFrame) -> str:
    """What the original's dropout noise takes from the correlations."""
    if "dropout_eyes_corr" not in tested:
        return (
            "The CNN meter of this run has no dropout that could be left on, as the original's was."
        )
    with_noise = comparison.mean_correlations(tested, "dropout").mean()
    without = comparison.mean_correlations(tested, "cnn").mean()
    lost = ", ".join(f"{one} {without[one]:.3f} → {with_noise[one]:.3f}" for one in EXPRESSION)
    return f"With dropout left on, as the original measured, mean correlations become: {lost}."


def found(tested: pd.DataFrame, baseline: str, best: str) -> tuple[str, dict[str, str]]:
    """The page's sentence and headline figures, of both methods and of the baseline's set steps."""
    names = [baseline, *(n for n in (f"{baseline}, steps", best) if n in set(tested["method"]))]
    names = list(dict.fromkeys(names))
    shown = most_told(tested, names)
    seen = {meter: comparison.pass_rates(shown, meter, CUTOFFS_V7) for meter in LABELS}
    rates = "; ".join(
        f"'{name}' {seen['cnn'].rate[name]:.0%} and {seen['parser'].rate[name]:.0%}"
        for name in names
    )
    count = int((shown["method"] == best).sum())
    sentence = (
        f"At the strict cutoffs so many of {count} latents pass on the CNN and on the independent "
        f"meter: {rates}."
    )
    headline = {
        f"{name}, {label}": _rate(seen[meter].loc[name])
        for name in names
        for meter, label in (("cnn", "CNN"), ("parser", "independent meter"))
    }
    return sentence, headline | {"latents": f"{count}"}


def methods_table(names: Sequence[str]) -> pd.DataFrame:
    """What is behind each method's name."""
    recipes = {name: read_name(name) for name in names}
    rows = {
        name: {
            "directions": DIRECTIONS[recipe.directions],
            "steps": "by the rule" if recipe.calibrated else "their own",
            "measured at each latent": "yes" if recipe.per_latent else "no",
            "recenterd": "yes" if recipe.recentered else "no",
            "enters": "layers {}-{}".format(*recipe.layers) if recipe.layers else "all layers",
        }
        for name, recipe in recipes.items()
    }
    return pd.DataFrame(rows).T.rename_axis("method")


def sheet_title(tested: pd.DataFrame, name: str, idx: int, which: str) -> str:
    """Which latent a sheet shows, by which method, and how well it follows."""
    row = tested[(tested["method"] == name) & (tested["idx"] == idx)].iloc[0]
    told = " / ".join(
        f"{min(row[f'{meter}_{one}_corr'] for meter in LABELS):.2f}" for one in EXPRESSION
    )
    return f"The latent that follows '{name}' {which}: correlations {told}, on the stricter meter"


def witness_told(settings: SteeringSettings) -> str:
    """Whether what should not move is measured by networks that know such faces."""
    if settings.parser == "embedded":
        return "All that reads these faces was trained on such faces."
    return (
        "**The annotator has seen toy faces only. What it says of photographs, of who is seen and "
        "of gender, quality, age and glasses, is not calibrated: take it for a hint.**"
    )


def rule_told(settings: SteeringSettings) -> str:
    """The rule, with its numbers."""
    return (
        f"Set on {settings.calibration} latents; from end to end of its levels a property may "
        f"change the background by at most {settings.background:.0%} of what two faces differ by."
    )
