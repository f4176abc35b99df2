"""Our networks and scores equal the reference outputs of the original code.

tests/reference/data is always checked. The full set, of which it is a part, is checked if the
environment variable OHLORA_REFERENCE names its folder, or if it is at ../shared/golden.
"""

import os
from pathlib import Path

import pytest
import torch

from tests.reference.__main__ import check, main

DATA = Path(__file__).parent / "data"
FULL = Path(
    os.environ.get("OHLORA_REFERENCE", Path(__file__).resolve().parents[3] / "shared" / "golden")
)
NETWORKS = {
    "cnn_age",
    "cnn_gender",
    "cnn_glass",
    "cnn_quality",
    "facexformer",
    "genforce_discriminator_256",
    "genforce_discriminator_64_compact",
    "genforce_generator_256",
    "genforce_generator_64_compact",
    "merged_property_cnn",
    "mtcnn",
    "ohlora_v8_discriminator_256",
    "ohlora_v8_generator_256",
    "ohlora_v9_generator_256",
}


def compared(folder: Path) -> int:
    """How many arrays and scores were compared; all must agree, and nothing may be left out."""
    with torch.no_grad():
        rows = list(check(folder))
    assert [row for row in rows if not row.passed] == []
    assert {row.golden for row in rows} == NETWORKS | {"property scores"}
    return len(rows)


def test_the_committed_reference_outputs_are_reproduced():
    assert compared(DATA) == 194


@pytest.mark.skipif(not FULL.is_dir(), reason=f"the full reference set is not at {FULL}")
def test_the_full_reference_set_is_reproduced():
    assert compared(FULL) == 223


def test_the_committed_set_is_small():
    assert sum(file.stat().st_size for file in DATA.rglob("*") if file.is_file()) <= 3_000_000


def test_a_folder_without_references_fails_and_a_missing_one_is_named(tmp_path, capsys):
    (tmp_path / "published").mkdir()
    assert main([str(tmp_path)]) == 1
    assert "contains no golden set" in capsys.readouterr().out
    assert main([str(tmp_path / "gone")]) == 1
    assert "there is no folder" in capsys.readouterr().err
