"""What oneDNN computes in one step on a CPU, where torch's own layers take several.

Only without gradients, and by operators that torch's compiler calls; elsewhere, torch's layers.
"""

import platform

import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.cpu.weight_cache import WeightCache
from ohlora_lib.models.precision import compute_dtype


def at_hand(x: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether these steps can be taken on `x` in this number format."""
    if x.device.type != "cpu" or torch.is_grad_enabled():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):  # not tried on others
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    bfloat16 = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bfloat16 or dtype == torch.float32


class Linear(nn.Linear):
    """nn.Linear, and GELU if asked for: (..., inputs) -> (..., outputs).

    At every call autocast would convert the weights to bfloat16, oneDNN would sort them into the
    blocks that it multiplies, and float32's bias would be copied to every row beforehand. Here the
    first two are done once, for a second copy of the weights, and bias and GELU come with the
    multiplication.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True, gelu: bool = False):
        super().__init__(inputs, outputs, bias)
        self.gelu, self.packed = gelu, WeightCache()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = compute_dtype(x)
        as_given = dtype == x.dtype == self.weight.dtype
        if not at_hand(x, dtype) or not (as_given or torch.is_autocast_enabled(x.device.type)):
            x = super().forward(x)
            return F.gelu(x) if self.gelu else x
        weight = self.packed(_pack, self.weight, dtype)
        bias = None if self.bias is None else self.bias.to(dtype)
        after = ("gelu", [], "none") if self.gelu else ("none", [], "")
        return torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, *after)


def _pack(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype))


def leaky_convolution(
    x: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor,
    slope: float,
    padding: int = 0,
    groups: int = 1,
    stride: int = 1,
) -> torch.Tensor:
    """leaky_relu(conv2d(x, kernel, bias)), rounded to the number format once."""
    return torch.ops.mkldnn._convolution_pointwise(
        *(x, kernel, bias.to(x.dtype), [padding] * 2, [stride] * 2, [1, 1], groups),
        *("leaky_relu", [slope], ""),
    )
