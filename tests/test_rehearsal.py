"""Every published layout loads, and the shortest published paths run, with stand-ins."""

import json
import re

import pytest

from ohlora_lib import checkpoints
from ohlora_lib.checkpoints import CHECKPOINTS
from tests import rehearsal

FILTERS = [f"{name}-{fold}" for name in ("gender", "quality", "age", "glass") for fold in range(5)]
V8 = ["ohlora-v8", "property-cnn", "facexformer", "mtcnn"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with stand-ins and the least counts."""
    root = tmp_path_factory.mktemp("rehearsal") / "repository"
    rehearsal.copy_repository(root)
    rehearsal.write_stand_ins(root / "data/weights", [*FILTERS, *V8, "finetune-v1"])
    rehearsal.reduce_counts(root)
    return root


def pages(root, system):
    return {path.stem: path.read_text() for path in (root / "reports" / system).glob("*.md")}


def succeeds(root, *arguments):
    done = rehearsal.run(root, *arguments, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_published_layout_has_a_stand_in_that_loads(tmp_path, monkeypatch):
    one_of_each = {CHECKPOINTS[name].config: name for name in CHECKPOINTS}
    del one_of_each[CHECKPOINTS["facexformer"].config]  # large; the next tests load it
    rehearsal.write_stand_ins(tmp_path, list(one_of_each.values()))
    for name in one_of_each.values():
        assert not checkpoints.problem(name, tmp_path), name


def test_published_filter_rates_the_images_of_the_published_generator(copy):
    rehearsal.reduce_counts(copy, images=32, min_kept=1)
    output = succeeds(copy, "published_filter")
    assert "weights 'finetune-v1': read" in output
    found = pages(copy, "published_filter")
    assert "No image is labeled: the CNNs of the original project" in found["02_filter"]
    record = json.loads((copy / "reports/published_filter/02_filter.json").read_text())
    assert re.match(r"\d+ of 32 \(", dict(record["finding"]["headline"])["images kept"])
    assert not rehearsal.toy_statements(copy, "published_filter")


def test_published_v8_samples_and_fits_directions(copy):
    rehearsal.reduce_counts(copy)
    succeeds(copy, "published_v8", "--only", "07_find_vectors")
    page = pages(copy, "published_v8")["07_find_vectors"]
    assert "256 latents with their w (512 values), scored by the property CNN" in page
    assert "toy" not in page


def test_a_statement_about_the_toy_world_is_found(tmp_path):
    for folder in ("notebooks", "reports/photo"):
        (tmp_path / folder).mkdir(parents=True)
    page = tmp_path / "reports/photo/01.md"
    page.write_text("# Faces\n\nhere: toy world\n\nMeasured on toy faces only.\n")
    assert rehearsal.toy_statements(tmp_path, "photo") == [
        "01.md: here: toy world", "01.md: Measured on toy faces only."
    ]  # fmt: skip
