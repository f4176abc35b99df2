"""Choosing among generated faces, which changes none of them: what retouching is compared with.

Discriminator rejection sampling and Metropolis-Hastings go by a judge of the images; reweighted
noise goes by classifiers of the noise of encoded faces and that of the prior, one per group, as
NCP-VAE's contrastive prior does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def rejection_weights(log_odds: np.ndarray, quantile: float = 0.8) -> np.ndarray:
    """Probabilities (N,) with which discriminator rejection sampling keeps generated images.

    In proportion to p(real) / p(generated), at most 1: those above the `quantile` of the log-odds
    are all kept, as otherwise a single image could decide how many are.
    """
    return np.exp(np.minimum(log_odds - np.quantile(log_odds, quantile), 0))


def metropolis_hastings(log_odds: np.ndarray, seed: int) -> np.ndarray:
    """Log-odds (N, K) of K candidates each -> (N,) the candidate at which each chain ends.

    A chain moves from candidate to candidate with the probability of their quotient of odds.
    """
    lots = np.log(np.random.default_rng(seed).uniform(1e-300, 1, log_odds.shape))
    rows, at = np.arange(len(log_odds)), np.zeros(len(log_odds), int)
    for number in range(1, log_odds.shape[1]):
        moves = lots[:, number] < log_odds[:, number] - log_odds[rows, at]
        at = np.where(moves, number, at)
    return at


@dataclass(frozen=True)
class NoiseOdds:
    """Per group a classifier: log p(noise | encoded face) / p(noise | prior), of `statistics`."""

    classifiers: list

    @classmethod
    def fit(cls, encoded: Sequence[np.ndarray], seed: int = 0) -> "NoiseOdds":
        """Of the noise of encoded faces, (N, latents, H, W) per group, against as much of the
        prior; regularized by cross-validation."""
        from sklearn.linear_model import LogisticRegressionCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        rng, found = np.random.default_rng(seed), []
        for values in encoded:
            prior = rng.standard_normal(values.shape, np.float32)
            x = np.concatenate([statistics(values), statistics(prior)])
            regression = LogisticRegressionCV(
                Cs=np.logspace(-4, 0, 5),
                l1_ratios=(0,),
                scoring="neg_log_loss",
                use_legacy_attributes=False,
            )
            answers = np.repeat([1, 0], [len(values), len(prior)])
            order = rng.permutation(len(x))
            found.append(make_pipeline(StandardScaler(), regression).fit(x[order], answers[order]))
        return cls(found)

    def __call__(self, noise: Sequence[np.ndarray]) -> np.ndarray:
        """(N,) log-odds of the noise of all groups."""
        pairs = zip(self.classifiers, noise, strict=True)
        return sum(classifier.decision_function(statistics(each)) for classifier, each in pairs)


def statistics(noise: np.ndarray) -> np.ndarray:
    """(N, latents, H, W) -> (N, 4 latents): per channel its mean, its mean square, and the mean
    products of horizontal and of vertical neighbors."""
    parts = (
        noise,
        noise**2,
        noise[..., 1:] * noise[..., :-1],
        noise[..., 1:, :] * noise[..., :-1, :],
    )
    return np.concatenate([part.mean((2, 3)) for part in parts], axis=1)


def resampled(log_odds: np.ndarray, seed: int) -> np.ndarray:
    """Log-odds (N, K) of K candidates each -> (N,) one of them, drawn in proportion to its odds."""
    gumbel = np.random.default_rng(seed).gumbel(size=log_odds.shape)
    return (log_odds + gumbel).argmax(1)


def effective_share(log_odds: np.ndarray) -> float:
    """Effective number of candidates (N, K) after weighting by odds, per candidate: 1 if all count
    the same, 1 / K if one counts alone; the mean over the rows."""
    weights = np.exp(log_odds - log_odds.max(1, keepdims=True))
    effective = weights.sum(1) ** 2 / np.square(weights).sum(1)
    return float(effective.mean() / log_odds.shape[1])
