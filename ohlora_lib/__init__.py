"""Oh-LoRA faces: the library that the notebooks call.

`OhLora` is loaded when somebody asks for it: it lives on a floor far above this file.
"""

import importlib

__all__ = ["OhLora"]


def __getattr__(name: str):
    if name == "OhLora":
        return importlib.import_module("ohlora_lib.steering.ohlora").OhLora
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
