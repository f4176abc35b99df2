"""Face parsing: images -> face crop -> class map, by one of two parsers.

    parser = load_parser("embedded")                 # or "facexformer"
    parsed = parse(images, parser)                   # maps, face images, boxes, found
    scores = property_scores(images, parser)         # the eight raw scores, one row per image

An image without a face is no error: its map is all background, its box and its scores are NaN.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch

from ohlora_lib import checkpoints
from ohlora_lib.faces.classes import (
    BACKGROUND,
    CLASS_NAMES,
    INNER_MOUTH,
    LEFT_EYE,
    LOWER_LIP,
    NOSE,
    RIGHT_EYE,
    SKIN,
    UPPER_LIP,
)
from ohlora_lib.measure.scores import SECOND, SECOND_MIN_BLOCKS, score
from ohlora_lib.measure.segments import SIZE
from ohlora_lib.models import precision
from ohlora_lib.models.cpu.fused import fuse_for_inference
from ohlora_lib.models.facexformer import (
    FaceXFormer,
    crop_face,
    face_images,
    face_input,
    widened_box,
)
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.pixels import resize_bicubic
from ohlora_lib.models.unet_parser import UNetParser

PARSERS = ("embedded", "facexformer")
BATCH = 8
"""Images at a time: larger batches exceed the cores' caches and take a third longer per image."""
FEATURES = ((LEFT_EYE, RIGHT_EYE), (NOSE,), (UPPER_LIP, INNER_MOUTH, LOWER_LIP))
LEAST_SKIN, LEAST_FEATURE = 0.08, 0.001
"""Shares of a map that skin, and at least two of eyes, nose and mouth, must have to show a face."""


class Parsed(NamedTuple):
    """A parser's output for N images."""

    maps: np.ndarray  # (N, 224, 224) uint8 class ids
    faces: np.ndarray  # (N, 224, 224, 3) uint8, the crops that the maps describe
    boxes: np.ndarray  # (N, 4) float32: x1, y1, x2, y2 of the crops in the image
    found: np.ndarray  # (N,) bool: a face was found


Parser = Callable[[np.ndarray], Parsed]
"""Images (N, H, W, 3) uint8 RGB that fit into memory -> Parsed. See also `default_scores`."""


@dataclass(frozen=True, eq=False)
class EmbeddedParser:
    """The toy world's U-Net, which reads whole images, as all toy faces are framed alike.

    A box around the face would end at the fringe, so that hair would change the scale: the eyes'
    score would correlate with their true opening by 0.89 instead of 0.96.
    """

    network: UNetParser
    number_format: str = "auto"
    scores: ClassVar[Mapping[str, str]] = SECOND_MIN_BLOCKS

    def __call__(self, images: np.ndarray) -> Parsed:
        with precision.inference(self.number_format, self.network.classify.weight.device):
            maps = without_specks(self.network.parse(images, SIZE))
        found = shows_face(maps)
        maps[~found] = BACKGROUND
        height, width = images.shape[1:3]
        boxes = np.where(found[:, None], np.float32([0, 0, width, height]), np.float32(np.nan))
        return Parsed(maps, resize_bicubic(images, SIZE), boxes, found)


