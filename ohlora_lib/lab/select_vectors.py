"""What notebook 09 does: which latents become Oh-LoRA's faces."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from ohlora_lib.compute.workers import workers
from ohlora_lib.lab.find_vectors import Tools, ToolSettings
from ohlora_lib.lab.recipe import read_name
from ohlora_lib.lab.steering import (
    SteeringSettings,
    best_of,
    found_folder,
    open_instruments,
    set_steps,
)
from ohlora_lib.runner.settings import Between
from ohlora_lib.steering.control_test import LatentSet, control_test
from ohlora_lib.steering.fit import DirectionSet
from ohlora_lib.steering.groups import Grouping, VectorError
from ohlora_lib.steering.meters import MeterSet
from ohlora_lib.steering.meters import score_table as scores_table
from ohlora_lib.steering.method import Method, Start, read_methods
from ohlora_lib.steering.ohlora import FACES_FILE, linear_fit, steered_w, write_faces
from ohlora_lib.steering.responses import MIDDLE, REQUESTS
from ohlora_lib.steering.selection import (
    LABEL_SIZE,
    Selection,
    published_columns,
    read_selection,
    write_selection,
)
from ohlora_lib.steering.selection_rules import (
    SelectionRule,
    apply_picks,
    apply_rules,
    read_picks,
    selected_rows,
)
from ohlora_lib.store import ROOT, inside_root
from ohlora_lib.store.tables import read_table, write_table

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
            read_name(self.method)

    @property
    def rule(self) -> SelectionRule:
        return SelectionRule(max_selected=self.most, min_selected=min(self.least, self.latents))


@dataclass(frozen=True, eq=False)
class Chosen:
    """Every tested latent with what was decided, and what drew it."""

    tools: Tools
    meters: MeterSet
    method: Method
    latents: LatentSet
    grouping: Grouping
    table: pd.DataFrame
    bend: float | None = None
    """How far the faces left are off in w (`straightened`); None where none were left."""

    def start(self, rows: np.ndarray) -> Start:
        """Where these rows' steering starts."""
        z = self.latents.z[rows]
        label = None if self.latents.label is None else self.latents.label[rows]
        vectors = self.tools.sampler.vectors(z, self.method.layer, label)
        names = list(self.method.grouping.names) if self.method.grouping else None
        groups = names and np.array([names.index(g) for g in self.table["group_name"].iloc[rows]])
        return self.method.start(self.tools.sampler, self.meters, vectors, groups)

    def pictures(self, rows: np.ndarray, requests: np.ndarray) -> np.ndarray:
        """(N, R, H, W, 3): each of these rows as each request (R, 3) asks."""
        return self.method.image_grid(self.tools.sampler, self.start(rows), requests)

    @property
    def rows(self) -> np.ndarray:
        """The places of those chosen, best first."""
        return selected_rows(self.table)


def choose(folder: Path, settings: SelectSettings, tools: Tools) -> Chosen:
    """Test, judge, let a person override; leaves judged.parquet and the published files."""
    found = found_folder(folder, settings, settings.found, tools)
    meters = open_instruments(found, tools)
    method = _method(folder, settings, tools, found)
    asked = _latents(settings, tools, method)
    with workers(tools.sampler.device) as pool:
        tested = control_test([method], tools.sampler, meters, asked, executor=pool).table
    table = apply_rules(tested, settings.rule)
    if settings.picks:
        table = apply_picks(table, read_picks(inside_root(settings.picks)))
    write_table(table, folder / "judged.parquet")
    chosen = Chosen(
        tools, meters, method, asked, DirectionSet.load(found / "directions").grouping, table
    )
    if not len(chosen.rows):
        return chosen
    _publish(folder, chosen)
    if method.styles is None:
        chosen = replace(chosen, bend=_leave_faces(folder, settings, chosen))
    return chosen


def _method(folder: Path, settings: SelectSettings, tools: Tools, found: Path) -> Method:
    """The method with the steps that notebook 08 set, or steps set here."""
    if settings.tested is None:
        name = "ridge, steps, recenterd" if settings.method == BEST else settings.method
        small = SteeringSettings(
            out=settings.out, seed=8, generator=settings.generator, parser=settings.parser,
            property_cnn=settings.property_cnn, found=str(found.relative_to(ROOT)),
            methods=[name], latents=2, calibration=4, confirmed=[], confirmation=0, background=0.15,
        )  # fmt: skip
        return set_steps(folder, small, tools).methods[read_name(name).name]
    tested = inside_root(settings.tested)
    methods = read_methods(tested / "methods.json", DirectionSet.load(found / "directions"))
    if settings.method == BEST:
        return methods[best_of(read_table(tested / "passes.parquet", ["method", "part"]))]
    name = read_name(settings.method).name
    if name not in methods:
        raise VectorError(f"method = {name!r}: notebook 08 tested {', '.join(methods)}")
    return methods[name]


def _latents(settings: SelectSettings, tools: Tools, method: Method) -> LatentSet:
    """New latents of the seed, or those of a saved selection with their groups."""
    if settings.selection is None:
        size = tools.sampler.generator.config.z_size
        return LatentSet.from_seed(settings.seed, range(settings.latents), size)
    saved = read_selection(inside_root(settings.selection), method.layer)
    label = saved.label if tools.sampler.generator.config.label_size else None
    groups = None
    if method.grouping:
        names = list(method.grouping.names)
        letters = len(saved.info["group_name"].iloc[0])
        if letters != len(names[0]):
            raise VectorError(
                f"the groups of {settings.selection} have {letters} letters, the directions' "
                f"{len(names[0])}: run notebook 07 with letters = {letters} and give its folder "
                "as `found`"
            )
        groups = np.array([names.index(name) for name in saved.info["group_name"]])
    return LatentSet(saved.z, saved.info["case"].to_numpy(), label, groups)


def _publish(folder: Path, chosen: Chosen) -> None:
    """The published files."""
    rows, method = chosen.rows, chosen.method
    label = chosen.latents.label
    label = np.zeros((len(rows), LABEL_SIZE), np.float32) if label is None else label[rows]
    info = published_columns(chosen.table.iloc[rows])
    if method.grouping is None:
        info["group_name"] = group_names(chosen, rows)
    write_selection(Selection(chosen.latents.z[rows], label, info), folder, method.layer)


def _leave_faces(folder: Path, settings: SelectSettings, chosen: Chosen) -> float:
    """The faces as `OhLora` loads them, and how far these are off in w."""
    middle = np.float32(MIDDLE if chosen.method.spec.recentered else (0, 0, 0))
    start = chosen.start(chosen.rows)
    drawn = steered_w(chosen.tools.sampler, chosen.method, start)
    w, arrows, bend = linear_fit(drawn, REQUESTS - middle)
    write_faces(folder / FACES_FILE, chosen.tools.sampler.generator, w, arrows, settings.base)
    return bend


def group_names(chosen: Chosen, rows: np.ndarray) -> np.ndarray:
    """The groups of latents whose method has none: the published files name them."""
    images = chosen.tools.sampler.images(chosen.start(rows).unedited, chosen.method.layer)
    cnn = chosen.meters.cnn
    return chosen.grouping.of(scores_table(cnn, cnn(images))).to_numpy()
