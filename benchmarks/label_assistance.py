"""How many labels does model assistance save? Uncertain images first, against random ones.

    python -m benchmarks.label_assistance [--seeds 3] [--steps 200 300 450] [--further 700]

The annotator network labels generated faces in place of a person. From the same first labels, one
person goes on in random order, another with the images whose answers the CNNs of notebook 02 know
least, sorted again after each step, as in notebooks/hands_on/label. After each step the CNNs are
trained on the labels so far and judged on held-out faces: mean AUROC of the four properties. Labels
saved: how many more the random order needs for the same AUROC (linear interpolation).
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib.checkpoints import load
from ohlora_lib.faces.concept import label_uncertainty
from ohlora_lib.faces.domain import TOY
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.measure.labels import SimulatedAnnotator, auroc
from ohlora_lib.steering.sampling import latents, load_sampler
from ohlora_lib.train.classifier import FILTER_TRAININGS, filter_scores, train_folds


def faces(seed: int, count: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Generated faces and their labels by the annotator, without slips."""
    sampler = load_sampler("original")
    images = sampler.images(sampler.vectors(latents(seed, range(count), sampler.z_size)))
    probabilities = load("annotator").annotate(images).probabilities
    return images, SimulatedAnnotator(slips=0).label(range(count), probabilities).table


def scores_after(images, labels, known, folds: int, seed: int) -> pd.DataFrame:
    """Train the CNNs on the images `known`; their scores of all images."""
    trainings = FILTER_TRAININGS[TOY.networks]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train_folds(place, images[known], labels.iloc[known], trainings, folds, seed, workers=1)
        return filter_scores(place, images, folds)


def curves(
    seed: int, pool: int, held_out: int, steps: list[int], further: list[int], folds: int
) -> pd.DataFrame:
    """Number of labels (rows) -> mean AUROC with the next images at random, and with uncertain ones
    first (not for the `further` numbers)."""
    images, labels = faces(1000 + seed, pool + held_out)
    order = np.random.default_rng(seed).permutation(pool)
    first = scores_after(images, labels, order[: steps[0]], folds, seed)
    index = pd.Index([*steps, *further], name="labels")
    table = pd.DataFrame(index=index, columns=["random", "uncertain"])
    for arm in table:
        known, scores = order[: steps[0]], first
        for step in [*steps, *further] if arm == "random" else steps:
            if step > len(known):
                rest = order[~np.isin(order, known)]
                if arm == "uncertain":
                    sure_last = np.argsort(-label_uncertainty(scores)[rest], kind="stable")
                    rest = rest[sure_last]
                known = np.concatenate([known, rest[: step - len(known)]])
                scores = scores_after(images, labels, known, folds, seed)
            held = slice(pool, None)
            found = [auroc(scores[n][held], labels[n][held]) for n in FILTER_PROPERTIES]
            table.loc[step, arm] = float(np.mean(found))
            print(f"seed {seed}, {arm}, {step} labels: {table.loc[step, arm]:.4f}", flush=True)
    return table.astype(float)


def saved(table: pd.DataFrame, step: int) -> tuple[float, bool]:
    """Labels that the random order needs more, and whether it did not get there at all."""
    reached = table["random"].cummax()
    target = table.loc[step, "uncertain"]
    beyond = target > reached.iloc[-1]
    return float(np.interp(target, reached, table.index)) - step, bool(beyond)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--steps", type=int, nargs="+", default=[200, 300, 450])
    parser.add_argument("--further", type=int, nargs="*", default=[700])
    parser.add_argument("--folds", type=int, default=2)
    given = parser.parse_args()
    sizes = given.pool, given.held_out, given.steps, given.further, given.folds
    tables = [curves(seed, *sizes) for seed in range(given.seeds)]
    mean = sum(tables) / len(tables)
    print(f"\nmean AUROC over {given.seeds} seeds, {given.held_out} held-out faces")
    print(mean.round(4).to_string())
    for step in given.steps[1:]:
        each = [saved(table, step) for table in tables]
        text = ", ".join(("≥ " if beyond else "") + f"{labels:+.0f}" for labels, beyond in each)
        print(f"labels saved at {step}: {text}; median {np.median([n for n, _ in each]):+.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
