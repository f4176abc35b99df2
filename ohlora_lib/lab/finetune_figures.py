"""What notebook 05 draws and tells: the training's course, and the faces before and after it."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.lab.finetune import CONCEPT, Effect
from ohlora_lib.measure.similarity import compare
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import MUTED, SERIES
from ohlora_lib.steering.select import wilson_interval
from ohlora_lib.store.images import ImageSet
from ohlora_lib.train.finetune import FineTuning
from ohlora_lib.train.finetune_loop import SAME_Z

ROWS = 5
"""Rows of the sheet that follows the same z: the first look, some between, the last."""

PUBLISHED_FEMALE = {"v1": (0.556, 0.937)}
"""Female share before and after, of the original project's first form (seed document 001)."""

PUBLISHED = {
    "v1": "The published training of this form moved the female share from 55.6 % to 93.7 %.",
    "v8": "Of 13,000 faces made by the published FineTune-v1, the filter kept 4,930 (37.9 %) to "
    "train this form on; what share its own faces reach was not published.",
    "v9": "No shares were published for this form.",
}


def target_told(training: FineTuning) -> str:
    """The sentence about the filtered faces and the plan."""
    plan, form, count = training.plan, training.form, len(training.target.images)
    epochs = plan.steps * plan.batch / count
    label = "with their seven scores as label" if form.labeled else "with zeros as label"
    mixing = f", style mixing in {form.mixing:.0%} of them" if form.mixing else ", no style mixing"
    return (
        f"Form {form.name} on {count:,} filtered faces, {label}{mixing}: {plan.steps:,} steps of "
        f"{plan.batch} faces ({epochs:.1f} epochs), AdamW at {plan.learning_rate:g} (the mapping "
        f"at {plan.learning_rate * plan.mapping_factor:g}), logistic loss, R1 with gamma "
        f"{plan.gamma:g} at every {_ordinal(plan.penalty_every)}step."
    )


def _ordinal(number: int) -> str:
    return (
        "" if number == 1 else f"{number}th " if number > 3 else ("second ", "third ")[number - 2]
    )


def what_trains(training: FineTuning) -> pd.DataFrame:
    """How many values of each network train, how many are frozen, and where they lie."""
    rows = {}
    for name in ("generator", "discriminator"):
        parameters = list(training.parts[name].named_parameters())
        count = {
            on: sum(p.numel() for _, p in parameters if p.requires_grad is on)
            for on in (True, False)
        }
        layers = dict.fromkeys(_layer(key) for key, p in parameters if p.requires_grad)
        rows[name] = {
            "trained": count[True],
            "frozen": count[False],
            "what trains": ", ".join(layers),
        }
    return pd.DataFrame(rows).T.rename_axis("network").astype({"trained": int, "frozen": int})


def _layer(key: str) -> str:
    parts = key.split(".")
    return parts[1] if parts[0] == "synthesis" else parts[0]


def course(log: pd.DataFrame) -> Figure:
    """The losses of both networks, and how well the discriminator tells real from made."""
    told = log.dropna(subset=["discriminator"])
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.6, 3))
    for name, color in (("generator", SERIES[0]), ("discriminator", SERIES[1])):
        if name in told:
            left.plot(told.step, told[name], "o-", ms=3, color=color, label=name)
    left.set(xlabel="step", ylabel="logistic loss", title="Losses", ylim=(0, None))
    left.legend()
    right.plot(told.step, told.auroc, "o-", ms=3, color=SERIES[3])
    right.axhline(0.5, color=MUTED, ls="--", lw=1)
    right.annotate(
        "chance", (told.step.iloc[0], 0.5), (2, 3), textcoords="offset points", color=MUTED
    )
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(xlabel="step", ylabel="AUROC", title="Real from made faces", ylim=(-0.02, 1.02))
    return figure


def course_told(log: pd.DataFrame) -> str:
    """The sentence about who led."""
    told = log.dropna(subset=["discriminator"])
    first, last, steps = told.auroc.iloc[0], told.auroc.iloc[-1], told["generator steps"]
    repeated = (
        f"The generator's loss was twice the discriminator's often enough that it took "
        f"{steps.mean():.1f} steps for each of the discriminator's."
        if steps.mean() > 1.05
        else "The generator hardly ever had to catch up: it took one step for each of the other's."
    )
    return (
        f"The discriminator told filtered from made faces with an AUROC of {first:.2f} over its "
        f"first {told.step.iloc[0]:,} steps and of {last:.2f} over its last ones. {repeated}"
    )


