"""Retouching: the unnatural regions of generated faces are drawn again with other noise.

An image is a function of noise and condition, x = G(noise, c). The guide D1 marks the cells that
look generated; there the noise of the finer groups moves toward what D1 takes for real, by Langevin
steps, while conditions and appearance are held. The result replaces the image with the probability
that D1's odds give (Metropolis), and only within the limits of `Limits`.

Everything outside the marked cells keeps its noise. It keeps its pixels, too, if the change is
feathered: the network's convolutions reach a little beyond.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import single_threaded
from ohlora_lib.gai_p3.judges import CAM_CELLS, attention
from ohlora_lib.models.nvae import NVAE
from ohlora_lib.models.precision import autocast
from ohlora_lib.models.realism_cnn import RealismCNN
from ohlora_lib.models.stylegan import to_uint8
from ohlora_lib.store.work import keep_work
from ohlora_lib.train.nvae import Measure

BATCH = 32  # faces retouched together; fixed, or they would depend on the number of processes
VISIBLE = 8  # of 255: a pixel that changes by more has changed
APPEARANCE = 4  # pixels per side of the blocks whose mean colors are the appearance


@dataclass(frozen=True)
class RetouchPlan:
    """Settings of one way to retouch; the defaults are the method, the others its ablations."""

    search: Literal["langevin", "resample", "pixels"] = "langevin"
    """Of the noise, by Langevin steps or by trying `tries` new draws; or ascent of the pixels."""
    where: Literal["marked", "everywhere", "elsewhere"] = "marked"
    """The cells that D1 marks, all, or as many in the same shape at a random place."""
    steps: int = 20
    step_size: float = 0.1
    noise: float = 0.01  # times 2 · step_size: the variance of what a step adds
    shrink: float = 0.0  # pull of the noise toward 0, that is of the prior
    hold_conditions: float = 1.0
    hold_appearance: float = 1.0
    cells: float = 0.2  # fraction of the cells that is marked, before they are dilated by one
    frozen: int = 4  # groups of this size or smaller keep their noise
    feather: bool = True
    tries: int = 8
    halvings: int = 2  # of the move, for a face that would be beyond a limit
    pixel_step: float = 1.0  # levels of 255

    def __post_init__(self):
        for field in fields(self):
            options = getattr(field.type, "__args__", None)
            value = getattr(self, field.name)
            if options and value not in options:
                raise ValueError(f"{field.name} {value!r}: must be one of {', '.join(options)}")
        if not 0 < self.cells <= 1:
            raise ValueError(f"cells {self.cells}: must be above 0, at most 1")
        for name in ("steps", "tries", "step_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: must be above 0")


@dataclass(frozen=True)
class Limits:
    """How far a retouched face may be from its start; a face beyond keeps its start."""

    condition: float = 0.25
    """In units of `condition_spread`, for each condition."""
    appearance: float = 0.3
    """In units of `appearance_spread`."""
    changed: float = 0.25
    """Fraction of the pixels that change by more than VISIBLE levels."""
    condition_spread: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Standard deviation of what `measure` reads in unretouched faces."""
    appearance_spread: float = 1.0
    """Median distance of two unretouched faces."""

    @classmethod
    def of(cls, images: np.ndarray, measure: Measure | None, **limits: float) -> "Limits":
        """With the spreads of unretouched faces (N, R, R, 3) uint8."""
        x = as_tensor(images)
        look = appearance(x).flatten(1)
        apart = (look - look.roll(1, 0)).norm(dim=1).median().item()
        limits["appearance_spread"] = max(apart, 1e-6)
        if measure is not None:
            with torch.no_grad():
                spread = torch.cat([measure(part) for part in x.split(64)]).std(0)
            limits["condition_spread"] = tuple(spread.clamp(min=1e-6).tolist())
        return cls(**limits)


