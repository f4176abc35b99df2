"""Oh-LoRA: the library that the notebooks call; `OhLora`, the selected faces, and `NvaeFaces`,
faces by their conditions.

Both are imported on first use: torch is slow to import, and the runner does not need it.
"""

import importlib

__all__ = ["NvaeFaces", "OhLora"]
_MODULES = {"NvaeFaces": "ohlora_lib.gai_p3.faces", "OhLora": "ohlora_lib.steering.ohlora"}


def __getattr__(name: str):
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
