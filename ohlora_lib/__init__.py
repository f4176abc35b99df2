"""Oh-LoRA: the library that the notebooks call, and `OhLora`, the selected faces.

`OhLora` is imported on first use: torch is slow to import, and the runner does not need it.
"""

import importlib

__all__ = ["OhLora"]


def __getattr__(name: str):
    if name == "OhLora":
        return importlib.import_module("ohlora_lib.steering.ohlora").OhLora
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
