"""From tested latents to selected ones: rules, grades, and a person's picks that override both.

The original project selected by eye. Here stated rules, applied to both meters (the property CNN
and the parser), make a selection that can be repeated; whoever looks at the contact sheets can
override it with a CSV.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.measure.labels import cohen_kappa
from ohlora_lib.steering.control_test import meter_columns
from ohlora_lib.steering.select import CORRELATIONS, CUTOFFS_V8, CorrelationCutoffs, passes
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table

GRADES = ("최상", "상", "중", "하")
"""The published words."""
GRADES_IN_ENGLISH = ("excellent", "high", "medium", "low")
GRADE_COLUMNS = [f"{name}_grade" for name in EXPRESSION]
RANK = "sum_corr"
"""Column that ranks the latents: the sum of the six signed correlations, three on each meter."""
CONDITIONS = {
    "stays_female": "not female in all 50 images",
    "stays_young_no_glasses": "not young and without glasses in all 50 images",
    "stays_good_quality": "not of good quality in all 50 images",
    "keeps_surroundings": "background or outline changes",
}
"""Bool columns of `Conditions.check`, and the reason for rejection where one is False."""
STAGES = ("passes_cnn", "passes_both", "consistent", "fits", "selected")
"""Bool columns of `apply_rules`: each implies the one before, as long as the rules decide alone."""


@dataclass(frozen=True)
class Conditions:
    """What must stay the same over the 50 images of a latent.

    gender, quality (minima), age and glass (maxima) bound the annotator's probability for the worst
    of the 50 images. background bounds the change of the background, in units of the difference
    between two faces; outline the fraction of face and hair that is not in both images.
    """

    gender: float = 0.8
    quality: float = 0.5
    age: float = 0.3
    glass: float = 0.3
    background: float = 0.25
    outline: float = 0.15

    def check(self, tested: pd.DataFrame) -> pd.DataFrame:
        """Rows of a control test (N) -> bool columns CONDITIONS, (N, 4)."""
        met = (
            tested["gender_worst"] >= self.gender,
            (tested["age_worst"] <= self.age) & (tested["glass_worst"] <= self.glass),
            tested["quality_worst"] >= self.quality,
            (tested["background"] <= self.background) & (tested["outline"] <= self.outline),
        )
        return pd.DataFrame(dict(zip(CONDITIONS, met, strict=True)))


GRADE_QUANTILES = (0.25, 0.05, 0.0)
"""최상, 상 and 중: as a true change in at least so many of the rendered faces."""
TOLERANCE = 0.9
"""중 needs this much of what the worst rendered face reaches."""


def _stated_bounds() -> pd.DataFrame:
    bounds = {"slope": (0.8, 0.6, 0.4), "monotonic": (0.95, 0.85, 0.7)}
    columns = {f"{name}_{what}": bounds[what] for name in EXPRESSION for what in bounds}
    return pd.DataFrame(columns, index=pd.Index(GRADES[:3], name="grade"))


@dataclass(frozen=True, eq=False)
class GradeRule:
    """`bounds`: a row per 최상, 상 and 중, columns eyes_slope etc. (of `responses`), the minimum of
    each; below all of them the grade is 하. The worse meter counts.

    The default has stated bounds: standard deviations moved per requested unit, and the fraction of
    steps to the next level that increase the score.
    """

    bounds: pd.DataFrame = field(default_factory=_stated_bounds)

    @classmethod
    def from_true_changes(cls, rendered: pd.DataFrame) -> "GradeRule":
        """Bounds of slope and correlation from rendered faces whose eyes, mouth and pose truly
        follow the requests (`rendered_responses`): GRADE_QUANTILES and TOLERANCE."""
        names = [f"{name}_{what}" for name in EXPRESSION for what in ("slope", "corr")]
        worst = pd.DataFrame({name: _worse_meter(rendered, name) for name in names})
        bounds = worst.quantile(list(GRADE_QUANTILES)).set_axis(list(GRADES[:3]))
        bounds.iloc[-1] *= TOLERANCE
        return cls(bounds.rename_axis("grade"))

    def grade(self, tested: pd.DataFrame) -> pd.DataFrame:
        """Rows of a control test (N) -> columns eyes_grade, mouth_grade, pose_grade."""
        return pd.DataFrame({f"{name}_grade": self._grade(tested, name) for name in EXPRESSION})

    def missed(self, tested: pd.DataFrame, grade: str = GRADES[1]) -> pd.DataFrame:
        """Per column of the bounds: this grade's bound, the latents' median, and how many are
        `below` the bound, by the worse meter."""
        worst = pd.DataFrame({column: _worse_meter(tested, column) for column in self.bounds})
        bound = self.bounds.loc[grade]
        below = (~(worst >= bound)).sum()
        return pd.DataFrame({"bound": bound, "median": worst.median(), "below": below})

    def _grade(self, tested: pd.DataFrame, name: str) -> np.ndarray:
        columns = [column for column in self.bounds if column.startswith(f"{name}_")]
        worst = pd.DataFrame({column: _worse_meter(tested, column) for column in columns})
        reached = [(worst >= self.bounds.loc[grade, columns]).all(axis=1) for grade in GRADES[:-1]]
        return np.select(reached, GRADES[:-1], GRADES[-1])


def _worse_meter(tested: pd.DataFrame, column: str) -> pd.Series:
    """The lower value of both meters; NaN if one is."""
    both = tested[[f"{meter}_{column}" for meter in ("cnn", "parser")]]
    return both.min(axis=1, skipna=False)


@dataclass(frozen=True)
class SelectionRule:
    """A latent fits if it passes the cutoffs on both meters, meets all conditions and has no grade
    하. Of those that fit, the `max_selected` with the highest rank are selected. If fewer than
    `min_selected` fit, the next best are selected although they do not fit."""

    cutoffs: CorrelationCutoffs = CUTOFFS_V8
    parser_cutoffs: CorrelationCutoffs = CUTOFFS_V8
    conditions: Conditions = field(default_factory=Conditions)
    grades: GradeRule = field(default_factory=GradeRule)
    max_selected: int = 20
    min_selected: int = 0


def apply_rules(tested: pd.DataFrame, rule: SelectionRule) -> pd.DataFrame:
    """Rows of a control test with one method -> the same rows with bool columns STAGES, CONDITIONS
    and `picked` (False: no person has decided yet), the grades and the rank."""
    grades, conditions = rule.grades.grade(tested), rule.conditions.check(tested)
    cnn, parser = (meter_columns(tested, meter) for meter in ("cnn", "parser"))
    table = pd.concat([tested, grades, conditions], axis=1)
    table["passes_cnn"] = passes(cnn, rule.cutoffs, signed=True)
    table["passes_both"] = table["passes_cnn"] & passes(parser, rule.parser_cutoffs, signed=True)
    table["consistent"] = table["passes_both"] & conditions.all(axis=1)
    table["fits"] = table["consistent"] & (grades != GRADES[-1]).all(axis=1)
    table[RANK] = sum(meter[name] for meter in (cnn, parser) for name in CORRELATIONS)
    table["selected"] = _best(table["fits"], table[RANK], rule)
    table["picked"] = False
    return table


def _best(fits: pd.Series, rank: pd.Series, rule: SelectionRule) -> np.ndarray:
    """Which rows are selected, (N,) bool; rows without a rank come last."""
    order = pd.DataFrame({"fits": fits, "rank": rank.fillna(-np.inf)})
    order = order.sort_values(["fits", "rank"], ascending=False).index
    count = max(min(int(fits.sum()), rule.max_selected), rule.min_selected)
    return fits.index.isin(order[:count])


def selected_rows(table: pd.DataFrame) -> np.ndarray:
    """Positions of the selected rows, highest rank first, (K,)."""
    table = table.reset_index(drop=True)
    return table[table["selected"]].sort_values(RANK, ascending=False).index.to_numpy()


def read_picks(path: str | Path) -> pd.DataFrame:
    """A person's CSV: idx, chosen (0 or 1), and optionally eyes, mouth, pose (최상, 상, 중, 하)."""
    picks = read_table(path, ["idx", "chosen"])
    if picks["idx"].duplicated().any():
        twice = picks.loc[picks["idx"].duplicated(), "idx"].iloc[0]
        raise StoreError(f"{path}: latent {twice} has more than one row: keep one of them")
    if not picks["chosen"].isin([0, 1]).all():
        raise StoreError(f"{path}: `chosen` must be 0 or 1 in every row")
    for name in picks.columns.intersection(list(EXPRESSION)):
        wrong = picks[name].dropna()
        wrong = wrong[~wrong.isin(GRADES)]
        if len(wrong):
            raise StoreError(f"{path}: grade {wrong.iloc[0]!r}: must be one of {', '.join(GRADES)}")
    return picks


