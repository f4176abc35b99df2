"""Comparison of methods: the rows of a control test in, one row per method out.

All functions take the table of `control_test`: one row per method and latent. `meter` is the prefix
of its columns: `cnn` (the property CNN), `parser` (the parser with its computed scores), and, where
the test had them, `annotator` and `judge` (the external judge).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pandas as pd

from ohlora_lib.faces.concept import paired_change
from ohlora_lib.faces.properties import EXPRESSION, FILTER_PROPERTIES
from ohlora_lib.faces.shares import percent
from ohlora_lib.steering.control_test import meter_columns
from ohlora_lib.steering.select import (
    CORRELATIONS,
    CUTOFFS_V7,
    CUTOFFS_V8,
    CorrelationCutoffs,
    passes,
    wilson_interval,
)

METERS = {"cnn": "property CNN", "parser": "parser", "annotator": "annotator",
          "judge": "external judge"}  # fmt: skip
"""Column prefix -> what tables and figures call the meter. The property CNN scored the samples that
directions are fitted on, the parser calibrates; the last two took no part."""
SELECTING = ("cnn", "parser")
"""The meters that choose methods and latents, so that the others can confirm."""
USED = "fitted, calibrated or selected by"
CONFIRMING = "confirmed by"
"""Entries of a `headline`."""
FILTER_CHANGES = tuple(f"{name}_change" for name in FILTER_PROPERTIES)
UNWANTED = ("background", "outline", "identity", *FILTER_CHANGES)
"""What should not change."""
CUTOFFS = {"pass": CUTOFFS_V8, "strict pass": CUTOFFS_V7}
PUBLISHED = pd.DataFrame(
    [
        ["v7, 15 %", 2400, 0.9023, 0.8673, 0.7951, 164, 58],
        ["v8, 20 %", 2000, 0.8744, 0.8465, 0.8735, 49, 16],
        ["v9 mixed", 2000, 0.9198, 0.8159, 0.8372, 43, np.nan],
        ["v9 svm_ms2", 2000, 0.8726, 0.8443, 0.8813, 38, np.nan],
    ],
    columns=["method", "latents", *EXPRESSION, *CUTOFFS],
).set_index("method")
"""The original project's results: faces of celeba generators, read by its property CNN with dropout
on. Pass counts are from the published tables (`steering.select`); v9's tables are not published."""
CURVE = np.round(np.arange(0.5, 1, 0.01), 2)
"""The cutoffs of a pass curve."""
SMALLEST_SLOPE = 0.1
"""Standard deviations per requested unit: what moves less is not divided by it, which would
multiply noise by more than ten."""
SURE = 0.05
"""The p below which a paired test shows a difference."""


def meters_of(tested: pd.DataFrame) -> dict[str, str]:
    """Those of METERS that the test had."""
    return {meter: label for meter, label in METERS.items() if f"{meter}_eyes_corr" in tested}


def confirming_meter(tested: pd.DataFrame, used: Collection[str] = SELECTING) -> str | None:
    """The meter of a headline: the external judge if the test had it, else the annotator; None if
    neither was there, or it is among the meters that fitted, calibrated or selected (`used`)."""
    known = [m for m in ("judge", "annotator") if m in meters_of(tested) and m not in used]
    return known[0] if known else None


def pass_rates(tested: pd.DataFrame, meter: str, cutoffs: CorrelationCutoffs) -> pd.DataFrame:
    """Per method: tested, passed, rate, and its 95 % Wilson interval low to high."""
    passed = passes(meter_columns(tested, meter), cutoffs, signed=True)
    passed = passed.groupby(tested["method"], sort=False)
    table = pd.DataFrame({"tested": passed.size(), "passed": passed.sum()})
    intervals = [wilson_interval(row.passed, row.tested) for row in table.itertuples()]
    low, high = zip(*intervals, strict=True)
    return table.assign(rate=table.passed / table.tested, low=low, high=high)


def passed_by_meter(tested: pd.DataFrame, method: str) -> str:
    """How many latents of a method pass strictly, as "299 of 300 by the parser, ..."."""
    count = int((tested["method"] == method).sum())
    return ", ".join(
        f"{pass_rates(tested, meter, CUTOFFS_V7).passed[method]} of {count} by the {label}"
        for meter, label in meters_of(tested).items()
    )


def pass_rate_table(tested: pd.DataFrame, cutoffs: CorrelationCutoffs) -> pd.DataFrame:
    """Methods × meters: pass rates with their intervals, as text."""
    columns = {
        label: pass_rates(tested, meter, cutoffs).apply(rate, axis=1)
        for meter, label in meters_of(tested).items()
    }
    return pd.DataFrame(columns).rename_axis("method")


