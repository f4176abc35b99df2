"""Explore faces: sliders, comparison of two methods, live meters, class maps, animations.

The browser asks for an image when a number changes, and asks again only after the answer: what
changes meanwhile is dropped, so that the image follows the slider.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import cv2
import numpy as np
import torch
import traitlets
from PIL import Image

from ohlora_lib.faces.classes import BACKGROUND
from ohlora_lib.measure.parse import Parsed, Parser
from ohlora_lib.plots.segments import overlay
from ohlora_lib.steering.exploration import Exploration, Point
from ohlora_lib.steering.meters import Meter
from ohlora_lib.store import StoreError
from ohlora_lib.widgets import animation
from ohlora_lib.widgets.parts import es_module, one_line

RANGES = {"eyes": (-4.0, 2.0), "mouth": (-2.0, 3.0), "pose": (-2.5, 2.5)}
"""Of the sliders, in standard deviations: from closed to wide eyes, and as far as a face turns."""
OTHER_RANGE = (-3.0, 3.0)
MAX_FRAMES = 600
"""Of one animation."""
CHUNK = 12
"""Images of an animation that are made between two reports of progress."""
SMALL = 256
"""Pixels per side up to which one thread makes an image faster than several. Measured on two busy
cores, one of which the browser needs (benchmarks/explorer.py): at 128 px 14.2 instead of 7.8
images/s with both meters, at 256 px 12.5 instead of 10.8 with all meters."""


class Explorer(anywidget.AnyWidget):
    """The widget. `meters`: name -> Meter; `parser` adds class maps; `groups`: of each face."""

    _esm = es_module("elements", "explorer")
    _css = Path(__file__).with_suffix(".css")

    options = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)  # what the last image shows
    images = traitlets.List().tag(sync=True)  # encoded, one or two
    readings = traitlets.List().tag(sync=True)  # of each image: {meter: {property: value}}
    code = traitlets.Unicode().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    thumbnails = traitlets.List().tag(sync=True)  # encoded, one per keyframe
    saved = traitlets.Dict().tag(sync=True)  # of the last animation: said, kind, bytes; made, of
    answered = traitlets.Int(0).tag(sync=True)  # number of the request that was answered last

    def __init__(
        self,
        exploration: Exploration,
        meters: Mapping[str, Meter] | None = None,
        parser: Parser | None = None,
        groups: Sequence[str] | None = None,
        folder: str | Path = ".",
        name: str = "exploration",
        explained: Mapping[str, str] | None = None,
    ):
        """Animations go to `folder`; `name` is the exploration's in the code to copy; `explained`:
        method -> a sentence that is shown where it is chosen."""
        self.exploration, self.meters, self.parser = exploration, dict(meters or {}), parser
        self.folder, self.name = Path(folder), name
        self.keyframes: list[Point] = []
        sliders = {
            method: list(exploration.face(0, method).names) for method in exploration.methods
        }
        names = list(dict.fromkeys(name for known in sliders.values() for name in known))
        state = {
            "face": 0,
            "method": next(iter(sliders)),
            "other": "",
            "truncation": 1.0,
            "meters": bool(self.meters),
            "classes": False,
            "values": {},
        }
        options = {
            "sliders": sliders,
            "ranges": {name: RANGES.get(name, OTHER_RANGE) for name in names},
            "groups": list(groups) if groups is not None else [""] * exploration.count,
            "meters": list(self.meters),
            "parser": parser is not None,
            "formats": animation.formats(),
            "explained": dict(explained or {}),
            "size": exploration.sampler.to_show.size,
        }
        super().__init__(options=options, state=state)
        self.on_msg(self._receive)
        self._draw(state, 0)

    def _receive(self, _: Any, content: Mapping[str, Any], buffers: Any) -> None:
        """A request of the browser. Whatever is wrong becomes a message, not a traceback."""
        try:
            if content["do"] == "draw":
                self._draw(content["state"], content["number"])
            elif content["do"] == "keyframe":
                self.add_keyframe()
            elif content["do"] == "remove":
                self.remove_keyframe(content["place"])
            elif content["do"] == "save":
                self._save(content["format"], content["seconds"])
        except (ValueError, OSError, StoreError) as error:
            self.message = one_line(error)
            self.answered = content.get("number", self.answered)

    def _draw(self, state: Mapping[str, Any], number: int) -> None:
        methods = [state["method"], *([state["other"]] if state["other"] else [])]
        points = [self._point(state, method) for method in methods]
        with fitting_threads(self.options["size"]):
            images, readings = self.exploration.images(points), [{} for _ in points]
            classes = state["classes"] and self.parser is not None
            if state["meters"] or classes:
                measured = self.exploration.images(points, for_meters=True)
            if state["meters"]:
                readings = self._read(measured)
            if classes:
                maps = maps_in_images(self.parser(measured), *measured.shape[1:3])
                times = images.shape[1] // maps.shape[1]
                images = overlay(images, maps.repeat(times, 1).repeat(times, 2))
        with self.hold_sync():
            self.state = dict(state)
            self.images = [png(image) for image in images]
            self.readings = readings
            self.code = self._code(state)
            self.message = ""
            self.answered = number

    def _read(self, images: np.ndarray) -> list[dict[str, dict[str, float | None]]]:
        """For each image {meter: {property: value}}; None where a meter sees no face."""
        readings = [{} for _ in images]
        for name, meter in self.meters.items():
            for reading, scores in zip(readings, meter(images).scores, strict=True):
                reading[name] = {
                    key: float(value) if np.isfinite(value) else None
                    for key, value in zip(meter.properties, scores, strict=True)
                }
        return readings

    def _point(self, state: Mapping[str, Any], method: str) -> Point:
        """Numbers of properties that this method cannot move are left out."""
        known = self.options["sliders"].get(method, ())
        values = {name: value for name, value in state["values"].items() if name in known}
        return self.exploration.point(state["face"], method, state["truncation"], values)

    def _code(self, state: Mapping[str, Any]) -> str:
        given = {"face": state["face"], "method": state["method"]}
        if state["truncation"] != 1:
            given["truncation"] = state["truncation"]
        known = self.options["sliders"][state["method"]]
        given |= {key: value for key, value in state["values"].items() if value and key in known}
        listed = ", ".join(
            f"{key}={value!r}" if isinstance(value, str) else f"{key}={value:g}"
            for key, value in given.items()
        )
        return f"{self.name}.image({listed})"

    def add_keyframe(self) -> None:
        """Keep what the (first) image shows now."""
        self.keyframes.append(self._point(self.state, self.state["method"]))
        self.thumbnails = [*self.thumbnails, self.images[0]]

    def remove_keyframe(self, place: int) -> None:
        """Drop the keyframe at this place."""
        if not 0 <= place < len(self.keyframes):
            raise ValueError(f"there is no keyframe {place}: choose one of {len(self.keyframes)}")
        del self.keyframes[place]
        self.thumbnails = [one for at, one in enumerate(self.thumbnails) if at != place]

    def save_animation(
        self,
        kind: str,
        seconds: float = 1.0,
        rate: int = 12,
        progress: Callable[[int, int], None] = lambda made, of: None,
    ) -> Path:
        """Write the way through all keyframes, `seconds` from each to the next, into a new file;
        returns its path. `progress` gets the number of images so far, and of all."""
        if len(self.keyframes) < 2:
            raise ValueError("an animation needs two keyframes: add them first")
        steps = round(seconds * rate)
        if not 1 <= steps * len(self.keyframes) <= MAX_FRAMES:
            raise ValueError(
                f"{seconds} seconds for each of {len(self.keyframes)} keyframes make "
                f"{steps * len(self.keyframes)} images: must be from 1 to {MAX_FRAMES}"
            )
        number = 1
        while (path := self.folder / f"animation-{number}.{kind}").exists():
            number += 1
        points, images = animation.between(self.keyframes, steps), []
        for at in range(0, len(points), CHUNK):
            progress(at, len(points))
            images.append(self.exploration.images(points[at : at + CHUNK]))
        progress(len(points), len(points))
        animation.write_animation(path, np.concatenate(images), rate)
        return path

    def _save(self, kind: str, seconds: float) -> None:
        """Save an animation; `saved` says what becomes of it."""

        def progress(made: int, of: int) -> None:
            said = f"image {made} of {of}" if made < of else "writing the file"
            self.saved = {"said": f"Making the animation: {said} …", "made": made, "of": of}

        try:
            path = self.save_animation(kind, seconds, progress=progress)
        except (ValueError, OSError, StoreError) as error:
            self.saved = {"said": one_line(error)}
        else:
            self.saved = {"said": f"Saved as {path}", "kind": kind, "bytes": path.read_bytes()}


@contextmanager
def fitting_threads(size: int) -> Iterator[None]:
    """torch's number of threads that suits images of `size` pixels."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if size <= SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def png(image: np.ndarray) -> bytes:
    """An image (H, W, 3) uint8 as PNG, quickly."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def maps_in_images(parsed: Parsed, height: int, width: int) -> np.ndarray:
    """Class maps in the pixels of the images, (N, height, width): background outside the crops."""
    maps = np.full((len(parsed.maps), height, width), BACKGROUND, np.uint8)
    for one, crop, box in zip(maps, parsed.maps, parsed.boxes, strict=True):
        if not np.isfinite(box).all():
            continue
        left, top, right, bottom = np.round(box).astype(int)
        size = (max(right - left, 1), max(bottom - top, 1))
        resized = cv2.resize(crop, size, interpolation=cv2.INTER_NEAREST)
        rows = slice(max(top, 0), min(bottom, height))
        columns = slice(max(left, 0), min(right, width))
        one[rows, columns] = resized[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    return maps
