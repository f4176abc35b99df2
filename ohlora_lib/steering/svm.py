"""SVM directions, as published: the normal between the images of most and of least of a property.

VectorFind-v7 to v9 train a linear SVM per group and property. Their class names sort such that the
published directions point downwards; these point upwards.
"""

import warnings
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering.directions import Found, LinearDirections, checked_samples
from ohlora_lib.steering.groups import EVERYWHERE, Grouping, VectorError, rows_by_group


@dataclass(frozen=True)
class SvmConfig:
    """Published: 20 % at each end (v7 also 15 %), 80/20, C = 1, nothing held.

    `held` are properties that the directions must not move along: each arrow is freed from the
    normals of all of these but its own. With EXPRESSION the three are freed from each other.
    """

    share: float = 0.2  # of a group's images, at each end
    train: float = 0.8
    penalty: float = 1.0  # LinearSVC's C
    held: tuple[str, ...] = ()
    least: int = 50  # images of a group; one with fewer borrows from all images
    most: int = 10_000  # images at each end: bounds the time without groups
    seed: int = 2025

    def __post_init__(self):
        if not (0 < self.share <= 0.5 and 0 < self.train < 1):
            raise VectorError("share must be above 0 and at most 0.5, train between 0 and 1")


class Normal(NamedTuple):
    """One SVM: its unit normal (D,), upwards, and how well it sorts images it has not seen."""

    vector: np.ndarray
    trained: int
    validated: int
    correct: int


def svm(
    vectors: np.ndarray,
    scores: pd.DataFrame,
    grouping: Grouping | None = None,
    config: SvmConfig | None = None,
) -> Found:
    """Vectors (N, D), their images' scores -> arrows of length 1, accuracy per group and property.

    A group with too few images, or whose two ends do not differ, borrows the normal of all images;
    `learned_from` in the report says so.
    """
    config = config or SvmConfig()
    columns = checked_samples(vectors, scores, config.held)
    groups = rows_by_group(scores, grouping)
    rows = groups | rows_by_group(scores, None)
    pairs = list(product(groups, columns))
    sources = {
        (name, one): name if _can_learn(columns[one].to_numpy(), rows[name], config) else EVERYWHERE
        for name, one in pairs
    }
    normals = _normals(vectors, columns, rows, sources, config)
    arrows = [_arrows({one: normals[name, one].vector for one in columns}, config.held)
              for name in groups]  # fmt: skip
    report = [_row(*pair, len(rows[pair[0]]), sources[pair], normals[pair]) for pair in pairs]
    return Found(LinearDirections(np.stack(arrows), grouping), pd.DataFrame(report))


def overall_accuracy(report: pd.DataFrame) -> pd.Series:
    """Accuracy per property over all groups' validation images, as the published figures are."""
    own = report.drop_duplicates(["learned_from", "property"])
    counts = own.groupby("property", sort=False)[["correct", "validated"]].sum()
    return (counts["correct"] / counts["validated"]).rename("accuracy")


def _row(group: str, one: str, images: int, source: str, normal: Normal) -> dict[str, object]:
    counts = {"trained": normal.trained, "validated": normal.validated, "correct": normal.correct}
    accuracy = normal.correct / normal.validated
    return {"group": group, "property": one, "images": images, "learned_from": source,
            **counts, "accuracy": accuracy}  # fmt: skip


def _ends(scores: np.ndarray, rows: np.ndarray, config: SvmConfig) -> tuple[np.ndarray, np.ndarray]:
    """The rows of least and of most, as many of each."""
    order = rows[np.argsort(scores[rows], kind="stable")]
    count = min(int(config.share * len(rows)), config.most)
    return order[:count], order[len(order) - count :]


def _can_learn(scores: np.ndarray, rows: np.ndarray, config: SvmConfig) -> bool:
    """Are there two ends to tell apart, with images to learn from and to validate on?"""
    least, most = _ends(scores, rows, config)
    train = int(config.train * len(least))
    return (
        len(rows) >= config.least and 0 < train < len(least) and scores[least[-1]] < scores[most[0]]
    )


def _normals(vectors, columns, rows, sources, config) -> dict[tuple[str, str], Normal]:
    """A normal for each (group, property); those borrowed are trained once."""
    needed = sorted({(source, one) for (_, one), source in sources.items()})
    for source, one in needed:
        if not _can_learn(columns[one].to_numpy(), rows[source], config):
            raise VectorError(
                f"{len(rows[source])} images with {columns[one].nunique()} values of {one!r} have "
                f"no two ends of {config.share:.0%} to tell apart: sample more"
            )
    places = {name: place for place, name in enumerate(rows)}
    from sklearn.exceptions import ConvergenceWarning  # see `_normal`

    with warnings.catch_warnings():
        # On separable classes the solver may stop at its limit; the normal is as good by then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Not side by side: the solver draws from one source of chance for the whole process.
        found = {
            (source, one): _normal(
                vectors,
                _ends(columns[one].to_numpy(), rows[source], config),
                config,
                seed=(config.seed, places[source], columns.columns.get_loc(one)),
            )
            for source, one in needed
        }
    return {(name, one): found[source, one] for (name, one), source in sources.items()}


def _normal(vectors: np.ndarray, ends: tuple, config: SvmConfig, seed: tuple[int, ...]) -> Normal:
    """Train on a random part of both ends, count what is right of the rest."""
    from sklearn.svm import LinearSVC  # two seconds, which processes that only steer do not need

    random = np.random.default_rng(seed)
    train = int(config.train * len(ends[0]))
    shuffled = [random.permutation(end) for end in ends]
    fit, rest = (np.concatenate([end[part] for end in shuffled]) for part in np.s_[:train, train:])
    classifier = LinearSVC(C=config.penalty, random_state=config.seed)
    classifier.fit(vectors[fit], np.repeat([0, 1], train))
    right = classifier.predict(vectors[rest]) == np.repeat([0, 1], len(rest) // 2)
    normal = classifier.coef_[0]
    return Normal(normal / np.linalg.norm(normal), len(fit), len(rest), int(right.sum()))


def _arrows(normals: dict[str, np.ndarray], held: tuple[str, ...]) -> np.ndarray:
    """A normal (D,) per property -> (3, D) of length 1, freed from what is held."""
    arrows = []
    for one in EXPRESSION:
        others = [normals[other] for other in normals if other in held and other != one]
        arrow = normals[one]
        if others:
            basis = np.linalg.qr(np.transpose(others))[0]
            arrow = arrow - basis @ (basis.T @ arrow)
        arrows.append(arrow / np.linalg.norm(arrow))
    return np.array(arrows, np.float32)
