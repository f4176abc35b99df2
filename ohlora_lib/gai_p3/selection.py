"""Which images are training data: the gender model and its cutoff.

The model is trained on the labeled originals, in stratified folds. A labeled image and its variant
are scored by the fold that saw neither, any other image by the mean of all folds.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.gai_p3.collect import Collection
from ohlora_lib.models.filter_cnn import FilterCNNConfig
from ohlora_lib.models.precision import fastest_device
from ohlora_lib.train.classifier import (
    FILTER_TRAININGS,
    FilterTraining,
    FoldPlan,
    fold_probabilities,
    stratified_folds,
    train_folds,
)

CUTOFF, STRICT_CUTOFF = 0.9, 0.9999
"""P(female) of the author's plan, and the one that he used in the end."""
AUTHOR = {"accuracy": 0.946, "kept": 17_551, "kept men": 46, "kept, strict": 13_064}
"""Of 33,746 images; kept men: of the labeled ones."""
TRAININGS = {
    "small": FILTER_TRAININGS["small"]["gender"],
    "large": FilterTraining(  # 3.2 million parameters; the author's CNN had 3.7
        FilterCNNConfig(resolution=128, padding=1, filter="gender"),
        FoldPlan(1e-4, 0.2, half_period=13, max_epochs=13, max_tries=2, mirror=True),
    ),
}


def train_gender_model(
    folder: Path, collection: Collection, training: FilterTraining, folds: int, seed: int = 0
) -> pd.DataFrame:
    """The folds on the labeled originals; `train_folds` says what is written and returned."""
    table, images = labeled_originals(collection)
    labels = pd.DataFrame({"gender": (table["kind"] == "female").astype(int)})
    if labels["gender"].nunique() < 2:
        raise ValueError("the collection has no labeled men, or no labeled women: both are needed")
    device = fastest_device().type
    return train_folds(folder, images, labels, {"gender": training}, folds, seed, device)


def labeled_originals(collection: Collection) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of the table, indexed by their number in the collection, and the images."""
    table = collection.table
    rows = table.index[(table["kind"] != "unlabeled") & (table["ratio"] == 1)]
    return table.loc[rows], collection.images[rows]


def female_probabilities(
    folder: Path, collection: Collection, folds: int, seed: int = 0
) -> np.ndarray:
    """(N,) of all images of the collection."""
    each = fold_probabilities(folder, "gender", np.array(collection.images), folds)
    table, result = collection.table, each.mean(1)
    labeled, _ = labeled_originals(collection)
    answers = (labeled["kind"] == "female").to_numpy().astype(int)
    for fold, held_out in enumerate(stratified_folds(answers, folds, (seed, 0))):
        rows = table["source"].isin(labeled.index[held_out]).to_numpy()
        result[rows] = each[rows, fold]
    return result


def last_tenth(collection: Collection) -> pd.Series:
    """Kinds among the last tenth of the labeled originals in the author's order of files, men
    before women: what Keras' validation_split takes."""
    table, _ = labeled_originals(collection)
    ordered = table.sort_values("kind", ascending=False, kind="stable")
    return ordered["kind"].tail(max(1, len(ordered) // 10)).value_counts()


def shortened(training: FilterTraining, epochs: int) -> FilterTraining:
    """At most `epochs`; 0: as planned."""
    return training.shortened(epochs) if epochs else training


def as_strict_as_the_authors(probabilities: np.ndarray, cutoff: float) -> float:
    """The cutoff that keeps as large a part of those at or above `cutoff` as his later rule did."""
    passed = probabilities[probabilities >= cutoff]
    share = AUTHOR["kept, strict"] / AUTHOR["kept"]
    return float(np.quantile(passed, 1 - share)) if len(passed) else cutoff


def selection_table(
    probabilities: np.ndarray, female: np.ndarray, cutoffs: tuple[float, ...]
) -> pd.DataFrame:
    """Probabilities (N,) and truth (N,) -> per cutoff: kept, precision and recall."""
    rows = {}
    for cutoff in cutoffs:
        kept = probabilities >= cutoff
        right = (kept & female).sum()
        rows[cutoff] = {
            "kept": kept.sum(),
            "women": right,
            "precision": right / kept.sum() if kept.any() else np.nan,
            "recall": right / female.sum() if female.any() else np.nan,
        }
    table = pd.DataFrame(rows).T.rename_axis("P(female) at least")
    return table.astype({"kept": int, "women": int})
