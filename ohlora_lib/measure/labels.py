"""Labels of gender, quality, age and glass: by a person (a CSV) or by a simulated annotator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.store import StoreError
from ohlora_lib.store.tables import read_table, write_table

INDEX = "idx"


@dataclass(frozen=True)
class Labels:
    """A table `idx, gender, quality, age, glass` of 0 and 1, a row per image, and who labeled it.

    `error_rate` is the expected fraction of wrong labels per property; None if unknown.
    """

    table: pd.DataFrame
    labeled_by: str
    error_rate: Mapping[str, float] | None = None

    def write(self, path: str | Path) -> None:
        """Write the table as a CSV in the published format."""
        write_table(self.table, path)

    def unlabeled(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Those of an image set's numbers that have no label, in their order.

        An error if there are none left, or if a label belongs to no image of the set.
        """
        numbers, labeled = np.asarray(numbers), self.table[INDEX].to_numpy()
        unknown = np.setdiff1d(labeled, numbers)
        if len(unknown):
            raise StoreError(f"the labels have image {unknown[0]}, which the image set lacks")
        rest = numbers[~np.isin(numbers, labeled)]
        if not len(rest):
            raise StoreError(
                f"all {len(labeled)} images are labeled, so none is left to filter: label fewer, "
                "or generate more images in notebook 01"
            )
        return rest


def read_labels(path: str | Path, labeled_by: str, images: str | Path = "images") -> Labels:
    """Labels from a CSV in the published format; `labeled_by` names the person."""
    if not Path(path).exists():
        raise StoreError(
            f"{path} does not exist: a person makes it by labeling images of {images} with "
            "notebooks/hands_on/label.ipynb, or any CSV with the columns idx (the image's number), "
            "gender, quality, age, glass (1: female, good, old, wears glasses; else 0)"
        )
    table = read_table(path, [INDEX, *FILTER_PROPERTIES])[[INDEX, *FILTER_PROPERTIES]]
    numbers = pd.to_numeric(table[INDEX], errors="coerce")
    if len(wrong := table.loc[~(numbers >= 0) | (numbers % 1 != 0), INDEX]):
        raise StoreError(f"{path}: {INDEX} {wrong.iloc[0]} is not an image number: remove its row")
    if table[INDEX].duplicated().any():
        twice = table.loc[table[INDEX].duplicated(), INDEX].iloc[0]
        raise StoreError(f"{path}: image {twice} is labeled twice: keep one of its rows")
    for name in FILTER_PROPERTIES:
        wrong = ~table[name].isin([0, 1])
        if wrong.any():
            idx, value = table.loc[wrong, [INDEX, name]].iloc[0]
            raise StoreError(f"{path}: image {int(idx)} has {name} {value!r}: a label is 0 or 1")
    if table.empty:
        raise StoreError(f"{path} has no labels: it needs a row per labeled image")
    return Labels(table.astype(np.int64), labeled_by)


@dataclass(frozen=True)
class SimulatedAnnotator:
    """Labels from calibrated probabilities, with random mistakes like a person's.

    A label is the more likely answer, and with probability `slips` the opposite. Slips depend on
    the seed and the image's number only, not on the batch or order of the images.
    """

    name: str = "the simulated annotator"
    slips: float = 0.01
    seed: int = 0

    def label(
        self, indices: Sequence[int] | np.ndarray, probabilities: Mapping[str, np.ndarray]
    ) -> Labels:
        """Image numbers (N,), and a probability (N,) per property -> labels and error rates."""
        indices = np.asarray(indices, np.int64)
        table, error_rate = {INDEX: indices}, {}
        for place, name in enumerate(FILTER_PROPERTIES):
            probability = _checked(name, probabilities, len(indices))
            slipped = self._slipped(indices, place)
            table[name] = ((probability >= 0.5) ^ slipped).astype(np.int64)
            wrong = np.minimum(probability, 1 - probability)
            error_rate[name] = float((wrong + self.slips * (1 - 2 * wrong)).mean())
        return Labels(pd.DataFrame(table), self.name, error_rate)

    def _slipped(self, indices: np.ndarray, place: int) -> np.ndarray:
        """Which labels of one property are flipped, (N,) bool."""
        rng = np.random.default_rng([self.seed, place])
        return rng.random(indices.max(initial=-1) + 1)[indices] < self.slips


def cohen_kappa(first: np.ndarray, second: np.ndarray, ordered: Sequence | None = None) -> float:
    """Cohen's kappa of two people's answers (N,); NaN if both gave one and the same answer to all.

    `ordered`: the possible answers in order; then quadratic weights, for grades.
    """
    from sklearn.metrics import cohen_kappa_score

    answers = sorted(set(first) | set(second)) if ordered is None else list(ordered)
    one, other = ([answers.index(answer) for answer in each] for each in (first, second))
    if len({*one, *other}) < 2:
        return np.nan
    weights = None if ordered is None else "quadratic"
    return float(cohen_kappa_score(one, other, labels=range(len(answers)), weights=weights))


def _of_both(first: Labels, second: Labels) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables by image number, of the images that both labeled."""
    tables = [labels.table.set_index(INDEX).sort_index() for labels in (first, second)]
    common = tables[0].index.intersection(tables[1].index)
    if common.empty:
        raise StoreError("no image was labeled by both: let the second person label the same set")
    return tables[0].loc[common], tables[1].loc[common]


def agreement(first: Labels, second: Labels) -> pd.DataFrame:
    """A row per property: images that both labeled, share of equal labels, and Cohen's kappa."""
    one, other = _of_both(first, second)
    rows = {
        name: (len(one), (one[name] == other[name]).mean(), cohen_kappa(one[name], other[name]))
        for name in FILTER_PROPERTIES
    }
    return pd.DataFrame.from_dict(rows, "index", columns=["images", "agree", "kappa"])


def disagreements(first: Labels, second: Labels) -> pd.DataFrame:
    """A row per label that differs: idx, property, first, second."""
    one, other = (table.stack() for table in _of_both(first, second))
    differ = one != other
    table = pd.DataFrame({"first": one[differ], "second": other[differ]})
    return table.rename_axis([INDEX, "property"]).reset_index()


def agreed_labels(first: Labels, second: Labels) -> Labels:
    """The images whose four labels are equal."""
    one, other = _of_both(first, second)
    equal = one[(one == other).all(axis=1)].reset_index()
    return Labels(equal, f"{first.labeled_by} and {second.labeled_by}")


def auroc(scores: np.ndarray, answers: np.ndarray) -> float:
    """Area under the ROC curve of scores (N,) for answers (N,) of 0 and 1.

    That is the probability that a 1 scores higher than a 0; NaN if only one answer occurs.
    """
    from sklearn.metrics import roc_auc_score

    answers = np.asarray(answers) > 0.5
    return float(roc_auc_score(answers, scores)) if 0 < answers.sum() < len(answers) else np.nan


def _checked(name: str, probabilities: Mapping[str, np.ndarray], number: int) -> np.ndarray:
    """The property's probabilities, or an error that names what is wrong with them."""
    if name not in probabilities:
        raise ValueError(
            f"no probabilities of {name!r}: the annotator needs all of {FILTER_PROPERTIES}"
        )
    probability = np.asarray(probabilities[name], np.float64)
    if number == 0 or probability.shape != (number,):
        raise ValueError(f"{name}: probabilities {probability.shape} for {number} images")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"{name}: a probability is outside 0 to 1")
    return probability
