"""Training of the network that the quality filter's folds start from.

Defects are rare and of many kinds: a few hundred labeled faces are too few to learn them from. The
published third version starts its quality CNNs from those of the first; ours start from this one.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit

from ohlora_lib.measure.labels import auroc
from ohlora_lib.models.filter_cnn import FilterCNN, filter_input, new_filter_cnn
from ohlora_lib.models.unet_parser import resize
from ohlora_lib.toyworld.attributes import GOOD
from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.classifier import QUALITY_NETWORK
from ohlora_lib.train.toy.loop import identity, rate, set_rate


@dataclass(frozen=True)
class QualityPlan:
    """Optimization settings; `sharpness` is the slope of the target at the threshold of quality."""

    batch: int = 32
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-2
    sharpness: float = 10.0
    poor_share: float = 0.33  # of a batch: faces with defects of every strength
    shift: int = 2


class QualityTraining:
    """A `loop.Training` of `network`; `poor` are additional faces with defects."""

    def __init__(self, faces: Faces, poor: Faces, device, seed=0, plan=None, config=None):
        self.faces, self.poor, self.device, self.seed = faces, poor, device, seed
        self.plan = plan or QualityPlan()
        self.network = new_filter_cnn(config or QUALITY_NETWORK, seed).to(device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=self.plan.weight_decay
        )
        self.parts = {"network": self.network, "optimizer": self.optimizer}
        self.identity = identity(self, self.network.config, faces, poor)

    def step(self, step, progress):
        rng = stream(self.seed, step)
        count = round(self.plan.batch * self.plan.poor_share)
        faces = self.faces.pick(self.plan.batch - count, rng)
        faces = faces.with_others(self.poor.pick(count, rng))
        target = expit(self.plan.sharpness * (faces.column("quality") - GOOD))
        target = torch.tensor(target, dtype=torch.float32, device=self.device)
        images = self._augmented(filter_input(faces.images).to(self.device), rng)
        images = resize(images, self.network.config.resolution)
        set_rate(self.optimizer, self.plan.learning_rate * rate(progress))
        dropout = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        predicted = self.network.train().logits(images, dropout)[:, 0]
        loss = F.binary_cross_entropy_with_logits(predicted, target)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return {"loss": loss.item()}

    def _augmented(self, images, rng):
        """The batch mirrored or not, shifted by a few pixels."""
        if rng.random() < 0.5:
            images = images.flip(3)
        moved = tuple(int(v) for v in rng.integers(-self.plan.shift, self.plan.shift + 1, 2))
        return images.roll(moved, (2, 3))


@torch.no_grad()
def evaluate(network: FilterCNN, faces: Faces) -> dict[str, float]:
    """AUROC of good quality."""
    side, device = network.config.resolution, next(network.parameters()).device
    parts = [
        network(resize(filter_input(faces.images[at : at + 64]).to(device), side))[:, 0].cpu()
        for at in range(0, len(faces), 64)
    ]
    good = (faces.column("quality") > GOOD).astype(np.float32)
    return {"AUROC quality": auroc(torch.cat(parts).numpy(), good)}
