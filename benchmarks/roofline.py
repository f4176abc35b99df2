"""What a device allows at best: a network's operations, each at the device's own full speed.

An operation takes at least what its multiplications take at the rate of a large convolution in its
number format, and at least what its operands and its result take at the rate of the fastest pass
over memory. Views cost nothing. Winograd's method would need fewer multiplications in a 3x3
convolution; it is not counted.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, register_flop_formula


def rate(run: Callable[[], object], images: int, seconds: float, device: torch.device) -> float:
    """Images per second: the best of all runs that fit into `seconds`, after one to warm up."""
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


def _linear_flops(x: torch.Size, weight: torch.Size, *_, **__) -> int:
    return 2 * x.numel() * weight[0]


def _convolution_flops(x: torch.Size, kernel: torch.Size, *_, out_shape=None, **__) -> int:
    return 2 * out_shape.numel() // out_shape[1] * kernel.numel()


if torch.backends.mkldnn.is_available():  # the steps of `models.onednn`
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(_linear_flops)
    register_flop_formula(torch.ops.mkldnn._convolution_pointwise)(_convolution_flops)


FORMATS = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Limits:
    """What a device was measured to do at most."""

    flops: Mapping[torch.dtype, float]  # per second, by number format
    bytes: float  # per second

    @classmethod
    def measured(cls, device: torch.device, seconds: float = 1) -> "Limits":
        """By a convolution of the kind that StyleGAN spends its time in, and by adding maps (in
        float32: a CPU adds bfloat16 by converting it) that stay in a CPU's cache."""
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
    """Adds up, while it is on, `flops` (by number format), `bytes`, and the least `seconds` that a
    device needs."""

    def __init__(self, limits: Limits):
        super().__init__()
        self.limits, self.flops, self.bytes, self.seconds = limits, Counter(), 0, 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, count = kwargs or {}, flop_registry.get(func._overloadpacket)
        if count is None:
            with self:  # what it is made of is counted, if it is made of others
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
    """Whether it touches no pixel."""
    return func.is_view or "empty" in func.__name__ or func.__name__.startswith("_reshape_alias")


def _tensors(part: object) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(part) if isinstance(leaf, torch.Tensor)]


def counted(run: Callable[[], object], limits: Limits) -> Roofline:
    """What one call of `run` computes and moves."""
    with Roofline(limits) as roofline, torch.inference_mode():
        run()
    return roofline
