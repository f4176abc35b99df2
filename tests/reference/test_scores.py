"""The checker of property scores on folders made here: it misses nothing that differs."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.reference.__main__ import main

COUNT = 25  # maps: enough for every kind of missing value, few enough to copy for every test


@pytest.fixture(scope="session")
def reference(faces, tmp_path_factory):
    """A folder like the published one, with values from loops over pixels."""
    folder = tmp_path_factory.mktemp("property_scores")
    np.savez(folder / "parse_maps.npz", maps=faces.maps[:COUNT], names=faces.names[:COUNT])
    np.savez(folder / "images_rgb.npz", images=faces.images[:COUNT])
    raw = faces.plain[:COUNT].copy()
    finite = raw.replace([np.inf, -np.inf], np.nan)
    named = {"index": np.arange(COUNT), "name": faces.names[:COUNT]}
    prose = "hairstyle_whole_blocks"
    scores = raw.rename(columns={prose: "hairstyle_if_all_16_pixels_tested"})
    scores.assign(**named).to_csv(folder / "reference_scores.csv", index=False)
    normalized = ((finite - finite.mean()) / finite.std()).drop(columns=prose).round(4)
    path = folder / "reference_scores_normalised.csv"
    normalized.assign(**named).to_csv(path, index=False)
    (folder / "reference_status.json").write_text(json.dumps(_status(raw, faces.names)))
    return folder


def _status(raw, names):
    """In the format of the published file."""
    status = {}
    for row, column in np.argwhere(~np.isfinite(raw.to_numpy())):
        value, score = raw.iat[row, column], raw.columns[column]
        text = {
            "v1_hair_color": "AxisError: axis 1 is out of bounds",
            "v1_hair_length": "returns None",
        }
        status.setdefault(str(names[row]), {})[score] = text.get(score, f"returns {value}")
    return status


@pytest.fixture
def folder(reference, tmp_path):
    return shutil.copytree(reference, tmp_path / "copy")


def test_values_of_any_maps_pass(folder, capsys):
    assert main([str(folder)]) == 0
    assert "MISMATCH" not in capsys.readouterr().out


def test_maps_cover_what_a_score_can_lack(reference):
    """Or the tests below would show nothing about values that are missing."""
    text = (reference / "reference_status.json").read_text()
    assert all(part in text for part in ("returns inf", "returns nan", "returns None", "AxisError"))


def alter(folder, file, row, column, change):
    table = pd.read_csv(folder / file)
    table[column] = table[column].astype(float)
    table.loc[row, column] = change(table.loc[row, column])
    table.to_csv(folder / file, index=False)


SCORES = "reference_scores.csv"


@pytest.mark.parametrize(
    ("file", "column", "change"),
    [
        (SCORES, "v1_background_mean", lambda value: value * (1 + 3e-9)),
        (SCORES, "v1_eyes", lambda value: value + 1e-10),
        (SCORES, "v2_eyes", lambda value: np.nan),
        (SCORES, "v2_pose", lambda value: np.inf),
        ("reference_scores_normalised.csv", "hairstyle", lambda value: value + 0.0002),
        ("reference_scores_normalised.csv", "v1_eyes", lambda value: np.nan),
    ],
)
def test_a_value_that_differs_is_a_mismatch(folder, capsys, file, column, change):
    alter(folder, file, 0, column, change)
    assert main([str(folder)]) == 1
    assert "1 MISMATCH" in capsys.readouterr().out


def test_a_missing_value_that_we_have_no_value_for_either_must_be_stated(folder, capsys):
    """Dropped, added and changed entries of the status."""
    path = folder / "reference_status.json"
    status = json.loads(path.read_text())
    for change in (
        {"all 0": {}},
        {"all 6": {"v2_eyes": "returns nan"}},
        {"above": {"v2_pose": "returns nan"}},
    ):
        path.write_text(json.dumps(status | change))
        assert main([str(folder)]) == 1
        assert next(iter(change)) in capsys.readouterr().out


def test_every_map_and_score_must_be_compared(folder, capsys):
    path = folder / SCORES
    whole = pd.read_csv(path)
    whole[:-1].to_csv(path, index=False)
    assert main([str(folder)]) == 1
    assert "its rows are not the 25 maps" in capsys.readouterr().out
    whole.drop(columns="v2_mouth").to_csv(path, index=False)
    assert main([str(folder)]) == 1
    whole.assign(v3_eyes=0.0).to_csv(path, index=False)
    assert main([str(folder)]) == 1


@pytest.mark.parametrize("file", ["parse_maps.npz", "images_rgb.npz", SCORES])
def test_a_file_that_is_missing_or_broken_is_named(folder, capsys, file):
    (folder / file).write_bytes(b"PK broken")
    assert main([str(folder)]) == 1
    assert file in capsys.readouterr().out
    (folder / file).unlink()
    assert main([str(folder)]) == 1
    assert file in capsys.readouterr().out
