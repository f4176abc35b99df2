"""Optional CPU fast paths, each with a plain fallback.

`OHLORA_PLAIN_CPU=1` in the environment switches all of them off. Both ways give the same results up
to rounding (tests/models/cpu). `python -m benchmarks.cpu_paths` measures each of them.
"""

import os

SWITCH = "OHLORA_PLAIN_CPU"


def enabled() -> bool:
    """Whether the fast paths are used."""
    return os.environ.get(SWITCH, "") in ("", "0")
