"""What notebook 08 shows: tables, figures and sentences of the image generation test."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.lab.figures import INK, MUTED, SERIES, labelled_sheet
from ohlora_lib.lab.find_vectors import COLOURS
from ohlora_lib.lab.steering import Ready, SteeringSettings, factors, pictures, strips
from ohlora_lib.vectors import comparison
from ohlora_lib.vectors.control_test import of_meter
from ohlora_lib.vectors.directions import EXPRESSION
from ohlora_lib.vectors.responses import MOUTH, POSE
from ohlora_lib.vectors.select import V7_FIRST, V8, passes

PUBLISHED = pd.DataFrame(
    [
        ["v7, 15 %", 2400, 0.9023, 0.8673, 0.7951, 58],
        ["v8, 20 %", 2000, 0.8744, 0.8465, 0.8735, 49],
        ["v9 mixed", 2000, 0.9198, 0.8159, 0.8372, 43],
        ["v9 svm_ms2", 2000, 0.8726, 0.8443, 0.8813, 38],
    ],
    columns=["method", "latents", *EXPRESSION, "passed"],
)
"""The published rows: real faces, the CNN as meter with its dropout on; v7 by v7's cutoffs."""


def table(tested: pd.DataFrame) -> pd.DataFrame:
    """Methods × mean correlation on both meters and pass rates with their intervals."""
    rows = {}
    for meter, label in (("cnn", "CNN"), ("parse", "parser")):
        means = comparison.mean_correlations(tested, meter)
        rows[f"{label}: mean corr. eyes / mouth / pose"] = means.apply(_triple, axis=1)
        for cutoffs, word in ((V8, "pass"), (V7_FIRST, "strict pass")):
            rates = comparison.pass_rates(tested, meter, cutoffs)
            rows[f"{label}: {word}"] = rates.apply(_rate, axis=1)
    ours = pd.DataFrame({"latents": tested.groupby("method", sort=False).size()} | rows)
    return pd.concat([ours, _published()]).rename_axis("method")


def _published() -> pd.DataFrame:
    rows = PUBLISHED.set_index("method")
    cells = pd.DataFrame(
        {
            "latents": rows.latents,
            "CNN: mean corr. eyes / mouth / pose": rows[list(EXPRESSION)].apply(_triple, axis=1),
            "CNN: pass": rows.apply(lambda row: f"{row.passed / row.latents:.1%}", axis=1),
        }
    )
    cells.loc[cells.index[0], "CNN: strict pass"] = cells.iloc[0]["CNN: pass"]
    cells.loc[cells.index[0], "CNN: pass"] = np.nan
    return cells.set_axis([f"*published: {name}*" for name in rows.index])


def _triple(row: pd.Series) -> str:
    return " / ".join("–" if np.isnan(row[n]) else f"{row[n]:.2f}" for n in EXPRESSION)


def _rate(row: pd.Series) -> str:
    return f"{row.rate:.0%} ({max(row.low, 0):.0%}–{row.high:.0%})"


def side_effects_table(tested: pd.DataFrame) -> pd.DataFrame:
    """Methods × what moves along per deviation of the target, gains, and recentring's change."""
    effects, gains = comparison.side_effects(tested), comparison.gains(tested)
    labels = {"background": "background", "outline": "outline", "identity": "identity"}
    shown = pd.DataFrame({"other scores, eyes / mouth / pose": effects.apply(_triple, axis=1)})
    for column, label in labels.items():
        shown[label] = effects[column]
    filters = [name for name in comparison.STILL if name.endswith("_change")]
    shown["gender, quality, age, glass"] = effects[filters].apply(
        lambda row: " / ".join(f"{value:.2f}" for value in row), axis=1
    )
    shown["gain parser ÷ CNN"] = gains.apply(_triple, axis=1)
    moved = tested.groupby("method", sort=False)["recentred_identity"].mean()
    shown["moved by recentring"] = moved.where(moved > 0)
    return shown.rename_axis("method")


def steps_table(ready: Ready) -> pd.DataFrame:
    """What the rule made of each method's own unit."""
    rows = {name: factors(method) for name, method in ready.methods.items()}
    return pd.DataFrame(rows, index=list(EXPRESSION)).T.rename_axis("one unit asked for is")


def pass_figure(tested: pd.DataFrame) -> Figure:
    """Pass rates on both meters with their intervals, a line per method."""
    names = list(tested["method"].unique())
    figure, axes = pyplot.subplots(figsize=(8.6, 1.1 + 0.42 * len(names)))
    for offset, (meter, label, colour) in enumerate(
        (("cnn", "property CNN", SERIES[1]), ("parse", "parser and computed scores", SERIES[0]))
    ):
        rates = comparison.pass_rates(tested, meter, V8)
        at = np.arange(len(names)) + 0.18 * (2 * offset - 1)
        spread = np.clip([rates.rate - rates.low, rates.high - rates.rate], 0, None)
        axes.errorbar(rates.rate, at, xerr=spread, fmt="o", color=colour, label=label, capsize=2)
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
    return labelled_sheet(images, 5, rows, heads)


def sheet(ready: Ready, name: str, idx: int, seed: int) -> Figure:
    """Mouth × pose of one latent, eyes in the middle."""
    requests = np.float32([(0, mouth, pose) for mouth in MOUTH for pose in POSE])
    images = pictures(ready, name, idx, seed, requests)
    rows = [f"mouth {level:g}" for level in MOUTH]
    return labelled_sheet(images, 5, rows, [f"pose {level:g}" for level in POSE])


