"""All networks against the golden set beside the checkout, where there is one."""

from pathlib import Path

import pytest
import torch

from tests.reference.networks import MANIFEST, check

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden"


@pytest.mark.skipif(
    not any(FOLDER.glob(f"*{MANIFEST}")), reason="the golden set is not beside this checkout"
)
def test_every_stored_array_agrees():
    with torch.no_grad():
        rows = list(check(FOLDER))
    assert len(rows) > 100
    assert [row for row in rows if not row.passed] == []