def correlation_table(tested: pd.DataFrame) -> pd.DataFrame:
    """Methods × meters: mean correlations of eyes / mouth / pose, as text; and n."""
    columns = {"latents": tested.groupby("method", sort=False).size()}
    for meter, label in meters_of(tested).items():
        columns[label] = mean_correlations(tested, meter).apply(triple, axis=1)
    return pd.DataFrame(columns).rename_axis("method")


def mean_correlations(tested: pd.DataFrame, meter: str) -> pd.DataFrame:
    """Per method: mean signed correlation of eyes, mouth and pose."""
    rows = meter_columns(tested, meter).groupby(tested["method"], sort=False)
    return rows[list(CORRELATIONS)].mean().set_axis(list(EXPRESSION), axis=1)


def mean_slopes(tested: pd.DataFrame, meter: str) -> pd.DataFrame:
    """Per method: mean measured change of eyes, mouth and pose per requested unit."""
    slopes = [f"{meter}_{name}_slope" for name in EXPRESSION]
    means = tested.groupby("method", sort=False)[slopes].mean()
    return means.set_axis(list(EXPRESSION), axis=1)


def gains(tested: pd.DataFrame) -> pd.DataFrame:
    """Per method and property: mean slope on the parser / mean slope on the property CNN.

    Far below 1, a method changes what the CNN responds to rather than the face.
    """
    cnn = mean_slopes(tested, "cnn")
    return mean_slopes(tested, "parser") / cnn.where(cnn.abs() > SMALLEST_SLOPE)


def slope_variation(tested: pd.DataFrame, meter: str = "parser") -> pd.DataFrame:
    """Per method and property: coefficient of variation of the slopes over the latents."""
    means = mean_slopes(tested, meter)
    slopes = tested.groupby("method", sort=False)[[f"{meter}_{n}_slope" for n in EXPRESSION]]
    deviations = slopes.std(ddof=0).set_axis(list(EXPRESSION), axis=1)
    return deviations / means.where(means.abs() > SMALLEST_SLOPE)


def side_effects(tested: pd.DataFrame, meter: str = "parser") -> pd.DataFrame:
    """Per method: changes that were not requested, per unit of requested change on this meter.

    `eyes`, `mouth`, `pose`: leakage, the mean |change| of all other properties while this one moves
    by one standard deviation. UNWANTED: change of background, outline, identity and the filter
    properties, divided by the mean slope of the three properties.
    """
    methods = tested.groupby("method", sort=False)
    moved = mean_slopes(tested, meter).abs()
    moved = moved.where(moved > SMALLEST_SLOPE)
    leakage = pd.DataFrame({n: methods[f"{meter}_{n}_leakage"].mean() for n in EXPRESSION}) / moved
    return leakage.join(methods[list(UNWANTED)].mean().div(moved.mean(axis=1), axis=0))


def pass_curves(tested: pd.DataFrame, meter: str, cutoffs: np.ndarray = CURVE) -> pd.DataFrame:
    """Pass rate (a column per method) if eyes, mouth and pose all need this correlation (rows).

    A single cutoff would flatter one method or another.
    """
    rows = meter_columns(tested, meter)
    least = rows[list(CORRELATIONS)].fillna(-1).min(axis=1)
    curves = {
        name: [(values >= cutoff).mean() for cutoff in cutoffs]
        for name, values in least.groupby(tested["method"], sort=False)
    }
    return pd.DataFrame(curves, index=pd.Index(cutoffs, name="cutoff"))


def response_table(tested: pd.DataFrame, method: str, meter: str) -> pd.DataFrame:
    """What one unit of eyes, mouth and pose (rows) changes on this meter (columns), in standard
    deviations: means over the latents."""
    rows = meter_columns(tested[tested["method"] == method], meter)
    table = {}
    for name in EXPRESSION:
        prefix = f"{name}_to_"
        others = {c.removeprefix(prefix): rows[c].mean() for c in rows if c.startswith(prefix)}
        table[name] = {name: rows[f"{name}_slope"].mean()} | others
    columns = [*EXPRESSION, *(name for name in table["eyes"] if name not in EXPRESSION)]
    return pd.DataFrame(table).T[columns].rename_axis("one unit of")


def relative_responses(tested: pd.DataFrame, method: str, meter: str) -> pd.DataFrame:
    """`response_table` per unit of the row's own movement, so that methods that move differently
    can be compared; NaN where it is below SMALLEST_SLOPE."""
    table = response_table(tested, method, meter)
    own = pd.Series(np.diag(table[list(EXPRESSION)]), table.index)
    return table.div(own.where(own.abs() >= SMALLEST_SLOPE), axis=0)


