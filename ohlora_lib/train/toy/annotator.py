"""Training of the annotator: rendered images with their attributes and filter labels."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.measure.labels import auroc
from ohlora_lib.models.annotator import Annotator, AnnotatorConfig
from ohlora_lib.models.precision import autocast
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, filter_truth
from ohlora_lib.toyworld.face_sets import Faces, as_images
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.augment import degrade
from ohlora_lib.train.toy.loop import identity, rate, set_rate

CENTRAL = ("eyes", "mouth", "pose", "hair_color", "hair_length", "curl", "background_mean")
CENTRAL += ("age", "quality")
"""The attributes that the pipeline depends on: weighted by `central` in the loss."""


@dataclass(frozen=True)
class AnnotatorPlan:
    """Optimization settings; `shift` is in pixels."""

    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    central: float = 6.0
    shift: int = 2
    rare_share: float = 0.33  # of a batch: faces with defects, old faces, glasses


class AnnotatorTraining:
    """A `loop.Training` of `network`; `poor` are additional faces with defects."""

    def __init__(self, faces: Faces, device, seed=0, plan=None, config=None, poor=None):
        self.faces, self.poor, self.device, self.seed = faces, poor, device, seed
        self.plan = plan or AnnotatorPlan()
        self.network = Annotator(config or AnnotatorConfig(ATTRIBUTE_NAMES), seed)
        self.network.mean.copy_(torch.from_numpy(faces.attributes.mean(0)))
        self.network.std.copy_(torch.from_numpy(faces.attributes.std(0) + 1e-3))
        self.network.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=self.plan.weight_decay
        )
        weights = [self.plan.central if name in CENTRAL else 1.0 for name in ATTRIBUTE_NAMES]
        self.weights = torch.tensor(weights, device=device) / np.sum(weights)
        truth = filter_truth(faces.attributes)
        self.rare = np.flatnonzero((truth.quality == 0) | (truth.age == 1) | (truth.glass == 1))
        self.parts = {"network": self.network, "optimizer": self.optimizer}
        self.identity = identity(self, self.network.config, faces, poor)

    def step(self, step, progress):
        rng = stream(self.seed, step)
        faces = self._batch(rng)
        images = degrade(self._shifted(as_images(faces.images, self.device), rng), rng, 0.1, 0.04)
        target = torch.from_numpy(faces.attributes).to(self.device)
        answers = filter_truth(faces.attributes).to_numpy(np.float32)
        answers = torch.tensor(answers, device=self.device)
        set_rate(self.optimizer, self.plan.learning_rate * rate(progress))
        with autocast(device=self.device):
            predicted = self.network(images.contiguous(memory_format=torch.channels_last))
        target = (target - self.network.mean) / self.network.std
        regression = ((predicted.attributes.float() - target).square() * self.weights).sum(1).mean()
        decision = F.binary_cross_entropy_with_logits(predicted.log_odds.float(), answers)
        self.optimizer.zero_grad()
        (regression + decision).backward()
        self.optimizer.step()
        return {"regression": regression.item(), "decision": decision.item()}

    def _batch(self, rng) -> Faces:
        """Random faces, with rare ones oversampled; the calibration corrects the odds."""
        count = round(self.plan.batch * self.plan.rare_share)
        faces = self.faces.pick(self.plan.batch - count, rng)
        if self.poor is not None:
            faces = faces.with_others(self.poor.pick(count // 2, rng))
        if len(self.rare):
            rows = rng.choice(self.rare, self.plan.batch - len(faces))
            faces = faces.with_others(self.faces.part(np.sort(rows)))
        return faces

    def _shifted(self, images, rng):
        """Shift the whole batch by the same few pixels, because alignment is never exact."""
        most = self.plan.shift
        across, down = (int(v) for v in rng.integers(0, 2 * most + 1, 2))
        padded = F.pad(images, (most,) * 4, mode="replicate")
        size = images.shape[-1]
        return padded[..., down : down + size, across : across + size]


@torch.no_grad()
def calibrate(network: Annotator, faces: Faces) -> None:
    """Fit the odds and measure each attribute's error on held-out faces."""
    network.slope.fill_(1)
    network.offset.fill_(0)
    predicted = network.annotate(faces.images)
    values = np.stack([predicted.attributes[name] for name in network.config.attributes], 1)
    error = np.sqrt(np.mean((values - faces.attributes) ** 2, 0))
    network.error.copy_(torch.from_numpy(error))
    answers = filter_truth(faces.attributes)
    for i, name in enumerate(FILTER_PROPERTIES):
        p = np.clip(predicted.probabilities[name], 1e-6, 1 - 1e-6)
        network.slope[i], network.offset[i] = fit_odds(np.log(p / (1 - p)), answers[name])


def fit_odds(log_odds: np.ndarray, answers: np.ndarray, ridge: float = 1.0) -> tuple[float, float]:
    """Slope and offset of a logistic regression on the log odds, by Newton's method.

    The ridge keeps them near 1 and 0 where few or separable answers leave them undetermined.
    """
    x = np.stack([log_odds, np.ones_like(log_odds)], 1)
    start = fit = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ fit, -30, 30)))
        gradient = x.T @ (p - answers) + ridge * (fit - start)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        fit = fit - step / max(1.0, np.abs(step).max())
    return float(fit[0]), float(fit[1])


def evaluate(network: Annotator, faces: Faces) -> dict[str, float]:
    """R² of every attribute; AUROC and calibration error of every filter property."""
    predicted, figures = network.annotate(faces.images), {}
    for name in network.config.attributes:
        true = faces.column(name)
        error = np.mean((predicted.attributes[name] - true) ** 2)
        figures[f"R² {name}"] = 1 - error / max(true.var(), 1e-12)
    answers = filter_truth(faces.attributes)
    for name in FILTER_PROPERTIES:
        figures[f"AUROC {name}"] = auroc(predicted.probabilities[name], answers[name])
        figures[f"calibration error {name}"] = calibration_error(
            predicted.probabilities[name], answers[name]
        )
    return figures


def calibration_error(probabilities: np.ndarray, answers: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal width."""
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    stated = np.bincount(which, probabilities, bins)
    observed = np.bincount(which, answers, bins)
    return float(np.abs(stated - observed).sum() / len(probabilities))
