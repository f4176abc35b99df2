"""`python -m tests.reference DIR`: do our networks and scores equal those of the original code?

DIR, or the folders in it, hold golden sets of networks (NAME.manifest.json with NAME.golden.npz)
and property scores (parse_maps.npz, ...). Prints a row per stored array or score. Exit status 1 on
any mismatch, on a stored array that was not compared, on a file of arrays that belongs to no set.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from ohlora_lib.measure.scores import ScoreError
from ohlora_lib.store import StoreError
from tests.reference import networks, scores
from tests.reference.golden import Row


def check(folder: Path) -> Iterator[Row]:
    """The rows of every reference in `folder` and the folders directly in it."""
    found = False
    for place in [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]:
        if any(place.glob(f"*{networks.MANIFEST}")) or any(place.glob(f"*{networks.ARRAYS}")):
            found = True
            yield from networks.check(place)
        elif (place / "parse_maps.npz").exists() or (place / "reference_scores.csv").exists():
            found = True
            try:
                yield from scores.check(place)
            except (StoreError, ScoreError) as error:
                yield Row(place.name, "-", "-", "-", False, str(error))
    if not found:
        yield Row(folder.name, "-", "-", "-", False, "contains no golden set and no parse_maps.npz")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reference", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    if not folder.is_dir():
        print(f"there is no folder {folder}", file=sys.stderr)
        return 1
    print(f"{'reference':34} {'tensor or score':42} {'max abs diff':>16}  tolerance")
    failed = total = 0
    with torch.no_grad():
        for row in check(folder):
            mark = "" if row.passed else f"   MISMATCH {row.detail}".rstrip()
            line = f"{row.golden:34} {row.tensor:42} {row.difference:>16}  {row.tolerance}{mark}"
            print(line, flush=True)
            total, failed = total + 1, failed + (not row.passed)
    print(f"{total - failed} of {total} agree" + (f", {failed} MISMATCH" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