def steering_table(tested: pd.DataFrame, meter: str) -> pd.DataFrame:
    """How each method steers on this meter, as text, for eyes / mouth / pose: slope per requested
    unit with its standard deviation over the latents, correlation, fraction of rising steps, and
    the mean scores at the lowest and at the highest level."""
    rows = meter_columns(tested, meter)
    methods = rows.groupby(tested["method"], sort=False)

    def means(what: str, form: Callable[[float], str] = "{:.2f}".format) -> pd.Series:
        table = methods[[f"{name}_{what}" for name in EXPRESSION]].mean()
        return table.apply(lambda row: " / ".join(map(form, row)), axis=1)

    deviations = methods[[f"{name}_slope" for name in EXPRESSION]].std(ddof=0)
    columns = {
        "slope": means("slope"),
        "its deviation": deviations.apply(
            lambda row: " / ".join(f"{value:.2f}" for value in row), axis=1
        ),
        "correlation": means("corr"),
        "rising steps": means("monotonic", percent),
        "at the lowest level": means("lowest", "{:+.2f}".format),
        "at the highest level": means("highest", "{:+.2f}".format),
    }
    return pd.DataFrame(columns).rename_axis("eyes / mouth / pose")


ABLATION = {
    "unit steps along SVM normals": "svm",
    "+ calibrated steps": "svm, calibrated",
    "+ recentered": "svm, calibrated, recentered",
    "ridge instead of SVMs": "ridge, calibrated, recentered",
    "+ background controlled": "ridge scene, calibrated, recentered",
    "+ natural turn, no smile": "ridge natural, calibrated, recentered",
    "+ corrected per latent": "ridge natural, per latent, calibrated, recentered",
}
"""What is changed, one after the other -> the method that has it."""


def ablation_table(tested: pd.DataFrame) -> pd.DataFrame:
    """Those steps of ABLATION that were tested, as text: the strict pass rate on each meter, and
    the leakage."""
    steps = {name: step for step, name in ABLATION.items() if name in set(tested["method"])}
    table = pass_rate_table(tested, CUTOFFS_V7)
    leakage = side_effects(tested).apply(triple, axis=1)
    table = table.assign(**{"leakage, eyes / mouth / pose": leakage}).loc[list(steps)]
    return table.set_axis(list(steps.values())).rename_axis("changed")


def step_name(before: str, after: str) -> str:
    """What distinguishes a method from the one before it: components that are new or gone."""
    (old, *had), (new, *has) = before.split(", "), after.split(", ")
    changes = [one for one in has if one not in had]
    changes += [f"without {one}" for one in had if one not in has]
    return " + ".join([*([f"{new} instead of {old}"] if new != old else []), *changes])


def gains_by_step(tested: pd.DataFrame, methods: Sequence[str], meter: str) -> str:
    """How the strict pass rate changes from each method to the next, in percentage points, with
    the p of the exact McNemar test on the same latents."""
    passed = _passed(tested, methods, meter)
    rates = 100 * passed.mean()
    return ", ".join(
        f"'{step_name(one, other)}' {rates[other] - rates[one]:+.0f} "
        f"({_p_text(paired_change(passed[one], passed[other])[2])})"
        for one, other in pairwise(methods)
    )


def _passed(tested: pd.DataFrame, methods: Sequence[str], meter: str) -> pd.DataFrame:
    """Which latents (rows) pass strictly with which of the methods (columns)."""
    latent = [name for name in ("seed", "idx") if name in tested]
    return pd.DataFrame(
        {
            name: passes(meter_columns(mine, meter), CUTOFFS_V7, signed=True).set_axis(
                pd.MultiIndex.from_frame(mine[latent].fillna(-1))
            )
            for name, mine in tested[tested["method"].isin(list(methods))].groupby("method")
        }
    )


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def ablation_summary(tested: pd.DataFrame) -> str:
    """What each step of ABLATION brings, a Markdown list: how many latents pass before and after
    it (on the last meter, with an exact McNemar test), and the mean leakage.

    Compared are the confirmed methods; if fewer than two are, all, on the test latents.
    """
    for part in ("confirmation", "test"):
        rows = tested[tested["part"] == part]
        names = [name for name in ABLATION.values() if name in set(rows["method"])]
        if len(names) > 1:
            break
    else:
        return ""
    meter, label = list(meters_of(rows).items())[-1]
    passed = _passed(rows, names, meter)
    leakage = side_effects(rows)[list(EXPRESSION)].mean(axis=1)
    lines = [f"Strict pass by the {label} and mean leakage, on the same {len(passed)} latents:", ""]
    for one, other in pairwise(names):
        gained, lost, p = paired_change(passed[one], passed[other])
        verdict = ("more pass" if gained > lost else "fewer pass") if p < SURE else "not shown"
        lines.append(
            f"* **{step_name(one, other)}**: {passed[one].sum()} → {passed[other].sum()} pass "
            f"({gained} gained, {lost} lost, {_p_text(p)}: {verdict}); "
            f"leakage {leakage[one]:.2f} → {leakage[other]:.2f}."
        )
    return "\n".join(lines)


