"""The number format in which a network runs on a device.

    network = precision.place(network, "auto", device)
    with precision.inference("auto", device):
        images = network(z)

"auto" is bfloat16 (autocast, channels last) where the device computes it faster, else float32.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

PRECISIONS = ("auto", "float32", "bfloat16")


def fastest_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chosen(precision: str = "auto", device: torch.device | str = "cpu") -> torch.dtype:
    """The format to compute in: torch.float32 or torch.bfloat16."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: must be one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        precision = "bfloat16" if _bfloat16_pays(torch.device(device)) else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _bfloat16_pays(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and cpu_pays(torch.cpu.get_capabilities())


def cpu_pays(reported: Mapping) -> bool:
    """Whether a CPU with these capabilities computes faster in bfloat16 than in float32.

    AMX is many times faster. AVX512-BF16 doubles the speed of AMD CPUs (a large convolution: 450
    against 225 GFLOP/s on two cores of an EPYC). On Intel CPUs without AMX it does not pay:
    StyleGAN's convolutions ran at 176 against 350 GFLOP/s on two cores of an Emerald Rapids.
    """
    if reported.get("amx_bf16"):
        return True
    intel = "intel" in str(reported.get("cpu_name", "")).lower()
    return bool(reported.get("avx512_bf16")) and not intel


def autocast(precision: str = "auto", device: torch.device | str = "cpu") -> torch.autocast:
    """The autocast context, for training and inference."""
    device = torch.device(device)
    fast = chosen(precision, device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def compute_dtype(x: torch.Tensor) -> torch.dtype:
    """The number format to compute in: autocast's where it is on, else that of `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


@contextmanager
def inference(precision: str = "auto", device: torch.device | str = "cpu") -> Iterator[None]:
    """Autocast, without gradients."""
    with torch.inference_mode(), autocast(precision, device):
        yield


def place(
    network: nn.Module, precision: str = "auto", device: torch.device | str = "cpu"
) -> nn.Module:
    """Move the network to the device, with channels-last kernels if it computes in bfloat16."""
    network = network.to(device)
    if chosen(precision, device) == torch.bfloat16:
        network = network.to(memory_format=torch.channels_last)
    return network
