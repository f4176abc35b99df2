"""Image sets: uint8 images of one size as numbered files, and one table."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ohlora_lib.store import StoreError
from ohlora_lib.store.atomic import read_bytes, write_bytes
from ohlora_lib.store.tables import read_table, write_table

TABLE = "table.parquet"
PER_FOLDER = 1000
JPEG_QUALITY = 95  # as the published images; OpenCV's default


@dataclass(frozen=True)
class ImageSet:
    """A folder of numbered images: `000/000000.png`, … and `table.parquet`, one row each.

    The table is written last and has a column `index`: a set without it is incomplete.
    """

    folder: Path
    suffix: str = ".png"

    def path(self, index: int) -> Path:
        """The file of image `index`."""
        name = f"{index:06d}{self.suffix}"
        return self.folder / f"{index // PER_FOLDER:03d}" / name

    def paths(self, indices: Sequence[int]) -> list[Path]:
        """The files of these images."""
        return [self.path(index) for index in indices]

    def write(self, indices: Sequence[int], images: np.ndarray) -> None:
        """Write images (N, H, W) gray or (N, H, W, 3) RGB, uint8, each file atomically."""
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise StoreError(
                f"{self.folder}: images must be uint8 (N, H, W[, 3]), not {images.dtype} "
                f"{images.shape}"
            )
        if len(indices) != len(images):
            raise StoreError(f"{self.folder}: {len(indices)} indices for {len(images)} images")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._write_one, indices, images))

    def finish(self, table: pd.DataFrame) -> None:
        """Write the table that completes the set; it has one row per image."""
        if "index" not in table.columns:
            raise StoreError(f"{self.folder}: the table needs a column 'index'")
        missing = next((i for i in table["index"] if not self.path(i).exists()), None)
        if missing is not None:
            raise StoreError(f"{self.path(missing)} is missing: the set is incomplete")
        write_table(table, self.folder / TABLE)

    @property
    def is_complete(self) -> bool:
        """Whether the set has been finished."""
        return (self.folder / TABLE).exists()

    @property
    def table(self) -> pd.DataFrame:
        """The set's table."""
        return read_table(self.folder / TABLE, ["index"])

    def read(self, indices: Sequence[int] | None = None) -> np.ndarray:
        """Read images into one array (N, H, W, 3), or (N, H, W) if they are gray."""
        wanted = self.table["index"].tolist() if indices is None else list(indices)
        if not wanted:
            raise StoreError(f"{self.folder}: no indices given")
        first = self._read_one(wanted[0])
        images = np.empty((len(wanted), *first.shape), np.uint8)

        def place(at: int) -> None:
            image = self._read_one(wanted[at])
            if image.shape != first.shape:
                raise StoreError(
                    f"{self.path(wanted[at])} is {image.shape}, other images are {first.shape}"
                )
            images[at] = image

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(place, range(len(wanted))))
        return images

    def encoded(self, index: int) -> bytes:
        """The bytes of one image's file."""
        path = self.path(index)
        try:
            return read_bytes(path)
        except FileNotFoundError:
            raise StoreError(f"{path} is missing: create the image set again") from None

    def _write_one(self, index: int, image: np.ndarray) -> None:
        pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if self.suffix == ".jpg" else []
        written, encoded = cv2.imencode(self.suffix, pixels, options)
        if not written:
            raise StoreError(f"{self.path(index)}: cannot be encoded as {self.suffix}")
        write_bytes(self.path(index), encoded.tobytes())

    def _read_one(self, index: int) -> np.ndarray:
        content = np.frombuffer(self.encoded(index), np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
        if image is None:
            raise StoreError(
                f"{self.path(index)} cannot be read as an image: create the image set again"
            )
        return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
