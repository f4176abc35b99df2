"""The original generator's last step: defects as plain as in the faces that it learned from.

Of what w leaves open regression draws a faint mean: three of five poor pictures came out good. But
how strong each kind of defect is can be read off w linearly, and styles are linear in w: weights
that read each strength as more than it is show it as strong as it was, and nothing else changes.
"""

import numpy as np
import torch

from ohlora_lib.models.stylegan import Generator
from ohlora_lib.toyworld.defects import KINDS
from ohlora_lib.toyworld.train.entangle import DRAWS, Entangle
from ohlora_lib.toyworld.train.loop import stream
from ohlora_lib.toyworld.train.original_mapping import defects

GAINS = dict(zip(KINDS, (0.3, 0.7, 0.7, 0.6, 1.0, 1.0), strict=True))
"""What is added to the strength of each kind: less to what was drawn well (warps) before."""
PEOPLE = 60_000
RIDGE = 1e-4  # of w's mean variance


@torch.no_grad()
def strengthen(generator: Generator, seed: int = 0, gains=GAINS, people: int = PEOPLE) -> None:
    """Changes the styles' weights, in place; to be called once."""
    rng, size = stream(seed, 0), generator.config.z_size
    drawn = rng.standard_normal((people, DRAWS))
    rest = rng.standard_normal((people, size - DRAWS))
    z = torch.from_numpy(Entangle(z_size=size).to_z(drawn, rest)).float()
    w = torch.cat([generator.mapping(part) for part in z.split(1000)]).double().numpy()
    more = stronger(w - w.mean(0), defects(drawn), np.array(list(gains.values())))
    read_through(generator, w.mean(0), more)


def stronger(away: np.ndarray, strength: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """w's distances from its mean (N, W), each kind's strength (N, K) -> (W, W) to multiply by.

    What it adds: the strength that is read off w, times the gain, along what that strength changes.
    """
    strength = strength - strength.mean(0)
    covariance = away.T @ away / len(away)
    ridge = RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    read = np.linalg.solve(covariance + ridge, away.T @ strength / len(away))
    along = np.linalg.lstsq(strength, away, rcond=None)[0]
    return np.eye(len(covariance)) + read @ (gains[:, None] * along)


@torch.no_grad()
def read_through(generator: Generator, centre: np.ndarray, matrix: np.ndarray) -> None:
    """Makes the styles of w what those of `centre + (w - centre) @ matrix` were, in place."""
    centre, matrix = torch.from_numpy(centre), torch.from_numpy(matrix)
    for i in range(generator.config.layers):
        style = getattr(generator.synthesis, f"layer{i}").style
        before = style.weight.double()
        after = before @ matrix.T
        style.weight.copy_(after)
        style.bias.add_(style.scale / style.rate * ((before - after) @ centre).float())
