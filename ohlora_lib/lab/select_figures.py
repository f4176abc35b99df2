"""What notebook 09 shows: tables, figures and sentences of the choice."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.lab.select_vectors import Chosen, SelectSettings
from ohlora_lib.plots.sheets import labeled_sheet
from ohlora_lib.plots.style import INK, SERIES
from ohlora_lib.steering.control_test import meter_columns
from ohlora_lib.steering.ohlora import FACES_FILE, OhLora
from ohlora_lib.steering.responses import EYES, MIDDLE, MOUTH, POSE, REQUESTS
from ohlora_lib.steering.select import CUTOFFS_V8, passes, wilson_interval
from ohlora_lib.steering.selection_rules import GRADES, funnel_counts, rejection_reasons

STRAIGHT = 0.01
"""Up to this share of the movement, arrows in w count as exact."""


def funnel_figure(chosen: Chosen) -> Figure:
    """How many latents are left after each stage."""
    left = funnel_counts(chosen.table)
    figure, axes = pyplot.subplots(figsize=(8.6, 2.2))
    axes.barh(left.index, left, color=SERIES[1])
    for place, count in enumerate(left):
        axes.text(count, place, f" {count:,}", va="center", color=INK)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="latents", xlim=(0, left.max() * 1.08))
    return figure


def funnel_told(chosen: Chosen, settings: SelectSettings) -> str:
    """Of which latents, by which method, and whether the rules sufficed."""
    whose = "of a saved selection" if settings.selection else "that no earlier step saw"
    low, high = wilson_interval(int(chosen.table["passes_both"].sum()), len(chosen.table))
    told = (
        f"{len(chosen.table):,} latents {whose}, steered by '{chosen.method.name}'; on both meters "
        f"{chosen.table['passes_both'].mean():.0%} pass (95 % interval "
        f"{max(low, 0):.0%} to {high:.0%})."
    )
    table = chosen.table[chosen.table["selected"]]
    broken = table[~table["fits"]]
    if picked := int(broken["picked"].sum()):
        told += f" {picked} of the {len(table)} chosen break a rule: a person chose them."
    if filled := len(broken) - picked:
        told += (
            f" {filled} of the {len(table)} chosen break a rule: fewer than "
            f"{settings.rule.min_selected} fit, so the next best were taken."
        )
    return told


def none_told(settings: SelectSettings) -> str:
    """That nobody was chosen, and what to change."""
    remedy = (
        f"set `chosen` to 1 for some latents in {settings.picks}"
        if settings.picks
        else "test more `latents`, or let `least` be 1 or more: then the next best are taken"
    )
    return f"None was chosen, so there are no faces to show and none are left: {remedy}."


def lost_table(chosen: Chosen) -> pd.DataFrame:
    """Why latents were not chosen."""
    reasons = rejection_reasons(chosen.table)
    return reasons[reasons > 0].to_frame().rename_axis("why not selected")


def grade_table(chosen: Chosen) -> pd.DataFrame:
    """A row per chosen latent: group, grades, correlations on both meters."""
    table = chosen.table.iloc[chosen.rows].reset_index(drop=True)
    shown = pd.DataFrame({"latent": table["idx"], "group": table["group_name"]})
    for name in EXPRESSION:
        shown[name] = table[f"{name}_grade"]
    for meter, label in (("cnn", "CNN"), ("parser", "parser")):
        corr = [table[f"{meter}_{name}_corr"].map("{:.2f}".format) for name in EXPRESSION]
        shown[f"{label} corr. eyes / mouth / pose"] = [" / ".join(row) for row in zip(*corr)]  # noqa: B905
    shown["background"] = table["background"]
    return shown.set_index("latent")


def grades_told(chosen: Chosen) -> str:
    """How the grades are spread, and by which rule."""
    table = chosen.table[chosen.table["selected"]]
    counts = {name: table[f"{name}_grade"].value_counts() for name in EXPRESSION}
    spread = "; ".join(
        f"{name} " + ", ".join(f"{grade} {counts[name].get(grade, 0)}" for grade in GRADES)
        for name in EXPRESSION
    )
    return f"Grades of the {len(table)} chosen by '{chosen.method.name}': {spread}."


def neutral(chosen: Chosen, most: int = 24) -> Figure:
    """The chosen faces, unsteered as drawn, and in the middle of the levels."""
    rows = chosen.rows[:most]
    unedited = chosen.tools.sampler.images(chosen.start(rows).unedited, chosen.method.layer)
    middle = chosen.pictures(rows, np.float32([MIDDLE]))[:, 0]
    columns = min(8, len(rows))
    images, labels = [], []
    for at in range(0, len(rows), columns):
        piece = slice(at, at + columns)
        for part, label in ((unedited[piece], "as drawn"), (middle[piece], "at the mean")):
            blank = np.full((columns - len(part), *part.shape[1:]), 255, np.uint8)
            images.append(np.concatenate([part, blank]))
            labels.append(label)
    return labeled_sheet(np.concatenate(images), columns, labels)


def expressions(chosen: Chosen, row: int) -> Figure:
    """All 50 expressions of one latent: narrow eyes left and open ones right of the middle."""
    images = chosen.pictures(np.array([row]), REQUESTS)[0]
    grid = images.reshape(len(EYES), len(MOUTH), len(POSE), *images.shape[1:])
    images = grid.swapaxes(0, 1).reshape(-1, *images.shape[1:])  # a row per opening of the mouth
    heads = [f"eyes {eyes:g}\npose {pose:g}" for eyes in EYES for pose in POSE]
    return labeled_sheet(images, len(EYES) * len(POSE), [f"mouth {m:g}" for m in MOUTH], heads)


def in_use(folder: Path, faces: int = 2) -> Figure:
    """The first chosen faces as `OhLora` draws them; each property rises from left to right."""
    lora = OhLora.load(folder / FACES_FILE)
    strips = [
        np.asarray(lora.strip(name, face=face))
        for face in range(min(faces, len(lora)))
        for name in EXPRESSION
    ]
    across = strips[0].shape[1] // strips[0].shape[0]
    images = np.concatenate([np.split(strip, across, axis=1) for strip in strips])
    rows = list(EXPRESSION) * (len(strips) // len(EXPRESSION))
    return labeled_sheet(images, across, rows, ["least", *[""] * (across - 2), "most"])


def use_told(chosen: Chosen, settings: SelectSettings) -> str:
    """How the file that was left is used, and what it holds only nearly; or why there is none."""
    if not len(chosen.rows):
        return "None was chosen, so this page leaves no file of faces."
    if chosen.bend is None:
        return "A method that steers some layers alone leaves no such file: it needs more than a w."
    zero = (
        "about as open and as turned as all faces are on average"
        if chosen.method.spec.recentered
        else "as she was drawn"
    )
    told = (
        f'From the repository\'s folder, `OhLora.load("{Path(settings.out) / FACES_FILE}")` reads '
        "the faces that this page leaves; the pictures below are drawn with it. "
        "`.image(eyes=1.2, mouth=0.9, pose=-0.6)` draws the first face with an expression, "
        '`.strip("mouth")` opens her mouth from left to right; where all three numbers are 0, '
        f"she is {zero}."
    )
    if chosen.bend > STRAIGHT:
        told += (
            f" The file goes straight in w, where '{chosen.method.name}' at "
            f"{chosen.method.layer} bends: over the 50 levels its w is off by "
            f"{chosen.bend:.0%} of the movement (RMS)."
        )
    return told


def retested_told(chosen: Chosen) -> str:
    """The pass rates of a saved selection, tested again."""
    on = {
        m: int(passes(meter_columns(chosen.table, m), CUTOFFS_V8, signed=True).sum())
        for m in ("cnn", "parser")
    }
    return (
        f"Of the {len(chosen.table)} saved latents {on['cnn']} pass on the CNN and {on['parser']} "
        "on the independent meter."
    )


def found(chosen: Chosen, settings: SelectSettings) -> tuple[str, dict[str, str]]:
    """The page's sentence and headline figures."""
    left = funnel_counts(chosen.table)
    broken = int((chosen.table["selected"] & ~chosen.table["fits"]).sum())
    sentence = (
        f"Of {left['tested']:,} {'saved' if settings.selection else 'new'} latents, steered by "
        f"'{chosen.method.name}', {left['passes_cnn']:,} pass on the CNN and "
        f"{left['passes_both']:,} on both meters; {left['consistent']:,} of these stay a young "
        f"woman in a good picture before a still background, and {left['selected']:,} are chosen"
        + (f", {broken:,} of which break a rule." if broken else ".")
    )
    return sentence, {name: f"{count:,}" for name, count in left.items()}


def rule_told(settings: SelectSettings) -> str:
    """The rule of the grades, with its numbers."""
    rule = settings.rule.grades
    bounds = "; ".join(
        f"{grade}, slope {slope:g} and {rises:.0%} of the steps"
        for grade, slope, rises in zip(GRADES, rule.slopes, rule.monotonic, strict=False)
    )
    return f"At least: {bounds}; {GRADES[-1]} below."
