"""`python -m tests.reference.networks DIR`: do our networks equal the published ones?

For every NAME.manifest.json with its NAME.golden.npz in DIR: seed the network by the manifest's
recipe, run it in float32, compare every stored array, print the table. Exit status 1 on any miss,
on a file that is not part of a set, on a stored array that was not compared.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.facexformer import FaceXFormer
from ohlora_lib.models.filter_cnn import FilterCNN
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.property_cnn import PropertyCNN
from ohlora_lib.models.stylegan import Generator
from tests.reference.face_networks import compare_facexformer, compare_mtcnn, compare_score_cnn
from tests.reference.seeded import GoldenError, Row, read_golden, seeded_network
from tests.reference.stylegan import compare_discriminator, compare_generator

COMPARE = {
    Generator: compare_generator,
    Discriminator: compare_discriminator,
    FaceXFormer: compare_facexformer,
    MTCNN: compare_mtcnn,
    PropertyCNN: compare_score_cnn,
    FilterCNN: compare_score_cnn,
}
MANIFEST, ARRAYS = ".manifest.json", ".golden.npz"


def check(folder: Path) -> Iterator[Row]:
    """The table's rows, network after network."""
    files = {path.name for path in folder.iterdir() if path.is_file()}
    manifests = {file.removesuffix(MANIFEST) for file in files if file.endswith(MANIFEST)}
    arrays = {file.removesuffix(ARRAYS) for file in files if file.endswith(ARRAYS)}
    if not manifests:
        yield _failed(str(folder), "there is no NAME.manifest.json in it")
    for name in sorted(manifests & arrays):
        yield from check_golden(folder, name)
    for name in sorted(manifests ^ arrays):
        yield _failed(name, f"has no {ARRAYS if name in manifests else MANIFEST}")
    ends = (MANIFEST, ARRAYS, ".md")
    for file in sorted(files):
        if not file.endswith(ends) and not _is_input(folder, file, manifests & arrays):
            yield _failed(file, "a file that no manifest names")


def check_golden(folder: Path, name: str) -> list[Row]:
    """One network's rows; what breaks its comparison is a failed row too."""
    try:
        golden = read_golden(folder, name)
        network = seeded_network(golden)
        if network is None:
            return [_failed(name, "its state dict is of no network we know")]
    except (GoldenError, KeyError, TypeError, ValueError) as error:
        return [_failed(name, f"{type(error).__name__}: {error}")]
    try:
        COMPARE[type(network)](golden, network)
    # One set that is not as expected must not hide what the others show.
    except Exception as error:
        golden.row("(stopped)", f"{type(error).__name__}: {error}", "-", False)
    return golden.rows + golden.leftovers()


def _is_input(folder: Path, file: str, names: set[str]) -> bool:
    """Whether one of the manifests names this file."""
    return any(file in (folder / f"{n}{MANIFEST}").read_text(encoding="utf-8") for n in names)


def _failed(golden: str, why: str) -> Row:
    return Row(golden, "-", why, "-", False)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reference.networks", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    if not folder.is_dir():
        print(f"there is no folder {folder}", file=sys.stderr)
        return 1
    print(f"{'golden':34} {'tensor':42} {'max abs diff':>16}  tolerance")
    failed = total = 0
    with torch.no_grad():
        for row in check(folder):
            mark = "" if row.passed else "   MISS"
            line = f"{row.golden:34} {row.tensor:42} {row.difference:>16}  {row.tolerance}{mark}"
            print(line, flush=True)
            total, failed = total + 1, failed + (not row.passed)
    print(f"{total - failed} of {total} agree" + (f", {failed} MISS" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
