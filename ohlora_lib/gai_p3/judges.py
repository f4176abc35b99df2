"""Judges of realism: classifiers of real and generated faces.

D1 guides the retouching, D2 evaluates it, and D3 is trained afresh on what the retouching made.
They differ in architecture or seed, and each has faces of its own.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ohlora_lib import checkpoints
from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import parallel_map, single_threaded
from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.models.nvae import NVAE, Guidance
from ohlora_lib.models.precision import autocast
from ohlora_lib.models.realism_cnn import RealismCNN, RealismCNNConfig
from ohlora_lib.store.work import keep_work
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.annotator import fit_odds
from ohlora_lib.train.toy.loop import rate, set_rate

GUIDE = RealismCNNConfig("plain")
EVALUATOR = RealismCNNConfig("residual")
BLOCK = 64  # images generated together; fixed, or they would depend on the number of processes
CAM_CELLS = 16  # side of the maps that `attention` returns


@dataclass(frozen=True)
class JudgePlan:
    """Optimization settings."""

    steps: int = 300
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    reconstructed: float = 0.0
    """Fraction of the real images that are shown as their reconstructions: then smoothness alone,
    which they share with generated images, does not tell."""
    held_out: float = 0.2  # fraction of the images that only the calibration sees


@dataclass(frozen=True)
class JudgeFaces:
    """Real and generated faces of the same conditions, (N, R, R, 3) uint8 each."""

    real: np.ndarray
    made: np.ndarray
    reconstructed: np.ndarray | None = None  # of the real ones

    def __len__(self) -> int:
        return min(len(self.real), len(self.made))

    def part(self, rows: slice | np.ndarray) -> "JudgeFaces":
        """Some rows."""
        arrays = (self.real, self.made, self.reconstructed)
        return JudgeFaces(*(None if array is None else array[rows] for array in arrays))


def train_judge(
    config: RealismCNNConfig, faces: JudgeFaces, plan: JudgePlan | None = None, seed: int = 0
) -> RealismCNN:
    """A new judge of these faces, in eval mode, calibrated on those of them that it did not see."""
    plan = plan or JudgePlan()
    if plan.reconstructed and faces.reconstructed is None:
        raise ValueError("reconstructed: the faces have no reconstructions")
    order = np.random.default_rng(seed).permutation(len(faces))
    held = round(plan.held_out * len(faces))
    if min(held, len(faces) - held) < 2:
        raise ValueError(f"{len(faces)} faces: a judge needs more, to train and to calibrate")
    network = RealismCNN(config, seed)
    seen = faces.part(order[held:])
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=plan.weight_decay)
    for step in range(plan.steps):
        set_rate(optimizer, plan.learning_rate * rate(step / plan.steps))
        images, real = _batch(seen, plan, stream(seed, step))
        with autocast():
            loss = F.binary_cross_entropy_with_logits(network(network.as_input(images)), real)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    calibrate(network.eval(), faces.part(order[:held]))
    return network


def _batch(faces: JudgeFaces, plan: JudgePlan, rng) -> tuple[np.ndarray, torch.Tensor]:
    """Random faces, half of them real, half of them mirrored; and 1 for each real one."""
    half = plan.batch // 2
    rows, others = rng.integers(len(faces), size=(2, half))
    real = faces.real[rows]
    if plan.reconstructed:
        smooth = rng.random(half) < plan.reconstructed
        real = np.where(smooth[:, None, None, None], faces.reconstructed[rows], real)
    images = np.concatenate([real, faces.made[others]])
    flip = rng.random(len(images)) < 0.5
    images[flip] = images[flip, :, ::-1]
    return images, torch.tensor([1.0] * half + [0.0] * half)


def calibrate(judge: RealismCNN, faces: JudgeFaces) -> None:
    """Fit slope and offset, so that the log-odds are log p(image | real) / p(image | generated)."""
    judge.slope.fill_(1)
    judge.offset.fill_(0)
    images = np.concatenate([faces.real, faces.made])
    answers = np.repeat([1.0, 0.0], [len(faces.real), len(faces.made)])
    slope, offset = fit_odds(judge.log_odds(images).astype(np.float64), answers)
    judge.slope.fill_(max(slope, 1e-3))
    judge.offset.fill_(offset)


@dataclass(frozen=True)
class JudgeTask:
    """One judge to train: the name of its file, and the arguments of `train_judge`."""

    name: str
    config: RealismCNNConfig
    faces: JudgeFaces
    plan: JudgePlan
    seed: int


def train_judges(
    tasks: Sequence[JudgeTask], folder: Path, executor: Executor | None = None
) -> dict[str, RealismCNN]:
    """Train judges side by side; finished ones of the same tasks in `folder` are kept."""
    jobs = []
    for task in tasks:
        keep_work(folder, task.name, __name__, {"task": task}, [f"{task.name}.safetensors"])
        jobs.append(Job(folder / f"{task.name}.safetensors", task))
    run_jobs(partial(single_threaded, _train), jobs, "judges", executor)
    return {task.name: checkpoints.load(job.output) for task, job in zip(tasks, jobs, strict=True)}


def _train(task: JudgeTask, path: Path) -> None:
    checkpoints.save(train_judge(task.config, task.faces, task.plan, task.seed), path)


def read_judge(path: Path) -> RealismCNN:
    """A judge's file."""
    found = checkpoints.load(path)
    if not isinstance(found, RealismCNN):
        raise checkpoints.WeightsError(
            f"{path} is a {type(found).__name__}, not a judge: give d1.safetensors or "
            "d2.safetensors of notebook gai_p3/05"
        )
    return found


