"""SVM directions, as published: the normal of a linear SVM between the two tails of a score.

For each group and property, the images with the highest and the lowest scores are two classes; a
linear SVM on their vectors separates them. VectorFind-v7 to v9 do this. Their class names sort such
that the published directions point toward lower scores; these point toward higher ones.
"""

import warnings
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import FittedDirections, LinearDirections, checked_samples
from ohlora_lib.steering.groups import EVERYWHERE, Grouping, VectorError, rows_by_group
from ohlora_lib.steering.select import wilson_interval


@dataclass(frozen=True)
class SvmConfig:
    """Published: tails of 20 % (v7 also 15 %), 80/20 split, C = 1, no controlled properties.

    `controlled` properties should not move along: each direction is made orthogonal to the normals
    of all of them but its own. With EXPRESSION the three directions do not mix with each other.
    """

    tail_fraction: float = 0.2  # of a group's images, in each tail
    train: float = 0.8
    penalty: float = 1.0  # LinearSVC's C
    controlled: tuple[str, ...] = ()
    least: int = 50  # images of a group; a smaller one uses the SVM of all images
    most: int = 10_000  # images in each tail: bounds the time without groups
    seed: int = 2025

    def __post_init__(self):
        if not (0 < self.tail_fraction <= 0.5 and 0 < self.train < 1):
            raise VectorError(
                f"tail_fraction = {self.tail_fraction}, train = {self.train}: "
                "must be in (0, 0.5] and in (0, 1)"
            )


class Normal(NamedTuple):
    """One SVM: its unit normal (D,) toward higher scores, and its result on held-out images."""

    vector: np.ndarray
    trained: int
    validated: int
    correct: int


def fit_svm(
    vectors: np.ndarray,
    scores: pd.DataFrame,
    grouping: Grouping | None = None,
    config: SvmConfig | None = None,
) -> FittedDirections:
    """Vectors (N, D), scores of their images -> unit directions, accuracy per group and property.

    A group with too few images, or whose two tails have equal scores, uses the normal of all
    images; the report's `learned_from` says so.
    """
    config = config or SvmConfig()
    columns = checked_samples(vectors, scores, config.controlled)
    groups = rows_by_group(scores, grouping)
    rows = groups | rows_by_group(scores, None)
    pairs = list(product(groups, columns))
    sources = {
        (name, one): name if _can_learn(columns[one].to_numpy(), rows[name], config) else EVERYWHERE
        for name, one in pairs
    }
    normals = _normals(vectors, columns, rows, sources, config)
    directions = np.stack([
        _directions({one: normals[name, one].vector for one in columns}, config.controlled)
        for name in groups
    ])  # fmt: skip
    report = [_row(*pair, len(rows[pair[0]]), sources[pair], normals[pair]) for pair in pairs]
    return FittedDirections(LinearDirections(directions, grouping), pd.DataFrame(report))


def overall_accuracy(report: pd.DataFrame) -> pd.Series:
    """Accuracy per property over all held-out images, as the published figures are.

    An SVM that several groups share is counted once.
    """
    counts = held_out_counts(report)
    return (counts["correct"] / counts["validated"]).rename("accuracy")


def accuracy_table(report: pd.DataFrame) -> pd.DataFrame:
    """`overall_accuracy` with its 95 % interval and, per property, the group with the lowest."""
    own = report.drop_duplicates(["learned_from", "property"])
    accuracy, counts = overall_accuracy(report), held_out_counts(report)
    bounds = [wilson_interval(*row) for row in counts.itertuples(index=False)]
    lowest = own.loc[own.groupby("property", sort=False)["accuracy"].idxmin()].set_index("property")
    return pd.DataFrame(
        {
            "accuracy": accuracy,
            "95 % interval": [f"{low:.3f}–{high:.3f}" for low, high in bounds],
            "lowest group": lowest["learned_from"],
            "lowest group's accuracy": lowest["accuracy"],
            "its held-out latents": lowest["validated"],
        },
        index=accuracy.index,
    )


