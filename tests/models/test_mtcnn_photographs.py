"""The published MTCNN on real photographs, against what facenet-pytorch 2.6.0 finds in them.

Expected boxes, probabilities and points: `MTCNN(keep_all=True)` of that package on the CPU, in
float32, `detect(landmarks=True)` on the RGB image.
"""

import importlib.util
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from ohlora_lib import checkpoints

missing = checkpoints.missing("mtcnn")
pytestmark = pytest.mark.skipif(bool(missing), reason=missing)

HOPPER = {
    "box": [174.40222, 119.55543, 355.64825, 340.45697],
    "probability": 0.9998245,
    "points": [[221.66614, 192.2059], [309.82892, 186.1304], [269.35687, 239.17365],
               [232.65196, 279.64865], [306.63849, 275.92749]],
}  # fmt: skip
ASTRONAUT = {
    "box": [181.05141, 62.15613, 267.74731, 172.05016],
    "probability": 0.9999977,
    "points": [[205.01091, 101.72745], [246.76257, 103.71408], [224.67136, 128.965],
               [201.71611, 139.24617], [245.26549, 141.85701]],
}  # fmt: skip


def check(path: Path, expected: dict) -> None:
    image = np.array(Image.open(path).convert("RGB"))
    (found,) = checkpoints.load("mtcnn")(image[None])
    assert found.boxes == pytest.approx(np.array([expected["box"]]), abs=0.05)
    assert found.probabilities == pytest.approx([expected["probability"]], abs=1e-5)
    assert found.points == pytest.approx(np.array([expected["points"]]), abs=0.05)


def test_grace_hopper():
    check(Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg", HOPPER)


def test_astronaut():
    package = importlib.util.find_spec("skimage")
    path = package and Path(package.origin).parent / "data/astronaut.png"
    if not path or not path.is_file():
        pytest.skip("scikit-image, whose sample photograph this is, is not installed")
    check(path, ASTRONAUT)