def cross_fitted(
    name: str, real: np.ndarray, made: np.ndarray, plan: JudgePlan, seed: int
) -> list[JudgeTask]:
    """Two judges of the evaluator's architecture, each trained on one half of the faces."""
    faces = JudgeFaces(real, made)
    half = len(faces) // 2
    return [
        JudgeTask(f"{name}_{fold}", EVALUATOR, faces.part(rows), plan, seed + fold)
        for fold, rows in enumerate((slice(0, half), slice(half, len(faces))))
    ]


def cross_scored(judges: Sequence[RealismCNN], images: np.ndarray) -> np.ndarray:
    """(N,) log-odds, each by the judge of `cross_fitted` that did not see the image."""
    half = len(images) // 2
    parts = images[:half], images[half:]
    return np.concatenate([judges[1].log_odds(parts[0]), judges[0].log_odds(parts[1])])


# Images


def seeds_of(seed: int, number: int, count: int) -> np.ndarray:
    """(count,) seeds of the noise of a stage's set of faces; those of other sets differ."""
    return (seed * 1000 + number) * 1_000_000 + np.arange(count)


def in_blocks(network: NVAE, work: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """`work(*arrays)`, which returns an image per row, in blocks of rows on all cores."""
    starts = range(0, len(arrays[0]), BLOCK)
    if len(starts) < 2:
        return work(*arrays)
    parts = [[array[at : at + BLOCK] for at in starts] for array in arrays]
    return np.concatenate(parallel_map(network.prior_ftr0.device, work, *parts))


def make_faces(
    network: NVAE,
    seeds: np.ndarray,
    conditions: np.ndarray,
    temperature: float = 1.0,
    guidance: Guidance | None = None,
) -> np.ndarray:
    """`network.generate` on all cores."""
    work = partial(network.generate, temperature=temperature, guidance=guidance, batch=BLOCK)
    return in_blocks(network, work, np.asarray(seeds), conditions)


def reconstruct_faces(network: NVAE, images: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """`network.reconstruct` on all cores."""
    return in_blocks(network, partial(network.reconstruct, batch=BLOCK), images, conditions)


def blurred(images: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """(N, R, R, 3) uint8 -> the same after a Gaussian blur, `sigma` in pixels."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0), mode="nearest")
    return np.round(smooth).clip(0, 255).astype(np.uint8)


# Where a judge looks


def attention(judge: RealismCNN, images: torch.Tensor) -> torch.Tensor:
    """What makes images (N, 3, R, R) in -1..1 look generated: (N, 16, 16), each with mean 1.

    The mean of Grad-CAM on the maps of that size and of the pixels' gradient, smoothed.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        maps = judge.maps(images)
        chosen = next(m for m in maps if m.shape[-1] <= CAM_CELLS)
        made = -judge.decided(maps[-1]).sum()
        on_maps, on_pixels = torch.autograd.grad(made, (chosen, images))
    cam = (chosen * on_maps.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu().detach()
    pixels = F.avg_pool2d(on_pixels.abs().sum(1, keepdim=True), 3, 1, 1)
    parts = [F.adaptive_avg_pool2d(x, CAM_CELLS)[:, 0] for x in (cam, pixels)]
    parts = [part / part.mean((1, 2), keepdim=True).clamp(min=1e-12) for part in parts]
    smooth = F.avg_pool2d((parts[0] + parts[1]) / 2, 3, 1, 1, count_include_pad=False)
    return smooth / smooth.mean((1, 2), keepdim=True).clamp(min=1e-12)


def attention_maps(judge: RealismCNN, images: np.ndarray, batch: int = 64) -> np.ndarray:
    """`attention` of (N, R, R, 3) uint8 images: (N, 16, 16) float32."""
    parts = [attention(judge, judge.as_input(images[at : at + batch]))
             for at in range(0, len(images), batch)]  # fmt: skip
    return torch.cat(parts).cpu().numpy()


def attention_by_region(attention: np.ndarray, class_maps: np.ndarray) -> pd.DataFrame:
    """Attention (N, 16, 16) and class maps (N, R, R) -> per class its share of the attention and of
    the area, and their quotient; 1 means no more attention than elsewhere."""
    scale = class_maps.shape[1] // attention.shape[1]
    weights = attention.repeat(scale, 1).repeat(scale, 2)
    inside = np.stack([class_maps == number for number in range(len(CLASS_NAMES))])
    table = pd.DataFrame(
        {
            "attention": (inside * weights).sum((1, 2, 3)) / weights.sum(),
            "area": inside.mean((1, 2, 3)),
        },
        index=pd.Index(CLASS_NAMES, name="region"),
    )
    return table.assign(quotient=table["attention"] / table["area"].where(table["area"] > 0))
