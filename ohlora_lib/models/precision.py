"""In which number format a network runs on this device, and how many images at once.

    network = precision.place(network, "auto", device)
    with precision.inference("auto", device):
        images = network(z)

"auto" is bfloat16 (autocast, channels last) where the device makes it pay, else float32.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

PRECISIONS = ("auto", "float32", "bfloat16")
UNKNOWN_MEMORY = 4 << 30  # bytes to count on where the system does not say


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

    AMX is many times faster. AVX512-BF16 doubles the speed on AMD's CPUs (a large convolution: 450
    against 225 GFLOP/s on two cores of an EPYC). On Intel's it only matters where AMX is switched
    off, and there it is no gain: StyleGAN's convolutions came out at half the speed, 176 against
    350 GFLOP/s on two cores of an Emerald Rapids.
    """
    if reported.get("amx_bf16"):
        return True
    intel = "intel" in str(reported.get("cpu_name", "")).lower()
    return bool(reported.get("avx512_bf16")) and not intel


def autocast(precision: str = "auto", device: torch.device | str = "cpu") -> torch.autocast:
    """The context to compute in, for training as well as inference."""
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
    """The network on the device, its kernels channels last if it computes in bfloat16."""
    network = network.to(device)
    if chosen(precision, device) == torch.bfloat16:
        network = network.to(memory_format=torch.channels_last)
    return network


def images_that_fit(network: nn.Module, *one, most: int = 64) -> int:
    """How many inputs like `one` (what forward takes, a batch of one) fit into half of the memory.

    Runs the network once; counts four of the largest map that it makes, as a layer holds its
    input, its output and what it computes in between.
    """
    largest = 0

    def see(module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal largest
        maps = output if isinstance(output, tuple | list) else [output]
        largest = max([largest, *(m.nbytes for m in maps if isinstance(m, torch.Tensor))])

    hooks = [module.register_forward_hook(see) for module in network.modules()]
    try:
        with torch.inference_mode():
            network(*one)
    finally:
        for hook in hooks:
            hook.remove()
    device = next(network.parameters()).device
    return max(1, min(most, free_memory(device) // 2 // (4 * largest)))


def free_memory(device: torch.device | str = "cpu") -> int:
    """Bytes that this process may still take on the device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_available(), _within_limit())


def _available(meminfo: Path = Path("/proc/meminfo")) -> int:
    if not meminfo.exists():
        return UNKNOWN_MEMORY
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next(
        (int(line[1]) << 10 for line in lines if line[0] == "MemAvailable:"), UNKNOWN_MEMORY
    )


def _within_limit(group: Path = Path("/sys/fs/cgroup")) -> float:
    """What a container's limit leaves; without a limit, infinity."""
    limit, used = group / "memory.max", group / "memory.current"
    if not limit.exists() or not used.exists() or (allowed := limit.read_text().strip()) == "max":
        return float("inf")
    return max(0, int(allowed) - int(used.read_text()))