@dataclass(frozen=True)
class Retouched:
    """N faces before and after, and what D1 says of both."""

    before: np.ndarray  # (N, R, R, 3) uint8
    after: np.ndarray  # the same as before where the candidate was not taken
    candidate: np.ndarray  # (N, R, R, 3) uint8: the result, taken or not
    cells: np.ndarray  # (N, 16, 16) float32: where the noise could move
    before_log_odds: np.ndarray  # (N,) by D1
    candidate_log_odds: np.ndarray  # (N,) by D1
    within_limits: np.ndarray  # (N,) bool
    taken: np.ndarray  # (N,) bool

    @classmethod
    def concatenate(cls, parts: list["Retouched"]) -> "Retouched":
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Retoucher:
    """What retouching needs besides the faces. `measure` reads conditions; None: do not hold
    them."""

    network: NVAE
    guide: RealismCNN
    measure: Measure | None = None
    limits: Limits = Limits()

    def __post_init__(self):
        for each in (self.network, self.guide):
            each.requires_grad_(False)  # their weights' gradients would take half of the time

    def __call__(
        self, seeds: np.ndarray, conditions: np.ndarray, plan: RetouchPlan | None = None
    ) -> Retouched:
        """Retouch the faces of these seeds (N,) under conditions (N, K)."""
        plan = plan or RetouchPlan()
        with torch.no_grad():
            start = self.network.noise_of(seeds)
            before = to_uint8(self.network.decode(start, conditions).mean())
        x = as_tensor(before)
        cells = self._cells(x, seeds, plan)
        candidate = self._shortened(x, self._path(start, conditions, cells, x, seeds, plan), plan)
        return self._judged(before, to_uint8(candidate), cells, seeds)

    def _path(self, start, conditions, cells, x, seeds, plan) -> Callable[[float], torch.Tensor]:
        """A function of a fraction -> the images after that fraction of the move."""
        if plan.search == "pixels":
            made = self._pixel_ascent(x, cells, plan)
            return lambda part: x + part * (made - x)
        if plan.search == "resample":
            noise = self._resample(start, conditions, cells, x, seeds, plan)
            return lambda part: self._drawn(noise, conditions, cells, x, plan)
        noise, masks = self._langevin(start, conditions, cells, x, seeds, plan)

        def draw(part: float) -> torch.Tensor:
            between = [
                each if mask is None else same_norm(each, each + part * (moved - each), mask)
                for each, moved, mask in zip(start, noise, masks, strict=True)
            ]
            return self._drawn(between, conditions, cells, x, plan)

        return draw

    def _drawn(self, noise, conditions, cells, x, plan) -> torch.Tensor:
        made = self.network.decode(noise, conditions).mean().clamp(-1, 1)
        return feathered(x, made, cells) if plan.feather else made

    @torch.no_grad()
    def _shortened(self, x, draw, plan) -> torch.Tensor:
        """The images after the move; for those beyond a limit it is halved, up to `halvings`
        times."""
        made = draw(1.0)
        for number in range(1, plan.halvings + 1):
            beyond = ~self._within(x, made)
            if plan.search == "resample" or not beyond.any():
                break
            made = torch.where(beyond[:, None, None, None], draw(0.5**number), made)
        return made

    def _cells(self, x, seeds, plan) -> torch.Tensor:
        """(N, 1, 16, 16) of 0 and 1: where the noise may move."""
        if plan.where == "everywhere":
            return x.new_ones(len(x), 1, CAM_CELLS, CAM_CELLS)
        marked = marked_cells(attention(self.guide, x), plan.cells)
        if plan.where == "marked":
            return marked
        moved = [np.random.default_rng([int(s), 1]).integers(CAM_CELLS, size=2) for s in seeds]
        return torch.stack([
            each.roll(tuple(by.tolist()), (1, 2)) for each, by in zip(marked, moved, strict=True)
        ])  # fmt: skip

    def _masks(self, cells, plan) -> list[torch.Tensor | None]:
        """`cells` at each group's size; None where the group is frozen."""
        sizes = [shape[-1] for shape in self.network.config.latent_shapes]
        return [None if s <= plan.frozen else resized_cells(cells, s) for s in sizes]

    def _langevin(self, start, conditions, cells, x, seeds, plan):
        masks = self._masks(cells, plan)
        moving = [i for i, mask in enumerate(masks) if mask is not None]
        noise = [each.clone() for each in start]
        read = self._read(x)
        for step in range(plan.steps):
            shake = self.network.noise_of([_other_seed(s, step) for s in seeds])
            gradients = self._gradients(noise, moving, conditions, x, read, plan)
            for i, gradient in zip(moving, gradients, strict=True):
                drift = plan.step_size * (gradient - plan.shrink * noise[i])
                drift = drift + (2 * plan.step_size * plan.noise) ** 0.5 * shake[i]
                noise[i] = noise[i] + masks[i] * drift
        return noise, masks

    def _gradients(self, noise, moving, conditions, x, read, plan):
        """Of D1's log-odds minus what was held and moved, for the groups that move."""
        noise = [each.detach().requires_grad_(i in moving) for i, each in enumerate(noise)]
        with torch.enable_grad():
            with autocast(device=x.device):
                made = self.network.decode(noise, conditions).mean()
                gain = self.guide(made).float().sum()
            if plan.hold_appearance:
                gain = gain - plan.hold_appearance * self._moved_appearance(made, x).sum()
            if plan.hold_conditions and read is not None:
                gain = gain - plan.hold_conditions * self._moved(made, read).square().sum()
            return torch.autograd.grad(gain, [noise[i] for i in moving])

    def _resample(self, start, conditions, cells, x, seeds, plan):
        """The best of new draws of the noise in the cells, by D1, the limits considered."""
        masks = self._masks(cells, plan)
        best, most = start, None
        for number in range(plan.tries):
            fresh = self.network.noise_of([_other_seed(s, number) for s in seeds])
            noise = [
                each if mask is None else each + mask * (other - each)
                for each, other, mask in zip(start, fresh, masks, strict=True)
            ]
            with torch.no_grad():
                made = self._drawn(noise, conditions, cells, x, plan)
                score = self.guide(made) - 1e6 * ~self._within(x, made)
            if most is None:
                best, most = noise, score
                continue
            better = (score > most)[:, None, None, None]
            best = [torch.where(better, new, old) for new, old in zip(noise, best, strict=True)]
            most = torch.maximum(score, most)
        return best

    def _pixel_ascent(self, x, cells, plan):
        """The sign of the pixels' gradient, step by step, in the marked cells."""
        inside = soft_mask(cells, x.shape[-1])
        made = x
        for _ in range(plan.steps):
            made = made.detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(self.guide(made).sum(), made)
            made = (made + inside * gradient.sign() * plan.pixel_step / 127.5).clamp(-1, 1)
        return made.detach()

    def _judged(self, before, candidate, cells, seeds) -> Retouched:
        first, last = self.guide.log_odds(before), self.guide.log_odds(candidate)
        within = self._within(as_tensor(before), as_tensor(candidate)).cpu().numpy()
        lots = np.array([np.random.default_rng([int(s), 2]).random() for s in seeds])
        taken = accepted(first, last, lots) & within
        after = np.where(taken[:, None, None, None], candidate, before)
        marks = cells[:, 0].cpu().numpy()
        return Retouched(before, after, candidate, marks, first, last, within, taken)

    @torch.no_grad()
    def _within(self, x, made) -> torch.Tensor:
        """(N,) bool: the changes keep the limits."""
        moved = self._moved_appearance(made, x).sqrt()
        within = moved <= self.limits.appearance
        within &= changed_share(x, made) <= self.limits.changed
        if self.measure is not None:
            within &= (self._moved(made, self._read(x)).abs() <= self.limits.condition).all(1)
        return within

    @torch.no_grad()
    def _read(self, x) -> torch.Tensor | None:
        return None if self.measure is None else self.measure(x)

    def _moved(self, made, read) -> torch.Tensor:
        """(N, K): change of the conditions, in units of their spread."""
        return (self.measure(made) - read) / read.new_tensor(self.limits.condition_spread)

    def _moved_appearance(self, made, x) -> torch.Tensor:
        """(N,): squared change of the appearance, in units of its spread."""
        change = (appearance(made) - appearance(x)).square().flatten(1).sum(1)
        return change / self.limits.appearance_spread**2


