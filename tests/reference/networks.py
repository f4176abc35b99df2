"""Compare our networks with golden sets: seed each by its manifest's recipe, run it in float32."""

from collections.abc import Iterator
from pathlib import Path

from ohlora_lib.models.discriminator import Discriminator
from ohlora_lib.models.facexformer import FaceXFormer
from ohlora_lib.models.filter_cnn import FilterCNN
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.property_cnn import PropertyCNN
from ohlora_lib.models.stylegan import Generator
from tests.reference.face_networks import compare_facexformer, compare_mtcnn, compare_score_cnn
from tests.reference.golden import GoldenError, Row, read_golden, seeded_network
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
    """The table's rows. A file that belongs to no set fails as well."""
    files = {path.name for path in folder.iterdir() if path.is_file()}
    manifests = {file.removesuffix(MANIFEST) for file in files if file.endswith(MANIFEST)}
    arrays = {file.removesuffix(ARRAYS) for file in files if file.endswith(ARRAYS)}
    if not manifests:
        yield _failed(str(folder), "contains no NAME.manifest.json")
    for name in sorted(manifests & arrays):
        yield from check_golden(folder, name)
    for name in sorted(manifests ^ arrays):
        yield _failed(name, f"has no {ARRAYS if name in manifests else MANIFEST}")
    ends = (ARRAYS, ".json", ".md")  # other JSON needs published weights and is not checked
    for file in sorted(files):
        if not file.endswith(ends) and not _is_input(folder, file, manifests & arrays):
            yield _failed(file, "no manifest names this file")


def check_golden(folder: Path, name: str) -> list[Row]:
    """One network's rows; an exception gives a failed row."""
    try:
        golden = read_golden(folder, name)
        network = seeded_network(golden)
        if network is None:
            return [_failed(name, "its state dict belongs to no known network")]
    except (GoldenError, KeyError, TypeError, ValueError) as error:
        return [_failed(name, f"{type(error).__name__}: {error}")]
    try:
        COMPARE[type(network)](golden, network)
    # One unexpected set must not hide the results of the others.
    except Exception as error:
        golden.row("(stopped)", f"{type(error).__name__}: {error}", "-", False)
    return golden.rows + golden.leftovers()


def _is_input(folder: Path, file: str, names: set[str]) -> bool:
    """Whether one of the manifests names this file."""
    return any(file in (folder / f"{n}{MANIFEST}").read_text(encoding="utf-8") for n in names)


def _failed(golden: str, why: str) -> Row:
    return Row(golden, "-", why, "-", False)