def properties(log: pd.DataFrame, fresh: int) -> Figure:
    """Mean gender, quality, age and glass of fresh faces through the training."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3))
    labels = ("gender (female)", "quality (good)", "age (old)", "glass (wears glasses)")
    for name, label, color in zip(FILTER_PROPERTIES, labels, SERIES, strict=False):
        axes.plot(log.step, log[name], "o-", ms=3, color=color, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step", ylabel=f"mean of {fresh} fresh faces", ylim=(-0.03, 1.03))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def same_z(folder: Path) -> Figure:
    """The faces of the same z, from before the training (top) to after it (bottom)."""
    kept = ImageSet(folder / SAME_Z)
    table = kept.table
    steps = np.unique(table.step)
    chosen = steps[np.unique(np.linspace(0, len(steps) - 1, ROWS).round().astype(int))]
    rows = table[table.step.isin(chosen)]
    names = ["before", *(f"step {step:,}" for step in chosen[1:-1]), "after"]
    columns = int((table.step == 0).sum())
    return labeled_sheet(kept.read(rows["index"]), columns, rows=names)


def shares(effect: Effect) -> pd.DataFrame:
    """Share of faces, before and after, with its 95 % interval (Wilson's): a row per demand."""
    rows = {}
    for name in effect.before.fits:
        sides = {"before": effect.before, "after": effect.after, "filtered set": effect.target}
        rows[_named(name)] = {side: _share(judged.fits[name]) for side, judged in sides.items()}
    return pd.DataFrame(rows).T.rename_axis("share of faces")


def _named(demand: str) -> str:
    return f"**{demand}**: all four" if demand == CONCEPT else demand


def _share(yes: pd.Series) -> str:
    low, high = wilson_interval(int(yes.sum()), len(yes))
    return f"{yes.mean():.1%} ({low:.1%} to {high:.1%})"


def share_figure(effect: Effect, form: str) -> Figure:
    """Each share before and after with its interval; the published one beside it."""
    figure, axes = pyplot.subplots(figsize=(7.4, 2.9))
    names = list(effect.before.fits)
    sides = (("before", effect.before, MUTED, -0.13), ("after", effect.after, SERIES[0], 0.13))
    for side, judged, color, shift in sides:
        at = np.arange(len(names)) + shift
        share = judged.fits.mean().to_numpy()
        ends = np.array(
            [wilson_interval(int(judged.fits[n].sum()), len(judged.fits)) for n in names]
        )
        error = np.clip([share - ends[:, 0], ends[:, 1] - share], 0, None)
        axes.errorbar(share, at, xerr=error, fmt="o", ms=5, color=color, label=side, capsize=2)
    if form in PUBLISHED_FEMALE:
        axes.scatter(
            PUBLISHED_FEMALE[form],
            [-0.32, -0.32],
            marker="v",
            s=28,
            color=SERIES[1],
            label="published, before and after",
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="share of faces", xlim=(-0.02, 1.02))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def diversity(effect: Effect) -> pd.DataFrame:
    """How alike the faces are to the filtered set, before and after."""
    rows = {
        side: compare(effect.target.features, judged.features).to_dict()
        for side, judged in (("before", effect.before), ("after", effect.after))
    }
    names = {
        "precision": "precision: made faces that lie among the filtered",
        "recall": "recall: filtered faces that lie among the made",
        "density": "density: how thickly the made lie among the filtered",
        "coverage": "coverage: filtered faces with a made one near",
        "frechet": "Fréchet distance",
    }
    return (
        pd.DataFrame(rows)
        .loc[list(names)]
        .rename(index=names)
        .rename_axis("against the filtered set")
    )


def diversity_told(table: pd.DataFrame) -> str:
    """Whether the training collapsed, by coverage."""
    before, after = table[table.index.str.startswith("coverage")].iloc[0]
    if not before:
        return "Before the training no filtered face had a made one near, so a fall cannot show."
    kept = after / before
    verdict = (
        "no collapse"
        if kept >= 2 / 3
        else "**a collapse**: more than a third of the variety is gone"
    )
    return (
        f"Coverage went from {before:.2f} to {after:.2f}, {kept:.2f} times what it was: {verdict}."
    )


def headline(effect: Effect, table: pd.DataFrame) -> dict[str, str]:
    """The page's headline numbers."""
    before, after = effect.before.fits.mean(), effect.after.fits.mean()
    cover = table[table.index.str.startswith("coverage")].iloc[0]
    return {
        "female": f"{before.female:.1%} → {after.female:.1%}",
        CONCEPT: f"{before[CONCEPT]:.1%} → {after[CONCEPT]:.1%}",
        "coverage of the filtered set": f"{cover['before']:.2f} → {cover['after']:.2f}",
    }


def found(form: str, effect: Effect) -> str:
    """The page's sentence."""
    before, after = effect.before.fits.mean(), effect.after.fits.mean()
    moved = f"{after[CONCEPT] / before[CONCEPT]:.1f} times" if before[CONCEPT] else "none before"
    return (
        f"Fine-tuning in the form {form} brought the female share from {before.female:.1%} to "
        f"{after.female:.1%}, and young, good-quality women without glasses from "
        f"{before[CONCEPT]:.1%} to {after[CONCEPT]:.1%} ({moved}): {effect.judge} judged "
        f"{len(effect.after.fits):,} fresh faces."
    )
