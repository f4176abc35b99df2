"""Two attempts to improve generated faces after training, and the rule that keeps or drops them.

The refiner is a small U-Net that learned to turn reconstructions into their originals; it is
applied to generated faces, whose blur is that of reconstructions. The fitted noise replaces
N(0, 1), which the priors assume, by the distribution that the noise of encoded faces has: its
covariance in the coarsest groups, mean and standard deviation per channel in the others. So it also
redistributes the rate over the groups: where encoded faces vary less than the prior, less is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch

from ohlora_lib.gai_p3.judges import in_blocks
from ohlora_lib.gai_p3.retouch import as_tensor
from ohlora_lib.models.nvae import NVAE
from ohlora_lib.models.precision import autocast
from ohlora_lib.models.stylegan import to_uint8
from ohlora_lib.models.unet_parser import UNetConfig, UNetParser
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.loop import rate, set_rate

REFINER = UNetConfig(widths=(16, 32, 48), classes=3, resolution=64)
RESIDUAL = 0.25  # of the U-Net's output, which is added to the image


@dataclass(frozen=True)
class RefinerPlan:
    """Optimization settings."""

    steps: int = 200
    batch: int = 16
    learning_rate: float = 3e-3


def train_refiner(
    reconstructed: np.ndarray, originals: np.ndarray, plan: RefinerPlan, seed: int = 0
) -> UNetParser:
    """A refiner of pairs (N, R, R, 3) uint8, in eval mode."""
    network = UNetParser(REFINER, seed)
    with torch.no_grad():
        network.classify.weight.zero_()  # at first it changes nothing
        network.classify.bias.zero_()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    for step in range(plan.steps):
        rng = stream(seed, step)
        rows = rng.integers(len(originals), size=plan.batch)
        x, wanted = as_tensor(reconstructed[rows]), as_tensor(originals[rows])
        if rng.random() < 0.5:
            x, wanted = x.flip(-1), wanted.flip(-1)
        set_rate(optimizer, plan.learning_rate * rate(step / plan.steps))
        with autocast():
            made = refine(network, x)
        loss = (made.float() - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def refine(network: UNetParser, x: torch.Tensor) -> torch.Tensor:
    """Images (N, 3, R, R) in -1..1 -> refined ones."""
    return x + RESIDUAL * network(x)


@torch.no_grad()
def refined(network: UNetParser, images: np.ndarray, batch: int = 64) -> np.ndarray:
    """`refine` of (N, R, R, 3) uint8."""
    parts = [as_tensor(images[at : at + batch]) for at in range(0, len(images), batch)]
    return np.concatenate([to_uint8(refine(network, x).clamp(-1, 1)) for x in parts])


@dataclass(frozen=True)
class FittedNoise:
    """Per group: a mean and a matrix by which standard normal noise is multiplied.

    Coarse groups: mean (D,) and matrix (D, D) of all their D values. Others: mean and standard
    deviation (latents, 1, 1) of each channel.
    """

    means: list[np.ndarray]
    scales: list[np.ndarray]

    @classmethod
    def fit(cls, noise: Sequence[np.ndarray], coarse: int = 4) -> "FittedNoise":
        """Noise of encoded faces, (N, latents, H, W) per group; groups up to the size `coarse` get
        a covariance, shrunk as Ledoit and Wolf do."""
        from sklearn.covariance import ledoit_wolf

        means, scales = [], []
        for values in noise:
            if values.shape[-1] <= coarse:
                flat = values.reshape(len(values), -1).astype(np.float64)
                means.append(flat.mean(0))
                scales.append(np.linalg.cholesky(ledoit_wolf(flat)[0]))
            else:
                means.append(values.mean((0, 2, 3))[:, None, None])
                scales.append(values.std((0, 2, 3))[:, None, None])
        return cls(means, scales)

    def __call__(self, noise: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Standard normal noise, (N, latents, H, W) per group -> fitted noise."""
        found = []
        for each, mean, scale in zip(noise, self.means, self.scales, strict=True):
            mean, scale = (torch.as_tensor(x).to(each) for x in (mean, scale))
            if scale.dim() == 2:
                found.append((each.flatten(1) @ scale.T + mean).view_as(each))
            else:
                found.append(each * scale + mean)
        return found


def make_fitted(
    network: NVAE, fitted: FittedNoise, seeds: Sequence[int], conditions: np.ndarray
) -> np.ndarray:
    """As `judges.make_faces`, with fitted noise."""
    return in_blocks(network, partial(_make_fitted, network, fitted), np.asarray(seeds), conditions)


@torch.no_grad()
def _make_fitted(network, fitted, seeds, conditions):
    return to_uint8(network.decode(fitted(network.noise_of(seeds)), conditions).mean())


LOWER_IS_BETTER = ("Fréchet ratio", "AUROC of a fresh judge")
RECALL = "recall"


def why_dropped(table: pd.DataFrame, attempt: str, baseline: str = "baseline") -> list[str]:
    """The columns for which an attempt is dropped; none if it is kept. `table`: a row per attempt
    and seed.

    It is kept if in each seed the Fréchet ratio is lower than the baseline's, and if over all seeds
    a fresh judge does not tell its faces from real ones better, and recall is not lower.
    """
    by_seed = table.set_index(["attempt", "seed"]).sort_index()
    new, old = by_seed.loc[attempt], by_seed.loc[baseline]
    if len(new) < 3 or not new.index.equals(old.index):
        raise ValueError(f"{attempt}: three seeds or more are needed, those of the baseline")
    first, second = LOWER_IS_BETTER
    met = {
        first: (new[first] < old[first]).all(),
        second: new[second].mean() <= old[second].mean(),
        RECALL: new[RECALL].mean() >= old[RECALL].mean(),
    }
    return [column for column, reached in met.items() if not reached]
