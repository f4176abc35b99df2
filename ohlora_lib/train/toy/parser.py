"""Training of the parser: rendered images, with their class maps as targets."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.models.precision import autocast
from ohlora_lib.models.unet_parser import UNetConfig, UNetParser
from ohlora_lib.toyworld.face_sets import Faces, as_images
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.augment import augment
from ohlora_lib.train.toy.loop import identity, rate, set_rate


@dataclass(frozen=True)
class ParserPlan:
    """Optimization settings."""

    batch: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4


class ParserTraining:
    """A `loop.Training` of `network`."""

    def __init__(self, faces: Faces, device, seed=0, plan=None, config=None):
        self.faces, self.device, self.seed, self.plan = faces, device, seed, plan or ParserPlan()
        self.network = UNetParser(config or UNetConfig(), seed).to(
            device, memory_format=torch.channels_last
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=self.plan.weight_decay
        )
        self.weights = torch.from_numpy(class_weights(faces)).to(device)
        self.parts = {"network": self.network, "optimizer": self.optimizer}
        self.identity = identity(self, self.network.config, faces)

    def step(self, step, progress):
        rng = stream(self.seed, step)
        faces = self.faces.pick(self.plan.batch, rng)
        maps = torch.from_numpy(faces.maps).to(self.device)
        images, maps = augment(as_images(faces.images, self.device), maps, rng)
        set_rate(self.optimizer, self.plan.learning_rate * rate(progress))
        with autocast(device=self.device):
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), maps.long(), self.weights)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}


def class_weights(faces: Faces, sample: int = 500) -> np.ndarray:
    """Inverse square root of each class's share: else eyes, brows and lips are never predicted."""
    counts = np.bincount(faces.maps[:sample].ravel(), minlength=len(CLASS_NAMES)) + 1
    weights = 1 / np.sqrt(counts / counts.sum())
    return (weights / weights.mean()).astype(np.float32)


def evaluate(network: UNetParser, faces: Faces, batch: int = 50) -> dict[str, float]:
    """Intersection over union of every class over all the faces, and their mean."""
    classes = len(CLASS_NAMES)
    table = np.zeros((classes, classes), np.int64)
    for i in range(0, len(faces), batch):
        truth = faces.maps[i : i + batch].astype(np.int64)
        predicted = network.parse(faces.images[i : i + batch], truth.shape[1])
        table += np.bincount((truth * classes + predicted).ravel(), minlength=classes**2).reshape(
            classes, classes
        )
    union = table.sum(0) + table.sum(1) - np.diag(table)
    iou = np.diag(table) / np.maximum(union, 1)
    return {"mean IoU": iou.mean()} | dict(zip(CLASS_NAMES, iou, strict=True))