def turn_or_tilt(tested: pd.DataFrame) -> str:
    """What the external judge sees of pose if the background is controlled, in words; "" if this
    was not tested."""
    free, still = (f"{name}, calibrated, recentered" for name in ("ridge", "ridge scene"))
    if "judge" not in meters_of(tested) or not {free, still} <= set(tested["method"]):
        return ""
    before, after = (
        response_table(tested, name, "judge").loc["pose", ["pose", "roll"]]
        for name in (free, still)
    )
    text = (
        f"With the background controlled the judge reads a turn (yaw) of {after.pose:.2f} and a "
        f"tilt (roll) of {after.roll:.2f} per unit of pose, without it {before.pose:.2f} and "
        f"{before.roll:.2f}."
    )
    if after.pose < 0.8 * before.pose:
        text += (
            " A turn changes what is seen beside the head, so with the background kept she tilts "
            "more than she turns. `ridge natural` was made for this."
        )
    return text


def rank_methods(tested: pd.DataFrame) -> pd.DataFrame:
    """Methods, best first: highest pass rate on the parser; ties: on the CNN, then least leakage.

    Leakage: mean change of the other properties and of the background per requested unit. If some
    methods were also tested on confirmation latents (column `part`), only these are candidates:
    the best of many on the same few latents may have been lucky.
    """
    confirmed = tested.loc[tested["part"] == "confirmation", "method"].unique()
    tested = tested[tested["part"] == "test"]
    if len(confirmed):
        tested = tested[tested["method"].isin(confirmed)]
    ranking = pd.DataFrame(
        {
            "parser pass rate": pass_rates(tested, "parser", CUTOFFS_V8).rate,
            "CNN pass rate": pass_rates(tested, "cnn", CUTOFFS_V8).rate,
            "leakage": side_effects(tested)[[*EXPRESSION, "background"]].mean(axis=1),
        }
    )
    ranking = ranking.sort_values(list(ranking), ascending=[False, False, True])
    ranking.insert(0, "latents", tested.groupby("method").size())
    return ranking


def best_method(tested: pd.DataFrame) -> str:
    """The name of the first of `rank_methods`."""
    return rank_methods(tested).index[0]


def extreme_latents(tested: pd.DataFrame, method: str) -> tuple[int, int]:
    """idx of the test latents with the highest and lowest sum of correlations on SELECTING."""
    rows = tested[(tested["method"] == method) & (tested["part"] == "test")].set_index("idx")
    sums = sum(rows[f"{m}_{name}"].fillna(-1) for m in SELECTING for name in CORRELATIONS)
    return int(sums.idxmax()), int(sums.idxmin())


def failures(tested: pd.DataFrame, method: str, meter: str) -> pd.DataFrame:
    """Which strict cutoffs the latents of a method miss on this meter: a row per property.

    `failed`: number of latents below the cutoff. Then means over those that fail and those that
    pass, of |unedited score| (how far the latent is from the population's mean) and slope.
    """
    rows = tested[tested["method"] == method]
    table = []
    for name, cutoff in asdict(CUTOFFS_V7).items():
        failed = ~(rows[f"{meter}_{name}_corr"] >= cutoff)
        entry = {"property": name, "tested": len(rows), "failed": failed.sum()}
        values = {
            "|unedited score|": rows[f"unedited_{name}"].abs(),
            "slope": rows[f"{meter}_{name}_slope"],
        }
        for what, numbers in values.items():
            entry[f"{what}, failed"] = numbers[failed].mean()
            entry[f"{what}, passed"] = numbers[~failed].mean()
        table.append(entry)
    return pd.DataFrame(table)


