"""Rendered faces on disk: an index is an identity, a cut-off run goes on, truth matches."""

import numpy as np
import pytest

from ohlora_lib.toyworld import dataset
from ohlora_lib.toyworld.dataset import make_faces
from ohlora_lib.toyworld.renderer import face


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setenv("OHLORA_HEADLESS", "1")
    monkeypatch.setattr(dataset, "PER_SHARD", 3)


def test_face_is_the_same_whatever_the_count_workers_and_shards(tmp_path, monkeypatch):
    one = make_faces(tmp_path / "one", seed=5, count=7, size=64, workers=1)
    monkeypatch.setattr(dataset, "PER_SHARD", 2)
    two = make_faces(tmp_path / "two", seed=5, count=4, size=64, workers=2)
    assert np.array_equal(one.images.read()[:4], two.images.read())
    assert np.array_equal(one.parse_maps.read()[:4], two.parse_maps.read())
    assert one.table[:4].equals(two.table)
    assert np.array_equal(one.images.read([3])[0], face(5, 3, 64).image)


def test_cut_off_run_goes_on_with_the_missing_shards_only(tmp_path):
    faces = make_faces(tmp_path, seed=5, count=7, size=64, workers=1)
    kept = faces.images.path(0).stat().st_mtime_ns
    (tmp_path / "images/table.parquet").unlink()
    (tmp_path / "parts/000003-000006.parquet").unlink()
    faces.images.path(4).unlink()
    again = make_faces(tmp_path, seed=5, count=7, size=64, workers=1)
    assert again.images.path(0).stat().st_mtime_ns == kept
    assert len(again.table) == 7 and again.images.path(4).exists()


def test_truth_columns_follow_the_attributes(tmp_path):
    table = make_faces(tmp_path, seed=8, count=9, size=64, workers=1).table
    assert (table.female == (table.gender > 0.5)).all()
    assert (table.old == (table.age > 0.65)).all() and (table.good == (table.quality > 0.5)).all()
    assert (table.glasses_worn == (table.glasses > 0.5)).all()
    assert (table[list(dataset.TRUTH)].nunique() == 2).all()
