"""Animations between keyframes, as GIF, WebP or, where ffmpeg is installed, MP4."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ohlora_lib.steering.exploration import Point
from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import atomic_path

WIDTH = 384
"""Images narrower than this are enlarged, so that they are not tiny beside the buttons."""


def formats() -> list[str]:
    """The file endings that can be written here."""
    return ["gif", "webp", *(["mp4"] if shutil.which("ffmpeg") else [])]


def between(keyframes: Sequence[Point], steps: int) -> list[Point]:
    """`steps` points from each keyframe to the next and from the last back to the first, slow near
    the keyframes."""
    share = np.arange(steps) / steps
    eased = share * share * (3 - 2 * share)
    following = [*keyframes[1:], keyframes[0]]
    return [
        one.toward(other, float(at))
        for one, other in zip(keyframes, following, strict=True)
        for at in eased
    ]


def write_animation(path: str | Path, images: np.ndarray, rate: int, width: int = WIDTH) -> None:
    """Images (N, R, R, 3) uint8 at `rate` per second, repeated without end (MP4: once), enlarged
    by the smallest whole number with which they are `width` pixels wide."""
    path = Path(path)
    if (kind := path.suffix[1:]) not in formats():
        remedy = "install ffmpeg, or " if kind == "mp4" else ""
        raise StoreError(f"{path}: cannot write .{kind}: {remedy}use {' or '.join(formats())}")
    times = -(-width // images.shape[2])
    size = (times * images.shape[2], times * images.shape[1])
    frames = [Image.fromarray(one).resize(size, Image.Resampling.BICUBIC) for one in images]
    with atomic_path(path) as temporary:
        if kind == "mp4":
            _encode(temporary, frames, rate)
        else:
            options = {"quality": 85, "method": 3} if kind == "webp" else {}
            frames[0].save(
                temporary, save_all=True, append_images=frames[1:], loop=0,
                duration=round(1000 / rate), **options,
            )  # fmt: skip


def _encode(path: Path, frames: Sequence[Image.Image], rate: int) -> None:
    width, height = frames[0].size
    command = [
        "ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", f"{width}x{height}", "-r", str(rate), "-i", "-",
        "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path),
    ]  # fmt: skip
    pixels = b"".join(frame.tobytes() for frame in frames)
    done = subprocess.run(command, input=pixels, capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise StoreError(f"{path}: ffmpeg failed: {said[-1] if said else done.returncode}")
