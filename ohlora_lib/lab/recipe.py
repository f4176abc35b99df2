"""Method names of notebooks 08 and 09, until those take MethodSpec mappings."""

import re
from pathlib import Path

from ohlora_lib.steering.fit import DirectionSet
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec


def read_name(name: str) -> MethodSpec:
    """'ridge, measured, steps, recenterd, layers 0-8' -> the specification."""
    directions, *rest = [part.strip() for part in name.split(",")]
    styles = [m for part in rest if (m := re.fullmatch(r"layers (\d+)-(\d+)", part))]
    known = ("steps", "recenterd", "measured")
    if [part for part in rest if part not in known and not part.startswith("layers ")]:
        raise VectorError(f"method {name!r}: unknown part")
    layers = (int(styles[0][1]), int(styles[0][2])) if styles else None
    return MethodSpec(directions, "steps" in rest, "measured" in rest, "recenterd" in rest, layers)


def named_method(name: str, folder: Path) -> Method:
    """The method of that name, from the directions in `folder`."""
    return Method.build(read_name(name), DirectionSet.load(folder))
