"""Image sets: what is written comes back, what is missing is named."""

import cv2
import numpy as np
import pandas as pd
import pytest

from ohlora_lib.store import StoreError
from ohlora_lib.store.images import ImageSet

RNG = np.random.default_rng(3)
COLOR = RNG.integers(0, 256, (5, 16, 12, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 11, (5, 16, 16), dtype=np.uint8)


def finished(folder, images, suffix=".png", start=0):
    images_on_disk = ImageSet(folder, suffix)
    indices = range(start, start + len(images))
    images_on_disk.write(indices, images)
    images_on_disk.finish(pd.DataFrame({"index": indices}))
    return images_on_disk


@pytest.mark.parametrize("images", [COLOR, GRAY], ids=["color", "class maps"])
def test_png_set_gives_back_the_very_pixels_in_the_tables_order(tmp_path, images):
    stored = finished(tmp_path, images, start=998)  # across a folder's border
    assert np.array_equal(stored.read(), images)
    assert np.array_equal(stored.read([1001, 998]), images[[3, 0]])
    assert stored.path(1001) == tmp_path / "001" / "001001.png"


def test_jpeg_set_keeps_channel_order_and_nearly_the_pixels(tmp_path):
    flat = np.full((2, 32, 32, 3), (200, 60, 20), np.uint8)
    assert np.abs(finished(tmp_path, flat, ".jpg").read().astype(int) - flat).max() <= 4


def test_set_without_its_table_is_not_finished(tmp_path):
    ImageSet(tmp_path).write(range(5), COLOR)
    with pytest.raises(StoreError, match=r"table\.parquet is missing"):
        ImageSet(tmp_path).read()
    with pytest.raises(StoreError, match=r"000005\.png is missing"):
        ImageSet(tmp_path).finish(pd.DataFrame({"index": range(6)}))


def test_missing_damaged_and_odd_pictures_are_named(tmp_path):
    stored = finished(tmp_path, COLOR)
    for damage in (b"not a picture", b""):
        stored.path(2).write_bytes(damage)
        with pytest.raises(StoreError, match=r"000002\.png cannot be read as an image"):
            stored.read()
    stored.path(2).unlink()
    with pytest.raises(StoreError, match=r"000002\.png is missing"):
        stored.read()
    stored.write([2], COLOR[:1, :8])
    with pytest.raises(StoreError, match=r"000002\.png is \(8, 12, 3\), other images are"):
        stored.read()


def test_numbers_and_pictures_must_be_as_many(tmp_path):
    with pytest.raises(StoreError, match="1 indices for 5 images"):
        ImageSet(tmp_path).write([0], COLOR)


def test_floats_are_refused(tmp_path):
    with pytest.raises(StoreError, match="uint8"):
        ImageSet(tmp_path).write([0], COLOR[:1] / 255)


def test_jpeg_files_have_quality_95_as_the_published_ones(tmp_path):
    stored = finished(tmp_path, COLOR, ".jpg")
    bgr = np.ascontiguousarray(COLOR[2][..., ::-1])
    wanted = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert stored.path(2).read_bytes() == wanted