def apply_picks(table: pd.DataFrame, picks: pd.DataFrame) -> pd.DataFrame:
    """Override `selected` and the grades of the latents that `picks` names by idx; an empty grade
    keeps ours. Other latents keep the decision of the rules."""
    table = table.set_index("idx")
    unknown = picks.loc[~picks["idx"].isin(table.index), "idx"]
    if len(unknown):
        raise StoreError(f"picks: latent {unknown.iloc[0]} was not tested: remove its row")
    picks = picks.set_index("idx")
    table.loc[picks.index, "selected"] = picks["chosen"].astype(bool)
    table.loc[picks.index, "picked"] = True
    for name in picks.columns.intersection(list(EXPRESSION)):
        given = picks[name].dropna()
        table.loc[given.index, f"{name}_grade"] = given
    return table.reset_index()


def rules_as_picks(table: pd.DataFrame) -> pd.DataFrame:
    """What the rules decided (`apply_rules`, before any picks) in the form of a person's picks."""
    grades = table[GRADE_COLUMNS].set_axis(list(EXPRESSION), axis=1)
    return pd.concat([table["idx"], table["fits"].astype(int).rename("chosen"), grades], axis=1)


def pick_agreement(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Two sets of picks -> a row for `chosen` and each grade that both have: latents, agree (share
    of equal answers) and Cohen's kappa, with quadratic weights for the grades."""
    both = first.merge(second, on="idx", suffixes=("", "_second"))
    rows = {}
    for name in ("chosen", *EXPRESSION):
        if name not in first or name not in second:
            continue
        pair = both[[name, f"{name}_second"]].dropna()
        one, other = pair.to_numpy().T
        kappa = cohen_kappa(one, other, None if name == "chosen" else GRADES)
        rows[name] = (len(pair), (one == other).mean() if len(pair) else np.nan, kappa)
    return pd.DataFrame.from_dict(rows, "index", columns=["latents", "agree", "kappa"])


def funnel_counts(table: pd.DataFrame) -> pd.Series:
    """How many latents remain after each of STAGES; the first entry is `tested`."""
    return pd.Series({"tested": len(table)} | {stage: int(table[stage].sum()) for stage in STAGES})


def rejection_reasons(table: pd.DataFrame, named: int = 10) -> pd.DataFrame:
    """Reasons (rows) why latents were not selected: `latents`, how many, and `which`, the idx of
    the first `named`. One latent may have several reasons."""
    rejected = table[~table["selected"]]
    fits, picked = rejected["fits"], rejected["picked"]
    reasons = {
        "does not pass by the CNN": ~rejected["passes_cnn"],
        "passes by the CNN, not by the parser": rejected["passes_cnn"] & ~rejected["passes_both"],
        **{reason: ~rejected[name] for name, reason in CONDITIONS.items()},
        "has a low grade": (rejected[GRADE_COLUMNS] == GRADES[-1]).any(axis=1),
        "fits all rules, but others rank higher": fits & ~picked,
        "fits all rules, but a person rejected it": fits & picked,
    }
    rows = {}
    for reason, mine in reasons.items():
        numbers = [str(idx) for idx in rejected.loc[mine, "idx"]]
        more = ", …" if len(numbers) > named else ""
        rows[reason] = (len(numbers), ", ".join(numbers[:named]) + more)
    found = pd.DataFrame.from_dict(rows, "index", columns=["latents", "which"])
    return found[found["latents"] > 0]
