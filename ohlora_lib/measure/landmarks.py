"""The external judge: Google's Face Landmarker reads expression and head pose from an image.

    judge = load_judge()                  # None if its file is missing
    table = judge.measure(images)         # one row per image, columns MEASURES

It was trained on photographs by others. Nothing in this project fits, calibrates or selects with
it, so that its readings confirm. Only its landmark network is used, on a fixed crop: all faces here
are aligned. It takes 5 ms per face on one core. `python -m ohlora_lib.checkpoints fetch landmarks`
gets its file.

Units: eye and mouth aspect ratio (EAR, MAR) are height over width; yaw and roll are degrees of the
line between the outer eye corners, positive like `pose`: the head turns to its own right and its
left eye, on the image's right, sinks. It reads about 0.6 of the true yaw.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ohlora_lib.checkpoints import FOLDER, WeightsError

FILE = "face_landmarks_detector.tflite"
SIZE, POINTS = 256, 478
CROP = (0.14, 0.18, 0.86, 0.90)
"""Left, top, right, bottom of the crop, as fractions of an aligned face."""
PRESENT = 0.5
"""From this probability on there is a face."""
MEASURES = ("ear", "mar", "yaw", "roll", "smile", "gaze", "asymmetry")
RIGHT_EYE = ((33, 133), (160, 144), (158, 153))
LEFT_EYE = ((362, 263), (385, 380), (387, 373))
"""Pairs of landmarks: the corners, then upper and lower lid twice. Left and right are her own."""
IRISES = (468, 473)
"""Centers, of her right and her left eye."""
OUTER_CORNERS, LIPS, INNER_MOUTH, MOUTH_CORNERS = (33, 263), (13, 14), (78, 308), (61, 291)


@dataclass(frozen=True)
class Landmarks:
    """What the network finds in N images."""

    points: np.ndarray  # (N, 478, 3) float32, pixels of the crop at SIZE
    presence: np.ndarray  # (N,) probability that there is a face

    @property
    def found(self) -> np.ndarray:
        """(N,) bool: there is a face."""
        return self.presence >= PRESENT


class FaceLandmarker:
    """The landmark network of Google's Face Landmarker, on one CPU thread."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.content = self.path.read_bytes()
        self._network = None

    def __getstate__(self) -> dict:
        # The file goes along: another machine may not have it.
        return {"path": self.path, "content": self.content, "_network": None}

    def __call__(self, images: np.ndarray) -> Landmarks:
        """Aligned faces (N, R, R, 3) uint8."""
        network = self._network = self._network or _open(self.path, self.content)
        (given,), outputs = network.get_input_details(), network.get_output_details()
        points = np.empty((len(images), POINTS, 3), np.float32)
        logits = np.empty(len(images))
        for number, image in enumerate(images):
            network.set_tensor(given["index"], crop(image)[None])
            network.invoke()
            points[number] = network.get_tensor(outputs[0]["index"]).reshape(POINTS, 3)
            logits[number] = network.get_tensor(outputs[1]["index"]).item()
        return Landmarks(points, 1 / (1 + np.exp(-logits)))

    def measure(self, images: np.ndarray) -> pd.DataFrame:
        """One row per image, columns MEASURES; NaN where no face is found."""
        landmarks = self(images)
        table = measures(landmarks.points)
        table[~landmarks.found] = np.nan
        return table


def load_judge(folder: Path | None = None) -> FaceLandmarker | None:
    """The judge, or None if its file or the package that runs it is not installed."""
    path = (folder or FOLDER) / FILE
    return FaceLandmarker(path) if path.is_file() and _runtime() else None


def crop(image: np.ndarray) -> np.ndarray:
    """An aligned face (R, R, 3) uint8 -> the network's input (256, 256, 3) float32 in 0..1."""
    height, width = image.shape[:2]
    left, top, right, bottom = np.array(CROP) * (width, height, width, height)
    scale = SIZE / (right - left), SIZE / (bottom - top)
    # Pixel centers: x' + 1/2 = (x + 1/2 - left) scale.
    matrix = np.float64([
        [scale[0], 0, (0.5 - left) * scale[0] - 0.5],
        [0, scale[1], (0.5 - top) * scale[1] - 0.5],
    ])  # fmt: skip
    enlarged = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
    return enlarged.astype(np.float32) / 255


def measures(points: np.ndarray) -> pd.DataFrame:
    """Landmarks (N, 478, 3) -> columns MEASURES."""
    right, left = (_eye_opening(points, eye) for eye in (RIGHT_EYE, LEFT_EYE))
    between = points[:, OUTER_CORNERS[1]] - points[:, OUTER_CORNERS[0]]
    columns = {
        "ear": (right + left) / 2,
        "mar": _distance(points, LIPS) / _distance(points, INNER_MOUTH),
        "yaw": np.degrees(np.arctan2(-between[:, 2], between[:, 0])),
        "roll": np.degrees(np.arctan2(between[:, 1], between[:, 0])),
        "smile": _distance(points, MOUTH_CORNERS) / np.linalg.norm(between, axis=1),
        "gaze": _gaze(points),
        "asymmetry": left - right,
    }
    return pd.DataFrame({name: values.astype(float) for name, values in columns.items()})


def _gaze(points: np.ndarray) -> np.ndarray:
    """Where the irises are between the corners of their eyes: -1 and 1 at the image's left and
    right corner, mean of both eyes."""
    sides = []
    for eye, iris in zip((RIGHT_EYE, LEFT_EYE), IRISES, strict=True):
        first, second = (points[:, corner, :2] for corner in eye[0])
        along, middle = second - first, (first + second) / 2
        offset = ((points[:, iris, :2] - middle) * along).sum(1)
        sides.append(2 * offset / np.square(along).sum(1))
    return sum(sides) / 2


def _eye_opening(points: np.ndarray, eye: tuple) -> np.ndarray:
    corners, *lids = eye
    return sum(_distance(points, pair) for pair in lids) / len(lids) / _distance(points, corners)


def _distance(points: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    return np.linalg.norm(points[:, pair[0]] - points[:, pair[1]], axis=1)


def _runtime():
    """The class that runs .tflite files, or None if its package is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter  # slow to import
    except ImportError:
        return None
    return Interpreter


@contextmanager
def _silent_start() -> Iterator[None]:
    """The runtime announces its CPU code on the process's stderr, in every worker process."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _open(path: Path, content: bytes):
    interpreter = _runtime()
    if interpreter is None:
        raise WeightsError("the external judge needs ai-edge-litert: pip install ai-edge-litert")
    try:
        with _silent_start():
            network = interpreter(model_content=content, num_threads=1)
            network.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    return network
