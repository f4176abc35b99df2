"""Files of state dicts: read without executing code, checked key by key, written atomically."""

import pickle
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ohlora_lib.checkpoints.layouts import describe
from ohlora_lib.store.atomic import atomic_path

WRAPPERS = ("generator", "state_dict_backbone", "state_dict", "model_state_dict", "model")
"""Keys under which a published file may have its state dict, tried in this order."""


class WeightsError(Exception):
    """Weights that are missing, unreadable, unsafe or of another network."""


State = dict[str, torch.Tensor]


NO_WEIGHTS = {
    b"version https://git-lfs": "is a Git LFS pointer",
    b"<!doctype": "is a web page",
    b"<html": "is a web page",
    b"<?xml": "is XML",
}
"""How files begin that were saved in the place of the weights, and what they are."""


def _refuse_other_kinds(path: Path) -> None:
    """A WeightsError if the file is recognizably something else, as after a failed download."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    for sign, kind in NO_WEIGHTS.items():
        if start.startswith(sign):
            raise WeightsError(f"{path} {kind}, not weights: download the file itself again")


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a .safetensors file; {} if it has none."""
    _refuse_other_kinds(path)
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or not a .safetensors file: {error}") from error


def read_state(path: Path, inside: str = "") -> State:
    """The tensors of a .safetensors, .pth or .pt file, on the CPU; `inside` selects a part."""
    _refuse_other_kinds(path)
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is damaged or not a .safetensors file: {error}") from error
    return _unwrapped(_read_pickle(path), path, inside)


def _read_pickle(path: Path) -> object:
    """The content of a .pth file, always with `weights_only`: data, never code.

    A Namespace is data, too: some training scripts save their options beside the weights.
    """
    try:
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)|global '?([\w.]+)", str(error))
        if code is None:
            raise WeightsError(f"{path} is damaged or no PyTorch file: {_first(error)}") from error
        raise WeightsError(f"{path} would run code ({code[1] or code[2]}): refused") from error
    # A damaged file can fail anywhere in the unpickler.
    except Exception as error:
        raise WeightsError(f"{path} is damaged or no PyTorch file: {_first(error)}") from error


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _unwrapped(content: object, path: Path, inside: str) -> State:
    """The state dict in the content of a .pth file: under `inside`, at the top, or in a wrapper."""
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} contains a {type(content).__name__}, not a state dict")
    flat = any(isinstance(value, torch.Tensor) for value in content.values())
    if not flat:
        names = [inside] if inside else WRAPPERS
        found = [content[name] for name in names if isinstance(content.get(name), Mapping)]
        if not found:
            wanted = f"'{inside}'" if inside else "state dict"
            raise WeightsError(f"{path} has no {wanted}; it has {sorted(map(str, content))[:8]}")
        content = found[0]
    for key, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise WeightsError(f"{path}: '{key}' is a {type(value).__name__}, not a tensor")
    if content and all(key.startswith("module.") for key in content):  # of nn.DataParallel
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def fill(
    network: nn.Module, state: State, path: Path, prefix: str = "", without: tuple[str, ...] = ()
) -> None:
    """Load `state` into `network`; a WeightsError names `path` and the first key that is wrong.

    If the file has only a part of the network, its keys lack `prefix`, and no key of the network
    that starts with `without` belongs to it.
    """
    own = {
        key.removeprefix(prefix): value
        for key, value in network.state_dict().items()
        if key.startswith(prefix) and not key.startswith(without)
    }
    filled = {}
    for key, value in own.items():
        if key not in state:
            raise WeightsError(f"{path}: '{key}' is missing")
        filled[prefix + key] = _checked(state[key], value, f"{path}: '{key}'")
    unexpected = next((key for key in state if key not in own), None)
    if unexpected is not None:
        raise WeightsError(f"{path}: '{unexpected}' is unexpected in a {type(network).__name__}")
    network.load_state_dict(filled, strict=False)


def _checked(tensor: torch.Tensor, own: torch.Tensor, where: str) -> torch.Tensor:
    if tensor.shape != own.shape:
        raise WeightsError(f"{where} is {tuple(tensor.shape)}, should be {tuple(own.shape)}")
    if not own.is_floating_point():  # a constant of the architecture
        if not torch.equal(tensor.to(own.dtype), own):
            raise WeightsError(f"{where} differs from the constant of the architecture")
        return own
    if not tensor.isfinite().all():
        raise WeightsError(f"{where} has NaN or infinite values")
    return tensor.to(own.dtype)


def save(network: nn.Module, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write a network with its config as .safetensors; `dtype` bfloat16 halves the file.

    Vectors (biases, norms and their statistics) are few and keep their own dtype.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: weights are written as .safetensors only")
    state = {}
    for key, tensor in network.state_dict().items():
        is_vector = tensor.numel() == max(tensor.shape, default=1)
        own = dtype is None or is_vector or not tensor.is_floating_point()
        kept = tensor.dtype if own else dtype
        state[key] = tensor.detach().to("cpu", kept).contiguous().clone()
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(state, temporary, metadata=describe(network))