def accepted(before: np.ndarray, after: np.ndarray, lots: np.ndarray) -> np.ndarray:
    """Metropolis: log-odds (N,) before and after, and lots (N,) in 0..1 -> (N,) bool."""
    return np.log(np.maximum(lots, 1e-300)) < after - before


def marked_cells(attention_maps: torch.Tensor, fraction: float) -> torch.Tensor:
    """(N, 16, 16) -> (N, 1, 16, 16) of 0 and 1: the highest `fraction`, dilated by one cell."""
    flat = attention_maps.flatten(1)
    count = round(fraction * flat.shape[1])
    marked = torch.zeros_like(flat)
    marked.scatter_(1, flat.topk(count, dim=1).indices, 1.0)
    return F.max_pool2d(marked.view_as(attention_maps)[:, None], 3, stride=1, padding=1)


def resized_cells(cells: torch.Tensor, size: int) -> torch.Tensor:
    """(N, 1, 16, 16) -> (N, 1, size, size); a larger cell is marked if more than half of it is."""
    if size < cells.shape[-1]:
        return (F.adaptive_avg_pool2d(cells, size) > 0.5).to(cells)
    return F.interpolate(cells, (size, size))


def same_norm(first: torch.Tensor, moved: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`moved` noise (N, latents, H, W), where the mask is 1 rescaled to the norm of `first`."""
    wanted, there = ((mask * each).flatten(1).norm(dim=1) for each in (first, moved))
    scale = (wanted / there.clamp(min=1e-6))[:, None, None, None]
    return torch.where(mask > 0, moved * scale, first)


def soft_mask(cells: torch.Tensor, side: int) -> torch.Tensor:
    """(N, 1, 16, 16) -> (N, 1, side, side): 0 outside the cells, rising to 1 inside."""
    fine = F.interpolate(cells, (side, side), mode="bilinear")
    return (2 * fine - 1).clamp(min=0)  # 0 at the edge of a marked cell, 1 at its center


def feathered(x: torch.Tensor, made: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """The change from x to `made`, (N, 3, R, R), inside the cells, fading at their edge."""
    return x + soft_mask(cells, x.shape[-1]) * (made - x)


def appearance(x: torch.Tensor) -> torch.Tensor:
    """(N, 3, R, R) -> mean colors of blocks, (N, 3, R/4, R/4): hair, skin and shape, no detail."""
    return F.avg_pool2d(x, APPEARANCE)


def changed_share(x: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """(N,): fraction of the pixels of which a color changes by more than VISIBLE levels."""
    return ((made - x).abs().amax(1) * 127.5 > VISIBLE + 1e-3).float().mean((1, 2))


def as_tensor(images: np.ndarray) -> torch.Tensor:
    """(N, R, R, 3) uint8 -> (N, 3, R, R) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _other_seed(seed: int, number: int) -> int:
    """The seed of a face's further noise."""
    return int(np.random.default_rng([int(seed), 3, number]).integers(2**62))


def retouch_faces(
    retoucher: Retoucher,
    seeds: np.ndarray,
    conditions: np.ndarray,
    plan: RetouchPlan,
    folder: Path,
    executor: Executor | None = None,
) -> Retouched:
    """Retouch in batches, here or on an executor's processes; batches in `folder` are kept."""
    made_from = {
        "retoucher": [retoucher.network, retoucher.guide, retoucher.limits],
        "measure": getattr(retoucher.measure, "__self__", retoucher.measure),
        "faces": [np.asarray(seeds), conditions],
        "plan": plan,
    }
    keep_work(folder, "retouched", __name__, made_from)
    jobs = [
        Job(folder / f"{at:06d}.npz", (seeds[at : at + BATCH], conditions[at : at + BATCH]))
        for at in range(0, len(seeds), BATCH)
    ]
    work = partial(single_threaded, _write, retoucher, plan)
    run_jobs(work, jobs, folder.name, executor)
    return Retouched.concatenate([_read_batch(job.output) for job in jobs])


def _write(retoucher: Retoucher, plan: RetouchPlan, task, path: Path) -> None:
    found = retoucher(*task, plan)
    with path.open("wb") as file:  # np.savez would add .npz to the temporary name
        np.savez(file, **{field.name: getattr(found, field.name) for field in fields(found)})


def _read_batch(path: Path) -> Retouched:
    with np.load(path) as arrays:
        return Retouched(**arrays)


ABLATIONS = {
    "method": RetouchPlan(),
    "taken whole": replace(RetouchPlan(), feather=False),
    "unmasked": replace(RetouchPlan(), where="everywhere"),
    "random cells": replace(RetouchPlan(), where="elsewhere"),
    "nothing held": replace(RetouchPlan(), hold_conditions=0.0, hold_appearance=0.0),
    "best of 8": replace(RetouchPlan(), search="resample"),
    "pixel ascent": replace(RetouchPlan(), search="pixels"),
}
"""Ways to retouch; those that make no new noise in place are in the notebook."""