@dataclass(frozen=True, eq=False)
class PublishedParser:
    """MTCNN detects the largest face, FaceXFormer parses its crop (margin, bicubic, 224 pixels)."""

    detector: MTCNN
    reader: FaceXFormer

    def __call__(self, images: np.ndarray) -> Parsed:
        boxes = np.full((len(images), 4), np.nan, np.float32)
        maps = np.full((len(images), SIZE, SIZE), BACKGROUND, np.uint8)
        faces = resize_bicubic(images, SIZE)
        crops = []
        for number, found in enumerate(self.detector(images)):
            wide = [widened_box(box, *images.shape[1:3]) for box in found.boxes[:1]]
            # A box may lie entirely outside its image.
            if wide and (wide[0][2:].astype(int) > wide[0][:2].astype(int)).all():
                boxes[number] = wide[0]
                crops.append(crop_face(images[number], found.boxes[0]))
        found = ~np.isnan(boxes[:, 0])
        if crops:
            maps[found], faces[found] = self._read(np.stack(crops))
        return Parsed(maps, faces, boxes, found)

    def _read(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M, 224, 224, 3) crops -> their maps, and the face images as the original saves them."""
        device = self.reader.linear_fuse.weight.device
        inputs = face_input(crops)
        with precision.inference(device=device):
            maps = self.reader(inputs.to(device)).parse_map
        return maps.cpu().numpy(), face_images(inputs).numpy()


def load_parser(name: str = "embedded", device: str | torch.device = "cpu") -> Parser:
    """One of PARSERS with its weights; those of FaceXFormer and MTCNN are the published ones."""
    if name == "embedded":
        return EmbeddedParser(
            precision.place(fuse_for_inference(checkpoints.load("parser")), device=device)
        )
    if name == "facexformer":
        reader = precision.place(checkpoints.load("facexformer"), device=device)
        return PublishedParser(checkpoints.load("mtcnn").to(device), reader)
    raise ValueError(f"no parser is called {name!r}: choose from {', '.join(PARSERS)}")


def default_scores(parser: Parser) -> Mapping[str, str]:
    """Property -> the score that is used with this parser.

    With the embedded parser, too little hair counts as none (`scores.MIN_BLOCKS`); with the
    published one, scores are the published ones.
    """
    return getattr(parser, "scores", SECOND)


def parse(images: np.ndarray, parser: Parser, batch: int = BATCH) -> Parsed:
    """Images (N, H, W, 3) uint8 -> maps and faces, all in memory (200 kB per image)."""
    parts = [parser(images[at : at + batch]) for at in range(0, len(images), batch)]
    if not parts:
        raise ValueError("no images were given: nothing to parse")
    return Parsed(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def property_scores(
    images: np.ndarray,
    parser: Parser,
    which: Mapping[str, str] | None = None,
    batch: int = BATCH,
) -> pd.DataFrame:
    """Images (N, H, W, 3) uint8 -> raw scores `which` (or `default_scores`).

    One batch is in memory at a time: `images` may be a large memory-mapped array.
    """
    which = default_scores(parser) if which is None else which
    tables = [
        face_scores(parser(np.asarray(images[at : at + batch])), which)
        for at in range(0, len(images), batch)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(which))


def face_scores(parsed: Parsed, which: Mapping[str, str]) -> pd.DataFrame:
    """Raw scores, one row per image; NaN where no face was found."""
    table = score(parsed.maps, parsed.faces, which)
    table[~parsed.found] = np.nan
    return table


def without_specks(maps: np.ndarray) -> np.ndarray:
    """Keep the largest connected piece of each eye; the others become skin. Changes the maps.

    A small network takes a few pixels of a glasses' rim for eye. One such pixel below an eye would
    more than double its height; this happened on one face in a hundred.
    """
    for one in maps:
        for eye in (LEFT_EYE, RIGHT_EYE):
            x, y, width, height = cv2.boundingRect((one == eye).view(np.uint8))
            if not width:
                continue
            around = one[y : y + height, x : x + width]  # on the whole map this takes long
            seen = (around == eye).view(np.uint8)
            count, pieces, sizes, _ = cv2.connectedComponentsWithStats(seen)
            if count > 2:  # label 0 is everything else
                largest = 1 + sizes[1:, cv2.CC_STAT_AREA].argmax()
                around[(pieces > 0) & (pieces != largest)] = SKIN
    return maps


def shows_face(maps: np.ndarray) -> np.ndarray:
    """Class maps (N, H, W) -> (N,) bool: enough skin, and two of eyes, nose and mouth."""
    shares = class_pixels(maps) / maps[0].size
    features = np.stack([shares[:, list(classes)].sum(1) for classes in FEATURES])
    return (shares[:, SKIN] >= LEAST_SKIN) & ((features >= LEAST_FEATURE).sum(0) >= 2)


def class_pixels(maps: np.ndarray) -> np.ndarray:
    """Class maps (N, H, W) -> (N, 11) pixels per class."""
    classes = len(CLASS_NAMES)
    counted = [cv2.calcHist([one], [0], None, [classes], [0, classes]) for one in maps]
    return np.stack(counted).reshape(len(maps), classes).astype(np.int64)
