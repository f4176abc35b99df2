"""Roofline model: the least time that a device needs for a network's operations.

An operation takes at least the time of its FLOPs at the rate of a large convolution in its number
format, and at least the time to move its operands and its result at the measured memory bandwidth.
Views are free. Winograd convolution, which needs fewer multiplications, is not considered.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


def rate(run: Callable[[], object], images: int, seconds: float, device: torch.device) -> float:
    """Images per second: the best of all runs within `seconds`, after one warm-up run."""
    best, end = float("inf"), None
    while end is None or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if end is None:
            end = time.perf_counter() + seconds
        else:
            best = min(best, time.perf_counter() - start)
    return images / best


FORMATS = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Limits:
    """Measured peak rates of a device."""

    flops: Mapping[torch.dtype, float]  # per second, by number format
    bytes: float  # per second

    @classmethod
    def measured(cls, device: torch.device, seconds: float = 1) -> "Limits":
        """Measure a convolution as in StyleGAN, and the addition of maps that fit a CPU's cache (in
        float32: a CPU converts bfloat16 to add it)."""
        flops = {dtype: _convolution_rate(dtype, device, seconds) for dtype in FORMATS}
        few = torch.zeros(1 << 20, device=device)
        with torch.inference_mode():
            added = rate(lambda: [few.add_(few) for _ in range(100)], 100, seconds, device)
        return cls(flops, added * 2 * few.nbytes)


def _convolution_rate(dtype: torch.dtype, device: torch.device, seconds: float) -> float:
    x = torch.zeros(4, 256, 64, 64, dtype=dtype, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    kernel = torch.zeros(256, 256, 3, 3, dtype=dtype, device=device)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        done = rate(lambda: F.conv2d(x, kernel, padding=1), len(x), seconds, device)
    return done * 2 * 256 * 256 * 9 * 64 * 64


class Roofline(TorchDispatchMode):
    """While active, adds up `flops` (by number format), `bytes`, and the least `seconds` needed."""

    def __init__(self, limits: Limits):
        super().__init__()
        self.limits, self.flops, self.bytes, self.seconds = limits, Counter(), 0, 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, count = kwargs or {}, flop_registry.get(func._overloadpacket)
        if count is None:
            with self:  # count the operations that it decomposes into
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        given, made = _tensors(args), _tensors(out)
        flops = count(*args, **kwargs, out_val=out) if count else 0
        moved = 0 if _is_free(func) else sum(tensor.nbytes for tensor in given + made)
        fastest = self.limits.flops[given[0].dtype] if flops else 1
        self.bytes += moved
        if flops:
            self.flops[given[0].dtype] += flops
        self.seconds += max(flops / fastest, moved / self.limits.bytes)
        return out


def _is_free(func: torch._ops.OpOverload) -> bool:
    """Whether it moves no data."""
    return func.is_view or "empty" in func.__name__ or func.__name__.startswith("_reshape_alias")


def _tensors(part: object) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(part) if isinstance(leaf, torch.Tensor)]


def counted(run: Callable[[], object], limits: Limits) -> Roofline:
    """FLOPs and bytes of one call of `run`."""
    with Roofline(limits) as roofline, torch.inference_mode():
        run()
    return roofline
