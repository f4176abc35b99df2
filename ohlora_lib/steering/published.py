"""What the original project selected: latents tested, passed and chosen, and their case numbers.

From its tables of VectorFind-v7 and of v9's option svm_ms2; v8's and v9 mixed's case numbers are
not in the sources of this repository.
"""

from dataclasses import dataclass, field

import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.faces.shares import percent
from ohlora_lib.steering.select import (
    CUTOFFS_V7,
    CUTOFFS_V7_RECHECK,
    CUTOFFS_V8,
    CorrelationCutoffs,
    wilson_interval,
)

TOP, HIGH, MIDDLE, LOW = "최상", "상", "중", "하"
"""The published grades: excellent, high, medium, low."""


@dataclass(frozen=True)
class PublishedSelection:
    """`passed`: cutoffs -> latents that pass; `cases`: cutoffs -> case numbers chosen among them;
    `grades`: case -> grades of eyes, mouth and pose."""

    tested: int
    passed: dict[CorrelationCutoffs, int]
    chosen: int
    cases: dict[CorrelationCutoffs, tuple[int, ...]] = field(default_factory=dict)
    grades: dict[int, tuple[str, str, str]] = field(default_factory=dict)


SELECTIONS = {
    "v7": PublishedSelection(
        tested=2400,
        passed={CUTOFFS_V7: 58, CUTOFFS_V7_RECHECK: 99},
        chosen=27,
        cases={
            CUTOFFS_V7: (127, 931, 1017, 1162, 1211, 1277, 1359, 1646, 1782, 1836, 2111, 2185),
            CUTOFFS_V7_RECHECK: (
                *(127, 672, 709, 1073, 1277, 1351, 1409, 1591, 1782, 1788, 1819),
                *(1905, 1918, 2054, 2089, 2100, 2137, 2185, 2240),
            ),
        },
        grades={
            127: (MIDDLE, MIDDLE, MIDDLE),
            672: (MIDDLE, MIDDLE, LOW),
            709: (HIGH, MIDDLE, LOW),
            931: (HIGH, LOW, HIGH),
            1017: (MIDDLE, LOW, HIGH),
            1073: (HIGH, MIDDLE, MIDDLE),
            1162: (HIGH, LOW, HIGH),
            1211: (HIGH, LOW, MIDDLE),
            1277: (MIDDLE, MIDDLE, TOP),
            1351: (MIDDLE, MIDDLE, MIDDLE),
            1359: (MIDDLE, LOW, MIDDLE),
            1409: (HIGH, MIDDLE, MIDDLE),
            1591: (HIGH, MIDDLE, MIDDLE),
            1646: (MIDDLE, LOW, HIGH),
            1782: (MIDDLE, MIDDLE, HIGH),
            1788: (MIDDLE, MIDDLE, LOW),
            1819: (HIGH, MIDDLE, MIDDLE),
            1836: (MIDDLE, LOW, MIDDLE),
            1905: (MIDDLE, MIDDLE, MIDDLE),
            1918: (MIDDLE, MIDDLE, MIDDLE),
            2054: (HIGH, MIDDLE, MIDDLE),
            2089: (MIDDLE, MIDDLE, LOW),
            2100: (HIGH, MIDDLE, MIDDLE),
            2111: (MIDDLE, LOW, TOP),
            2137: (MIDDLE, MIDDLE, MIDDLE),
            2185: (MIDDLE, MIDDLE, MIDDLE),
            2240: (HIGH, MIDDLE, MIDDLE),
        },
    ),
    "v8": PublishedSelection(tested=2000, passed={CUTOFFS_V8: 49}, chosen=19),
    "v9 svm_ms2": PublishedSelection(
        tested=2000,
        passed={CUTOFFS_V8: 38},
        chosen=8,
        cases={CUTOFFS_V8: (361, 621, 673, 1031, 1428, 1450, 1603, 1864)},
    ),
    "v9 mixed": PublishedSelection(tested=2000, passed={CUTOFFS_V8: 43}, chosen=22),
}


def cutoffs_text(cutoffs: CorrelationCutoffs) -> str:
    """Such as .92 / .88 / .88."""
    return " / ".join(f"{getattr(cutoffs, name):.2f}".lstrip("0") for name in EXPRESSION)


def funnel_row(source: str, step: str, count: int, tested: int) -> dict[str, object]:
    """A row of the table cutoff -> count -> share, with the share's 95 % interval."""
    low, high = wilson_interval(count, tested)
    share = f"{percent(count / tested, 1)} ({percent(low, 1)}–{percent(high, 1)})"
    shown = share if step != "tested" else "–"
    return {"source": source, "step": step, "latents": count, "share of tested": shown}


def published_funnel() -> pd.DataFrame:
    """Cutoff -> count -> share of every published selection."""
    rows = []
    for name, one in SELECTIONS.items():
        rows.append(funnel_row(f"published {name}", "tested", one.tested, one.tested))
        for cutoffs, count in one.passed.items():
            step = f"passes {cutoffs_text(cutoffs)}"
            rows.append(funnel_row(f"published {name}", step, count, one.tested))
        rows.append(funnel_row(f"published {name}", "chosen by a person", one.chosen, one.tested))
    return pd.DataFrame(rows)


def published_cases() -> pd.DataFrame:
    """The chosen case numbers by cutoffs, as text."""
    rows = [
        {
            "source": f"published {name}",
            "cutoffs": cutoffs_text(cutoffs),
            "chosen": len(cases),
            "case numbers": " ".join(map(str, cases)),
        }
        for name, one in SELECTIONS.items()
        for cutoffs, cases in one.cases.items()
    ]
    return pd.DataFrame(rows)