def extremes(tested: pd.DataFrame, name: str) -> tuple[int, int]:
    """The latents of a method's highest and lowest sum of correlations on both meters."""
    mine = tested[(tested["method"] == name) & (tested["part"] == "test")].set_index("idx")
    sums = sum(mine[f"{m}_{p}_corr"].fillna(-1) for m in comparison.METERS for p in EXPRESSION)
    return int(sums.idxmax()), int(sums.idxmin())


def failing_figure(tested: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Where a latent's own face lies, against how well it follows: who has no room, fails."""
    figure, grid = pyplot.subplots(
        len(names), 3, figsize=(8.6, 2.3 * len(names)), sharey=True, squeeze=False
    )
    cutoffs = asdict(V8)
    for row, name in zip(grid, names, strict=True):
        mine = tested[tested["method"] == name]
        for axes, one in zip(row, EXPRESSION, strict=True):
            axes.scatter(mine[f"drawn_{one}"], mine[f"cnn_{one}_corr"], s=14, lw=0,
                         color=COLOURS[one])  # fmt: skip
            axes.axhline(cutoffs[one], color=MUTED, lw=1, ls="--")
            axes.set(xlabel=f"own {one} (deviations)")
        row[0].set_ylabel(f"{name.split(',')[0]}\ncorrelation")
        row[0].annotate("cutoff", (0.02, cutoffs["eyes"]), xycoords=("axes fraction", "data"),
                        va="bottom", fontsize=7, color=INK)  # fmt: skip
    return figure


def failing_told(tested: pd.DataFrame, name: str) -> str:
    """Why this method's failing latents fail, from the rows."""
    mine = of_meter(tested[tested["method"] == name], "cnn")
    passed = passes(mine, V8, upwards=True)
    if passed.all():
        return f"With '{name}' all {len(mine)} latents pass the cutoffs: none is left to explain."
    cutoffs = pd.Series(asdict(V8))
    missed = {one: int((~(mine[f"{one}_corr"] >= cutoffs[one])).sum()) for one in EXPRESSION}
    worst = max(missed, key=missed.get)
    own = mine[f"drawn_{worst}"].abs()
    fails = ~(mine[f"{worst}_corr"] >= cutoffs[worst])
    counts = ", ".join(f"{one} {count}" for one, count in missed.items())
    told = (
        f"Of {len(mine)} latents with '{name}', {int((~passed).sum())} fail; so many miss the "
        f"cutoff of each property: {counts}."
    )
    if fails.any() and (~fails).any():
        told += (
            f" Those that miss it for {worst} lie {own[fails].mean():.2f} deviations from the mean "
            f"of {worst} to begin with, the others {own[~fails].mean():.2f}; a unit asked for "
            f"moves them by {mine.loc[fails, f'{worst}_slope'].mean():.2f} and "
            f"{mine.loc[~fails, f'{worst}_slope'].mean():.2f} deviations, and everything else by "
            f"{mine.loc[fails, f'{worst}_spill'].mean():.2f} and "
            f"{mine.loc[~fails, f'{worst}_spill'].mean():.2f}."
        )
    return told


def tightened_told(tested: pd.DataFrame, baseline: str, best: str) -> str:
    """Where the baseline passes too often to compare: the ratio at tighter cutoffs."""
    cutoffs, added = comparison.tightened(tested, baseline, "cnn")
    seen = {m: comparison.pass_rates(tested, m, cutoffs) for m in comparison.METERS}
    asked = "/".join(f"{value:.3f}".lstrip("0") for value in asdict(cutoffs).values())
    raised = f"raised by {added:g}" if added else "as published"
    ours, theirs = seen["cnn"].loc[best], seen["cnn"].loc[baseline]
    times = f", {ours.rate / theirs.rate:.0f} times as many" if theirs.rate else ""
    return (
        f"At cutoffs {raised} ({asked}) '{baseline}' passes {_rate(theirs)} and '{best}' "
        f"{_rate(ours)} on the CNN{times}; on the independent meter "
        f"{_rate(seen['parse'].loc[baseline])} and {_rate(seen['parse'].loc[best])}."
    )


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
    """The page's sentence and headline figures."""
    last = fresh_part(tested)
    shown = last if {baseline, best} <= set(last["method"]) else tested
    seen = {m: comparison.pass_rates(shown, m, V7_FIRST) for m in comparison.METERS}
    rates = {m: one.rate for m, one in seen.items()}
    count = int((shown["method"] == best).sum())
    sentence = (
        f"At the strict cutoffs '{baseline}' passes {rates['cnn'][baseline]:.0%} of {count} "
        "latents on the CNN and "
        f"{rates['parse'][baseline]:.0%} on the independent meter; '{best}' "
        f"{rates['cnn'][best]:.0%} and {rates['parse'][best]:.0%}."
    )
    headline = {
        f"{name}, {label}": _rate(seen[meter].loc[name])
        for name in dict.fromkeys((baseline, best))
        for meter, label in (("cnn", "CNN"), ("parse", "independent meter"))
    }
    return sentence, headline | {"latents": f"{count}"}


def rule_told(settings: SteeringSettings) -> str:
    """The rule, with its numbers."""
    return (
        f"Set on {settings.calibration} latents; from end to end of its levels a property may "
        f"change the background by at most {settings.background:.0%} of what two faces differ by."
    )
