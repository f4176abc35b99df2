"""A linear layer whose weights lie ready to be multiplied on a CPU."""

import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.folded import Folded
from ohlora_lib.models.precision import compute_dtype


class Linear(nn.Linear):
    """nn.Linear, and GELU if asked for: (..., inputs) -> (..., outputs).

    At every call autocast would convert the weights to bfloat16, oneDNN would sort them into the
    blocks that it multiplies, and float32's bias would be copied to every row beforehand. Without
    gradients on a CPU the first two are done once, and bias and GELU come with the multiplication.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True, gelu: bool = False):
        super().__init__(inputs, outputs, bias)
        self.gelu, self.packed = gelu, Folded()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = compute_dtype(x)
        if not _packs(x, dtype):
            x = super().forward(x)
            return F.gelu(x) if self.gelu else x
        weight = self.packed(_pack, self.weight, dtype)
        bias = None if self.bias is None else self.bias.to(dtype)
        after = ("gelu", [], "none") if self.gelu else ("none", [], "")
        return torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, *after)


def _packs(x: torch.Tensor, dtype: torch.dtype) -> bool:
    if (
        x.device.type != "cpu"
        or torch.is_grad_enabled()
        or not torch.backends.mkldnn.is_available()
    ):
        return False
    bfloat16 = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bfloat16 or dtype == torch.float32


def _pack(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype))
