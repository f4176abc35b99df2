"""From tested latents to chosen ones: conditions, grades, and a person's picks that override them.

The published selection is by eye. Ours is by stated rules on both meters first, so that it can be
repeated; whoever looks at the contact sheets writes the last word into a CSV.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.control_test import meter_columns
from ohlora_lib.steering.select import (
    CORRELATIONS,
    CUTOFFS_V8,
    PASSED,
    SUM,
    CorrelationCutoffs,
    passes,
)
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table

STAYS = {
    "stays a woman": "does not stay a woman",
    "stays young, without glasses": "does not stay young and without glasses",
    "stays a good picture": "does not stay a good picture",
    "background and outline stay": "background or outline does not stay",
}
"""The conditions, and what is said of a latent that does not meet one."""
GRADES = ("최상", "상", "중", "하")
"""Excellent, high, medium, low: the published words."""


@dataclass(frozen=True)
class Conditions:
    """What a chosen latent must stay in all of its 50 pictures, and how little may move.

    Gender, quality, age and glass are the annotator's probabilities of the worst of the 50;
    `background` is a share of the difference between two faces, `outline` of the silhouette.
    """

    gender: float = 0.8
    quality: float = 0.5
    age: float = 0.3
    glass: float = 0.3
    background: float = 0.25
    outline: float = 0.15

    def met(self, tested: pd.DataFrame) -> pd.DataFrame:
        """A control test's rows -> which condition each of them meets, (N, 4) bool."""
        met = (
            tested["gender_worst"] >= self.gender,
            (tested["age_worst"] <= self.age) & (tested["glass_worst"] <= self.glass),
            tested["quality_worst"] >= self.quality,
            (tested["background"] <= self.background) & (tested["outline"] <= self.outline),
        )
        return pd.DataFrame(dict(zip(STAYS, met, strict=True)))


@dataclass(frozen=True)
class GradeRule:
    """A property's grade is the best whose bounds hold on *both* meters: at least so much change
    per unit asked for (in deviations of the population), and so many of the steps to the next
    level upwards. What reaches none is 하."""

    slopes: tuple[float, float, float] = (0.8, 0.6, 0.4)
    rises: tuple[float, float, float] = (0.95, 0.85, 0.7)

    def grade(self, tested: pd.DataFrame) -> pd.DataFrame:
        """A control test's rows -> 최상, 상, 중 or 하 for eyes, mouth and pose."""
        return pd.DataFrame({name: self._one(tested, name) for name in EXPRESSION})

    def _one(self, tested: pd.DataFrame, name: str) -> np.ndarray:
        slope, rises = (
            tested[[f"{meter}_{name}_{what}" for meter in ("cnn", "parser")]].min(
                axis=1, skipna=False
            )
            for what in ("slope", "monotonic")
        )
        reached = [
            (slope >= least) & (rises >= share)
            for least, share in zip(self.slopes, self.rises, strict=True)
        ]
        return np.select(reached, GRADES[:-1], GRADES[-1])


@dataclass(frozen=True)
class ChoiceRule:
    """Which tested latents are chosen: all that pass on both meters, meet the conditions and have
    no 하; of these the `most` with the highest sum of correlations. Where fewer than `least` fit,
    the next best fill up: they are chosen, but do not `fit`."""

    cutoffs: CorrelationCutoffs = CUTOFFS_V8
    parser_cutoffs: CorrelationCutoffs = CUTOFFS_V8
    conditions: Conditions = field(default_factory=Conditions)
    grades: GradeRule = field(default_factory=GradeRule)
    most: int = 20
    least: int = 0


def judged(tested: pd.DataFrame, rule: ChoiceRule) -> pd.DataFrame:
    """A control test's rows of one method -> with grades, and bool columns for each stage.

    `picked` are those of whom a person decided: none yet.
    """
    grades = rule.grades.grade(tested).add_suffix("_grade")
    conditions = rule.conditions.met(tested)
    table = pd.concat([tested, grades, conditions], axis=1)
    table["passes"] = passes(meter_columns(tested, "cnn"), rule.cutoffs, signed=True)
    table["passes on both"] = table["passes"] & passes(
        meter_columns(tested, "parser"), rule.parser_cutoffs, signed=True
    )
    table["consistent"] = table["passes on both"] & conditions.all(axis=1)
    table["fits"] = table["consistent"] & (grades != GRADES[-1]).all(axis=1)
    table[SUM] = sum(tested[f"{m}_{name}"] for m in ("cnn", "parser") for name in CORRELATIONS)
    table["picked"] = False
    order = table.assign(rank=table[SUM].fillna(-np.inf)).sort_values(
        ["fits", "rank"], ascending=False
    )
    count = max(min(int(table["fits"].sum()), rule.most), rule.least)
    table["chosen"] = table.index.isin(order.index[:count])
    return table


