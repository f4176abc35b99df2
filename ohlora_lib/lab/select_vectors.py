"""What notebook 09 does and draws: which latents become Oh-LoRA's faces."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.lab.figures import INK, SERIES, labelled_sheet
from ohlora_lib.lab.find_vectors import Tools, ToolSettings
from ohlora_lib.lab.settings import Between
from ohlora_lib.lab.steering import (
    SteeringSettings,
    best_of,
    found_folder,
    open_instruments,
    set_steps,
)
from ohlora_lib.models.workers import workers
from ohlora_lib.store import ROOT, inside_root
from ohlora_lib.store.tables import read_table, write_table
from ohlora_lib.vectors.choose import (
    GRADES,
    ChoiceRule,
    funnel,
    judged,
    published_info,
    read_picks,
    why_not,
    with_picks,
)
from ohlora_lib.vectors.control_test import Latents, control_test, of_meter
from ohlora_lib.vectors.directions import EXPRESSION, Scaled
from ohlora_lib.vectors.found import Recipe, read_grouping
from ohlora_lib.vectors.groups import Grouping, VectorError
from ohlora_lib.vectors.instruments import Instruments
from ohlora_lib.vectors.instruments import table as scores_table
from ohlora_lib.vectors.method import Method, Start
from ohlora_lib.vectors.ohlora import FILE, OhLora, write_faces
from ohlora_lib.vectors.responses import EYES, LEVELS, MIDDLE, MOUTH, POSE
from ohlora_lib.vectors.select import V8, passes, wilson
from ohlora_lib.vectors.selection import LABEL_SIZE, Selection, read_selection, write_selection

BEST = "best"


@dataclass(frozen=True)
class SelectSettings(ToolSettings):
    """How many new latents to test with which method ('best': the best of notebook 08's), and how
    many to choose at most.

    `found` and `tested` are the folders that 07 and 08 left. `picks` is a person's CSV; with a
    `selection` (a folder with both published files) those latents are tested again instead of new
    ones. `base` is the checkpoint that the generator was fine-tuned from. Of `shown` faces the page
    has all 50 expressions.
    """

    found: str | None
    tested: str | None
    method: str
    latents: Annotated[int, Between(1, 100_000)]
    most: Annotated[int, Between(1, 1000)]
    least: Annotated[int, Between(0, 1000)]
    picks: str | None
    selection: str | None
    base: str
    shown: Annotated[int, Between(1, 50)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method != BEST:
            Recipe.read(self.method)

    @property
    def rule(self) -> ChoiceRule:
        return ChoiceRule(most=self.most, least=min(self.least, self.latents))


@dataclass(frozen=True, eq=False)
class Chosen:
    """Every tested latent with what was decided, and what drew it."""

    tools: Tools
    instruments: Instruments
    method: Method
    latents: Latents
    grouping: Grouping
    table: pd.DataFrame

    def start(self, rows: np.ndarray) -> Start:
        """Where these rows' steering starts."""
        z = self.latents.z[rows]
        label = None if self.latents.label is None else self.latents.label[rows]
        vectors = self.tools.studio.vectors(z, self.method.layer, label)
        names = list(self.method.grouping.names) if self.method.grouping else None
        groups = names and np.array([names.index(g) for g in self.table["group_name"].iloc[rows]])
        return self.method.start(self.tools.studio, self.instruments, vectors, groups)

    def pictures(self, rows: np.ndarray, requests: np.ndarray) -> np.ndarray:
        """(N, R, H, W, 3): each of these rows as each request (R, 3) asks."""
        return self.method.every(self.tools.studio, self.start(rows), requests)

    @property
    def rows(self) -> np.ndarray:
        """The places of those chosen, best first."""
        table = self.table.reset_index(drop=True)
        return table[table["chosen"]].sort_values("sum_abs_corr", ascending=False).index.to_numpy()


def choose(folder: Path, settings: SelectSettings, tools: Tools) -> Chosen:
    """Test, judge, let a person override; leaves judged.parquet and the published files."""
    found = found_folder(folder, settings, settings.found, tools)
    instruments = open_instruments(found, tools)
    method = _method(folder, settings, tools, found)
    asked = _latents(settings, tools, method)
    with workers(tools.studio.device) as pool:
        tested = control_test([method], tools.studio, instruments, asked, executor=pool)
    table = judged(tested, settings.rule)
    if settings.picks:
        table = with_picks(table, read_picks(inside_root(settings.picks)))
    write_table(table, folder / "judged.parquet")
    chosen = Chosen(tools, instruments, method, asked, read_grouping(found / "directions"), table)
    if len(chosen.rows):
        _export(folder, settings, chosen)
    return chosen


def _method(folder: Path, settings: SelectSettings, tools: Tools, found: Path) -> Method:
    """The method with the steps that notebook 08 set, or steps set here."""
    if settings.tested is None:
        name = "ridge, steps, recentred" if settings.method == BEST else settings.method
        small = SteeringSettings(
            out=settings.out, seed=8, generator=settings.generator, parser=settings.parser,
            property_cnn=settings.property_cnn, found=str(found.relative_to(ROOT)),
            methods=[name], latents=2, calibration=4, confirmed=[], confirmation=0, background=0.15,
        )  # fmt: skip
        return set_steps(folder, small, tools).methods[name]
    tested = inside_root(settings.tested)
    name = settings.method
    if name == BEST:
        rows = read_table(tested / "passes.parquet", ["method", "part"])
        name = best_of(rows)
    steps = json.loads((tested / "methods.json").read_text())["steps"]
    if name not in steps:
        raise VectorError(f"method = {name!r}: notebook 08 tested {', '.join(steps)}")
    method = Recipe.read(name).method(found / "directions")
    return replace(method, directions=Scaled(method.directions, tuple(steps[name])))


def _latents(settings: SelectSettings, tools: Tools, method: Method) -> Latents:
    """New latents of the seed, or those of a saved selection with their groups."""
    if settings.selection is None:
        size = tools.studio.generator.config.z_size
        return Latents.of_seed(settings.seed, range(settings.latents), size)
    saved = read_selection(inside_root(settings.selection), method.layer)
    label = saved.label if tools.studio.generator.config.label_size else None
    groups = None
    if method.grouping:
        names = list(method.grouping.names)
        groups = np.array([names.index(name) for name in saved.info["group_name"]])
    return Latents(saved.z, saved.info["case"].to_numpy(), label, groups)


def _export(folder: Path, settings: SelectSettings, chosen: Chosen) -> None:
    """The published files, and the faces as `OhLora` loads them."""
    rows, method, studio = chosen.rows, chosen.method, chosen.tools.studio
    label = chosen.latents.label
    label = np.zeros((len(rows), LABEL_SIZE), np.float32) if label is None else label[rows]
    info = published_info(chosen.table.iloc[rows])
    if method.grouping is None:
        info["group_name"] = group_names(chosen, rows)
    write_selection(Selection(chosen.latents.z[rows], label, info), folder, method.layer)
    if method.styles is None:
        start = chosen.start(rows)
        middle = np.float32(MIDDLE if method.recentring else (0, 0, 0))
        w, arrows = steered(chosen, start, middle)
        write_faces(folder / FILE, studio.generator, w, arrows, settings.base)


def steered(chosen: Chosen, start: Start, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w (K, 512) at a request (3,), and what a unit more of each property adds (K, 3, 512)."""
    method, studio, count = chosen.method, chosen.tools.studio, len(start.vectors)
    requests = [middle, *(middle + unit for unit in np.eye(3, dtype=np.float32))]
    drawn = [
        studio.w(
            start.vectors
            + method.directions.step(start.vectors, np.tile(request, (count, 1)), start.groups),
            method.layer,
        )
        for request in requests
    ]
    return drawn[0], np.stack([after - drawn[0] for after in drawn[1:]], axis=1)


def group_names(chosen: Chosen, rows: np.ndarray) -> np.ndarray:
    """The groups of latents whose method has none: the published files name them."""
    images = chosen.tools.studio.images(chosen.start(rows).unedited, chosen.method.layer)
    cnn = chosen.instruments.cnn
    return chosen.grouping.of(scores_table(cnn, cnn(images))).to_numpy()


def funnel_figure(chosen: Chosen) -> Figure:
    """How many latents are left after each stage."""
    left = funnel(chosen.table)
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
    low, high = wilson(int(chosen.table["passes on both"].sum()), len(chosen.table))
    told = (
        f"{len(chosen.table):,} latents {whose}, steered by '{chosen.method.name}'; on both meters "
        f"{chosen.table['passes on both'].mean():.0%} pass (95 % interval "
        f"{max(low, 0):.0%} to {high:.0%})."
    )
    table = chosen.table[chosen.table["chosen"]]
    if filled := int((~table["fits"]).sum()):
        told += (
            f" {filled} of the {len(table)} chosen break a rule: fewer than {settings.rule.least} "
            "fit, so the next best were taken."
        )
    return told


def lost_table(chosen: Chosen) -> pd.DataFrame:
    """What those that were not chosen failed; one may fail several."""
    rows = pd.DataFrame(why_not(chosen.table), columns=["why not chosen", "latents"])
    return rows[rows["latents"] > 0].set_index("why not chosen")


def grade_table(chosen: Chosen) -> pd.DataFrame:
    """A row per chosen latent: group, grades, correlations on both meters."""
    table = chosen.table.iloc[chosen.rows].reset_index(drop=True)
    shown = pd.DataFrame({"latent": table["idx"], "group": table["group_name"]})
    for name in EXPRESSION:
        shown[name] = table[f"{name}_grade"]
    for meter, label in (("cnn", "CNN"), ("parse", "parser")):
        corr = [table[f"{meter}_{name}_corr"].map("{:.2f}".format) for name in EXPRESSION]
        shown[f"{label} corr. eyes / mouth / pose"] = [" / ".join(row) for row in zip(*corr)]  # noqa: B905
    shown["background"] = table["background"]
    return shown.set_index("latent")


def grades_told(chosen: Chosen) -> str:
    """How the grades are spread, and by which rule."""
    table = chosen.table[chosen.table["chosen"]]
    counts = {name: table[f"{name}_grade"].value_counts() for name in EXPRESSION}
    spread = "; ".join(
        f"{name} " + ", ".join(f"{grade} {counts[name].get(grade, 0)}" for grade in GRADES)
        for name in EXPRESSION
    )
    return f"Grades of the {len(table)} chosen by '{chosen.method.name}': {spread}."


def neutral(chosen: Chosen, most: int = 24) -> Figure:
    """The chosen faces, unsteered as drawn, and in the middle of the levels."""
    rows = chosen.rows[:most]
    unedited = chosen.tools.studio.images(chosen.start(rows).unedited, chosen.method.layer)
    middle = chosen.pictures(rows, np.float32([MIDDLE]))[:, 0]
    columns = min(8, len(rows))
    images, labels = [], []
    for at in range(0, len(rows), columns):
        piece = slice(at, at + columns)
        for part, label in ((unedited[piece], "as drawn"), (middle[piece], "at the mean")):
            blank = np.full((columns - len(part), *part.shape[1:]), 255, np.uint8)
            images.append(np.concatenate([part, blank]))
            labels.append(label)
    return labelled_sheet(np.concatenate(images), columns, labels)


def expressions(chosen: Chosen, row: int) -> Figure:
    """All 50 expressions of one latent: narrow eyes left and open ones right of the middle."""
    images = chosen.pictures(np.array([row]), LEVELS)[0]
    grid = images.reshape(len(EYES), len(MOUTH), len(POSE), *images.shape[1:])
    images = grid.swapaxes(0, 1).reshape(-1, *images.shape[1:])  # a row per opening of the mouth
    heads = [f"{pose:g}" for _ in EYES for pose in POSE]
    return labelled_sheet(images, len(EYES) * len(POSE), [f"mouth {m:g}" for m in MOUTH], heads)


def in_use(folder: Path, faces: int = 2) -> Figure:
    """The first chosen faces as `OhLora` draws them; each property rises from left to right."""
    lora = OhLora.load(folder / FILE)
    strips = [
        np.asarray(lora.strip(name, face=face))
        for face in range(min(faces, len(lora)))
        for name in EXPRESSION
    ]
    across = strips[0].shape[1] // strips[0].shape[0]
    images = np.concatenate([np.split(strip, across, axis=1) for strip in strips])
    return labelled_sheet(images, across, list(EXPRESSION) * (len(strips) // len(EXPRESSION)))


def retested_told(chosen: Chosen) -> str:
    """The pass rates of a saved selection, tested again."""
    on = {
        m: int(passes(of_meter(chosen.table, m), V8, upwards=True).sum()) for m in ("cnn", "parse")
    }
    return (
        f"Of the {len(chosen.table)} saved latents {on['cnn']} pass on the CNN and {on['parse']} "
        "on the independent meter."
    )


def found(chosen: Chosen) -> tuple[str, dict[str, str]]:
    """The page's sentence and headline figures."""
    left = funnel(chosen.table)
    fit = int((chosen.table["chosen"] & chosen.table["fits"]).sum())
    sentence = (
        f"Of {left['tested']:,} new latents {left['passes']:,} pass on the CNN, "
        f"{left['passes on both']:,} on both meters, {left['consistent']:,} stay the same young "
        f"woman meanwhile, and {fit:,} of those are chosen."
    )
    names = ("tested", "passes", "passes on both", "consistent", "chosen")
    return sentence, {name: f"{left[name]:,}" for name in names}


def rule_told(settings: SelectSettings) -> str:
    """The rule of the grades, with its numbers."""
    rule = settings.rule.grades
    bounds = "; ".join(
        f"{grade}, slope {slope:g} and {rises:.0%} of the steps"
        for grade, slope, rises in zip(GRADES, rule.slopes, rule.rises, strict=False)
    )
    return f"At least: {bounds}; {GRADES[-1]} below."
