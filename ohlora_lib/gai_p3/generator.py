"""The conditional NVAE: where it starts, its fine-tuning, and what it has learned."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_lib import checkpoints
from ohlora_lib.gai_p3.evaluation import draw_noise
from ohlora_lib.gai_p3.judges import make_faces
from ohlora_lib.models.condition_cnn import ConditionCNN
from ohlora_lib.models.nvae import CELEBA_64, CONDITIONS, NVAE, QUICK, SMOKE, NVAEConfig
from ohlora_lib.models.precision import fastest_device
from ohlora_lib.store import inside_root
from ohlora_lib.store.work import keep_work
from ohlora_lib.train.nvae import ConditionedFaces, NVAEPlan, NVAETraining
from ohlora_lib.train.toy.loop import Budget, fit

SIZES = {"smoke": SMOKE, "quick": QUICK, "published": replace(CELEBA_64, conditions=CONDITIONS)}
ACTIVE = 0.1  # nats of a latent channel
PATHS = {"start": "condition_start", "cells": ".film.", "posterior": "condition_posterior"}
"""Where the condition enters -> the parameters of the network that it takes."""


def start_network(network: str, size: str, seed: int) -> NVAE:
    """The NVAE that training starts from: of a checkpoint's name or file, or, if `network` is "",
    a new one of a size in SIZES. One without condition, as the published ones, gets one."""
    if not network:
        return NVAE(SIZES[size], seed)
    is_file = network.endswith((".safetensors", ".pth", ".pt"))
    found = checkpoints.load(inside_root(network) if is_file else network)
    if not isinstance(found, NVAE):
        raise checkpoints.WeightsError(f"{network} is a {type(found).__name__}, not an NVAE")
    return found if found.config.conditions else with_conditions(found)


def with_conditions(network: NVAE, conditions: Sequence[str] = CONDITIONS) -> NVAE:
    """A conditional network that draws what the unconditional one does, until it is trained."""
    if network.config.conditions:
        raise ValueError("network: it has a condition already")
    result = NVAE(replace(network.config, conditions=tuple(conditions)))
    result.load_state_dict(network.state_dict(), strict=False)
    return result.eval()


def check_resolution(config: NVAEConfig, faces: np.ndarray, where: str) -> None:
    """A ValueError unless faces (N, R, R, 3) are of the network's size."""
    if faces.shape[1] != config.resolution:
        raise ValueError(
            f"{where}: images are {faces.shape[1]} px, the network draws {config.resolution} px: "
            f"collect them with resolution: {config.resolution}"
        )


class Log:
    """Losses of a training by step; part of its checkpoints."""

    def __init__(self):
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, object]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.rows = list(state["rows"])


class _LoggedTraining(NVAETraining):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.log = Log()
        self.parts |= {"log": self.log}

    def step(self, step: int, progress: float) -> dict[str, float]:
        losses = super().step(step, progress)
        self.log.rows.append({"step": step} | losses)
        return losses


def train(
    folder: Path,
    network: NVAE,
    faces: ConditionedFaces,
    plan: NVAEPlan,
    steps: int,
    seed: int = 0,
    regressors: ConditionCNN | None = None,
    condition_paths: Sequence[str] = tuple(PATHS),
) -> tuple[NVAE, pd.DataFrame]:
    """Train for `steps`, or go on where an interrupted training stopped -> the network in eval
    mode, and its losses by step. The regressors measure the swap loss, if the plan has one. Where
    else the condition enters than by `condition_paths`, weights stay as they are."""
    keep_work(
        folder,
        "NVAE",
        __name__,
        {"network": network, "plan": plan, "steps": steps, "seed": seed, "regressors": regressors}
        | {"images": faces.images, "conditions": faces.conditions}
        | {"condition_paths": list(condition_paths)},
    )
    measure = None
    if regressors is not None:
        measure = regressors.to(fastest_device()).eval().requires_grad_(False)
    training = _LoggedTraining(network, faces, plan, seed, fastest_device(), measure)
    frozen = [part for name, part in PATHS.items() if name not in condition_paths]
    for name, parameter in training.network.named_parameters():
        parameter.requires_grad_(not any(part in name for part in frozen))
    fit(training, folder / "checkpoint.pt", Budget(steps=steps), say=lambda line: None)
    return training.network.cpu().eval().requires_grad_(), pd.DataFrame(training.log.rows)


# What it has learned


def kl_table(network: NVAE, kl: np.ndarray) -> pd.DataFrame:
    """Mean KL (groups, latents) in nats -> a row per group, the coarsest first: size, KL in nats
    and bits per dimension, and how many channels have a KL above 0.1."""
    config = network.config
    rows = {
        "group": range(1, len(kl) + 1),
        "size": [f"{side}²" for _, side, _ in config.latent_shapes],
        "KL (nats)": kl.sum(1),
        "bits per dimension": kl.sum(1) / (np.log(2) * 3 * config.resolution**2),
        "active channels": (kl > ACTIVE).sum(1),
        "channels": kl.shape[1],
    }
    return pd.DataFrame(rows).set_index("group")


def psnr(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) in dB, of (N, H, W, 3) uint8."""
    errors = ((images.astype(np.float32) - others) ** 2).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(errors, 1e-9))


def interpolate(
    network: NVAE, seeds: tuple[int, int], conditions: np.ndarray, steps: int
) -> np.ndarray:
    """Between the noise of two seeds with conditions (2, K) -> (steps, R, R, 3) uint8.

    Noise moves on a circle, which keeps its variance; conditions on a line.
    """
    t = np.linspace(0, 1, steps, dtype=np.float32)
    angle = t[:, None, None, None] * np.float32(np.pi / 2)
    first, second = (network.noise_of([seed]) for seed in seeds)
    noise = [
        np.cos(angle) * one.numpy() + np.sin(angle) * other.numpy()
        for one, other in zip(first, second, strict=True)
    ]
    between = (1 - t[:, None]) * conditions[0] + t[:, None] * conditions[1]
    return draw_noise(network, noise, between.astype(np.float32))


def condition_rows(
    network: NVAE, seeds: Sequence[int], base: np.ndarray, values: Sequence[float]
) -> np.ndarray:
    """Faces of N seeds with one of the K conditions at a time set to each of V values, the others
    as in `base` (N, K) -> (K, N, V, R, R, 3) uint8."""
    count, n, steps = base.shape[1], len(seeds), len(values)
    asked = np.broadcast_to(base[:, None], (count, n, steps, count)).copy()
    for at in range(count):
        asked[at, :, :, at] = values
    every = np.broadcast_to(np.asarray(seeds)[:, None], (count, n, steps))
    images = make_faces(network, every.ravel(), asked.reshape(-1, count))
    return images.reshape(count, n, steps, *images.shape[1:])