def with_picks(table: pd.DataFrame, picks: pd.DataFrame) -> pd.DataFrame:
    """A person's picks on top of `judged` rows: who is chosen and which grades, by `idx`.

    `picks` has idx, chosen (0 or 1) and may have eyes, mouth, pose (grades; empty keeps ours).
    Latents that it does not name keep what the rules said.
    """
    table = table.set_index("idx")
    unknown = picks.loc[~picks["idx"].isin(table.index), "idx"]
    if len(unknown):
        raise StoreError(f"picks: latent {unknown.iloc[0]} was not tested: take it out")
    picks = picks.set_index("idx")
    table.loc[picks.index, "chosen"] = picks["chosen"].astype(bool)
    table.loc[picks.index, "picked"] = True
    for name in picks.columns.intersection(list(EXPRESSION)):
        given = picks[name].dropna()
        table.loc[given.index, f"{name}_grade"] = given
    return table.reset_index()


def read_picks(path: str | Path) -> pd.DataFrame:
    """A person's CSV: idx, chosen (0 or 1), and if wanted eyes, mouth, pose (최상, 상, 중, 하)."""
    picks = read_table(path, ["idx", "chosen"])
    if picks["idx"].duplicated().any():
        twice = picks.loc[picks["idx"].duplicated(), "idx"].iloc[0]
        raise StoreError(f"{path}: latent {twice} is there twice: keep one of its rows")
    if not picks["chosen"].isin([0, 1]).all():
        raise StoreError(f"{path}: `chosen` is 0 or 1")
    for name in picks.columns.intersection(list(EXPRESSION)):
        wrong = picks[name].dropna()
        wrong = wrong[~wrong.isin(GRADES)]
        if len(wrong):
            raise StoreError(f"{path}: {wrong.iloc[0]!r} is no grade: {', '.join(GRADES)}")
    return picks


def funnel(table: pd.DataFrame) -> pd.Series:
    """How many latents are left after each stage of `judged`."""
    stages = ("passes", "passes on both", "consistent", "chosen")
    return pd.Series({"tested": len(table)} | {stage: int(table[stage].sum()) for stage in stages})


def published_info(table: pd.DataFrame, meter: str = "cnn") -> pd.DataFrame:
    """`judged` rows -> the published columns of a test result: case, vector_no, passed, group_name,
    the correlations and the sum of their sizes. `case` is the latent's number."""
    mine = meter_columns(table.drop(columns=SUM, errors="ignore"), meter)
    info = pd.DataFrame({"case": table["idx"], "vector_no": 0})
    info["passed"] = np.where(table["passes"], PASSED, "X")
    info["group_name"] = table["group_name"]
    info[list(CORRELATIONS)] = mine[list(CORRELATIONS)].round(4)
    info[SUM] = mine[list(CORRELATIONS)].abs().sum(axis=1).round(4)
    return info.reset_index(drop=True)


def why_not(table: pd.DataFrame) -> Iterator[tuple[str, int]]:
    """Why latents were not chosen, and how many of them; one may fail several rules."""
    lost = table[~table["chosen"]]
    yield "does not pass on the CNN", int((~lost["passes"]).sum())
    yield (
        "passes on the CNN, not on the independent meter",
        int((lost["passes"] & ~lost["passes on both"]).sum()),
    )
    for name, failed in STAYS.items():
        yield failed, int((~lost[name]).sum())
    graded = lost[[f"{name}_grade" for name in EXPRESSION]]
    yield f"has a grade of {GRADES[-1]}", int((graded == GRADES[-1]).any(axis=1).sum())
    fits, picked = lost["fits"], lost["picked"]
    yield "fits every rule, but others that fit follow better", int((fits & ~picked).sum())
    yield "fits every rule, but a person left it out", int((fits & picked).sum())