def published_table() -> pd.DataFrame:
    """PUBLISHED, as text: latents, mean correlations and passes by the property CNN."""
    label = METERS["cnn"]
    columns = {
        "latents": PUBLISHED.latents,
        f"{label}: mean corr. eyes / mouth / pose": PUBLISHED.apply(triple, axis=1),
    }
    for word in CUTOFFS:
        shares = PUBLISHED[word] / PUBLISHED.latents
        columns[f"{label}: {word}"] = [
            np.nan if np.isnan(passed) else f"{passed:.0f} ({share:.2%})"
            for passed, share in zip(PUBLISHED[word], shares, strict=True)
        ]
    return pd.DataFrame(columns).set_axis([f"*published: {name}*" for name in PUBLISHED.index])


PUBLISHED_ROWS = {"v7": "v7, 15 %", "v8": "v8, 20 %", "v9_mixed": "v9 mixed",
                  "v9_svm_ms2": "v9 svm_ms2"}  # fmt: skip
"""What a notebook's parameter `published` names -> the row of PUBLISHED."""


def beside_published(tested: pd.DataFrame, method: str, published: str) -> pd.DataFrame:
    """A method's latents beside the original's: the same meter, with its dropout on and off.

    Columns are those of `published_table`. Rows of one method are all counted, whatever their part.
    """
    rows = tested[tested["method"] == method]
    name = f"*published: {PUBLISHED_ROWS[published]}*"
    found = [published_table().loc[[name]].set_axis([f"{name}, dropout on"])]
    for meter, label in (("dropout", "dropout on"), ("cnn", "dropout off")):
        if f"{meter}_eyes_corr" in rows:
            means, key = mean_correlations(rows, meter).loc[method], METERS["cnn"]
            columns = {
                "latents": len(rows),
                f"{key}: mean corr. eyes / mouth / pose": triple(means),
            }
            for word, cutoffs in CUTOFFS.items():
                row = pass_rates(rows, meter, cutoffs).loc[method]
                interval = f"{row.low:.2%} to {row.high:.2%}"
                columns[f"{key}: {word}"] = f"{row.passed:.0f} ({row.rate:.2%}; {interval})"
            found.append(pd.DataFrame([columns], index=[f"here: {method}, {label}"]))
    return pd.concat(found).rename_axis("method")


def leakage_table(tested: pd.DataFrame) -> pd.DataFrame:
    """Methods × unrequested changes, gains and slope variation (`side_effects`), as text."""
    effects = side_effects(tested)
    shown = pd.DataFrame({"leakage, eyes / mouth / pose": effects.apply(triple, axis=1)})
    shown = shown.join(effects[["background", "outline"]])
    shown["identity, all three moved"] = effects["identity"]
    changes = effects[list(FILTER_CHANGES)]
    shown[", ".join(FILTER_PROPERTIES)] = changes.apply(
        lambda row: " / ".join(f"{value:.2f}" for value in row), axis=1
    )
    shown["gain parser / CNN"] = gains(tested).apply(triple, axis=1)
    shown["slope variation"] = slope_variation(tested).apply(triple, axis=1)
    moved = tested.groupby("method", sort=False)["recentering_change"].mean()
    if moved.any():
        shown["identity change by recentering"] = moved.where(moved > 0)
    return shown.rename_axis("method")


def headline(tested: pd.DataFrame, methods: list[str], used: Collection[str]) -> dict[str, str]:
    """Strict pass rates with intervals ("svm, property CNN", "svm, parser", ...), the same at the
    cutoffs of v8 ("svm, property CNN, v8"), "latents", and which meters confirm and which cannot
    (`used`: they fitted, calibrated or selected)."""
    meters, numbers = meters_of(tested), {}
    for ending, cutoffs in (("", CUTOFFS_V7), (", v8", CUTOFFS_V8)):
        rates = {meter: pass_rates(tested, meter, cutoffs) for meter in meters}
        for name in methods:
            for meter, label in meters.items():
                numbers[f"{name}, {label}{ending}"] = rate(rates[meter].loc[name])
    confirming = confirming_meter(tested, used)
    return numbers | {
        "latents": f"{int((tested['method'] == methods[-1]).sum())}",
        USED: ", ".join(METERS[meter] for meter in METERS if meter in used),
        CONFIRMING: METERS[confirming] if confirming else "none",
    }


def rate(row: pd.Series) -> str:
    """A row of `pass_rates` as "40% (22%–61%)"."""
    return f"{percent(row.rate)} ({percent(row.low)}–{percent(row.high)})"


def triple(row: pd.Series) -> str:
    """Values of eyes, mouth and pose as "0.97 / 0.95 / 0.96"."""
    return " / ".join("–" if np.isnan(row[name]) else f"{row[name]:.2f}" for name in EXPRESSION)
