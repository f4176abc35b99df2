"""What else moves when, in rendered faces, only the eyes, the mouth or the head move (notebook 08).

Steering is not to blame for it: a head that truly turns shows its meter other eyes and other hair.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from ohlora_lib.faces.concept import fits_concept
from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.steering import comparison
from ohlora_lib.steering.meters import MeterSet
from ohlora_lib.toyworld import render, sample_attributes, texture_seed
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, filter_truth
from ohlora_lib.toyworld.face_sets import TEST_SEED

POPULATION = 600  # faces whose attributes tell where the ends lie and who fits the concept
ENDS = (0.16, 0.84)  # their quantiles: one deviation down and up


def true_moves(meters: MeterSet, faces: int) -> pd.DataFrame:
    """A row for eyes, mouth and pose, a column for each score: what the independent meter sees it
    change by, on average of so many faces that fit the concept, while the row's own rises by 1."""
    known = [sample_attributes(TEST_SEED, index) for index in range(POPULATION)]
    values = np.array([list(one.to_dict().values()) for one in known], np.float32)
    fits = np.flatnonzero(fits_concept(filter_truth(values)))[:faces]
    rows = {}
    for name in EXPRESSION:
        low, high = np.quantile(values[:, ATTRIBUTE_NAMES.index(name)], ENDS)
        ends = [
            np.stack([_drawn(replace(known[index], **{name: float(end)}), index) for index in fits])
            for end in (low, high)
        ]
        change = np.subtract(*(meters.parser(images).scores for images in reversed(ends)))
        own = np.nanmean(change[:, meters.parser.properties.index(name)])
        rows[name] = np.nanmean(np.abs(change), axis=0) / abs(own)
    return pd.DataFrame(rows, index=list(meters.parser.properties)).T


def _drawn(attributes, index: int) -> np.ndarray:
    return render(attributes, texture_seed(TEST_SEED, index)).image


def told(moves: pd.DataFrame, tested: pd.DataFrame, best: str) -> str:
    """The mean change of the other seven scores, beside a method's on the latents tested last."""
    least = " / ".join(f"{moves.loc[name].drop(name).mean():.3f}" for name in EXPRESSION)
    last = tested[tested["part"] == tested["part"].iloc[-1]]
    effects = comparison.side_effects(last).loc[best]
    ours = " / ".join(f"{effects[name]:.3f}" for name in EXPRESSION)
    return (
        f"In rendered faces whose eyes / mouth / head alone move, the other seven scores change by "
        f"{least} per deviation: so much belongs to a true movement. "
        f"'{best}' changes them by {ours}."
    )