def held_out_counts(report: pd.DataFrame) -> pd.DataFrame:
    """Per property, `correct` and `validated`: held-out images of all SVMs."""
    own = report.drop_duplicates(["learned_from", "property"])
    return own.groupby("property", sort=False)[["correct", "validated"]].sum()


def _row(group: str, one: str, images: int, source: str, normal: Normal) -> dict[str, object]:
    counts = {"trained": normal.trained, "validated": normal.validated, "correct": normal.correct}
    accuracy = normal.correct / normal.validated
    return {"group": group, "property": one, "images": images, "learned_from": source,
            **counts, "accuracy": accuracy}  # fmt: skip


def _tails(scores: np.ndarray, rows: np.ndarray, config: SvmConfig):
    """The rows with the lowest and those with the highest of the scores (N,), equally many."""
    order = rows[np.argsort(scores[rows], kind="stable")]
    count = min(int(config.tail_fraction * len(rows)), config.most)
    return order[:count], order[len(order) - count :]


def _can_learn(scores: np.ndarray, rows: np.ndarray, config: SvmConfig) -> bool:
    """Whether the tails differ and there are images to train on and to validate on."""
    low, high = _tails(scores, rows, config)
    train = int(config.train * len(low))
    enough = len(rows) >= config.least and 0 < train < len(low)
    return enough and scores[low[-1]] < scores[high[0]]


def _normals(vectors, columns, rows, sources, config) -> dict[tuple[str, str], Normal]:
    """A normal for each (group, property); a shared one is trained once."""
    needed = sorted({(source, one) for (_, one), source in sources.items()})
    for source, one in needed:
        if not _can_learn(columns[one].to_numpy(), rows[source], config):
            raise VectorError(
                f"{len(rows[source])} images with {columns[one].nunique()} values of {one!r} have "
                f"no two different tails of {config.tail_fraction:.0%}: sample more"
            )
    places = {name: place for place, name in enumerate(rows)}
    from sklearn.exceptions import ConvergenceWarning  # see `_normal`

    with warnings.catch_warnings():
        # On separable classes the solver may stop at its iteration limit; the normal is good then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # One after another: liblinear's random numbers are shared by all threads of the process.
        found = {
            (source, one): _normal(
                vectors,
                _tails(columns[one].to_numpy(), rows[source], config),
                config,
                seed=(config.seed, places[source], columns.columns.get_loc(one)),
            )
            for source, one in needed
        }
    return {(name, one): found[source, one] for (name, one), source in sources.items()}


def _normal(vectors: np.ndarray, ends: tuple, config: SvmConfig, seed: tuple[int, ...]) -> Normal:
    """Train on a random part of both tails (low, high), validate on the rest."""
    from sklearn.svm import LinearSVC  # takes two seconds; processes that only steer need it not

    random = np.random.default_rng(seed)
    train = int(config.train * len(ends[0]))
    shuffled = [random.permutation(end) for end in ends]
    fit, rest = (np.concatenate([end[part] for end in shuffled]) for part in np.s_[:train, train:])
    classifier = LinearSVC(C=config.penalty, random_state=config.seed)
    classifier.fit(vectors[fit], np.repeat([0, 1], train))
    right = classifier.predict(vectors[rest]) == np.repeat([0, 1], len(rest) // 2)
    normal = classifier.coef_[0]
    return Normal(normal / np.linalg.norm(normal), len(fit), len(rest), int(right.sum()))


def _directions(normals: dict[str, np.ndarray], controlled: tuple[str, ...]) -> np.ndarray:
    """A normal (D,) per property -> (3, D) of length 1, orthogonal to what is controlled."""
    directions = []
    for one in EXPRESSION:
        others = [normals[name] for name in normals if name in controlled and name != one]
        direction = normals[one]
        if others:
            basis = np.linalg.qr(np.transpose(others))[0]
            direction = direction - basis @ (basis.T @ direction)
        directions.append(direction / np.linalg.norm(direction))
    return np.array(directions, np.float32)
