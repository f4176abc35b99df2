"""What networks read is what people stored, at any size."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ohlora_lib.models.pixels import channels_first, resize_bicubic


@pytest.fixture
def pictures():
    noise = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    return np.stack([noise[0], cv2.GaussianBlur(noise[1], (0, 0), 4), noise[2] // 128 * 255])


@pytest.mark.parametrize("side", [64, 128, 224])
def test_bicubic_pictures_are_pillows_but_for_the_last_digit(pictures, side):
    how = Image.Resampling.BICUBIC
    wanted = np.stack([Image.fromarray(one).resize((side, side), how) for one in pictures])
    given = resize_bicubic(pictures, side)
    apart = np.abs(given.astype(int) - wanted)
    assert given.shape == wanted.shape and given.dtype == np.uint8
    assert apart.max() <= 2 and (apart > 0).mean() < 0.02


def test_channels_come_first_and_pictures_that_may_not_be_written_to_are_read(pictures):
    pictures.flags.writeable = False
    x = channels_first(pictures)
    assert x.shape == (3, 3, 128, 128) and x.dtype == torch.float32
    np.testing.assert_array_equal(x[1, 2], pictures[1, :, :, 2])


def test_other_pictures_are_refused_with_what_they_are():
    with pytest.raises(ValueError, match="uint8 RGB"):
        channels_first(np.zeros((1, 8, 8, 4), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        resize_bicubic(np.zeros((1, 8, 8, 3)), 16)
