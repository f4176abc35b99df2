"""Contact sheets: order of the faces, gaps, labels, and that faces keep their pixels and fit."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ohlora_lib.plots.sheets import COLUMN, GAP, contact_sheet, density, labeled_sheet, tile


@pytest.fixture
def faces():
    return np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 8, 3), np.uint8)


def noise(count, size):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def drawn(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def places(picture, face):
    """Where the very pixels of a face are, (y, x)."""
    height, width, _ = face.shape
    windows = np.lib.stride_tricks.sliding_window_view(picture, (1, 4, 3))[..., 0, 0, :, :]
    corners = np.argwhere((windows == face[0, :4]).all((2, 3)))
    return [
        (y, x)
        for y, x in corners.tolist()
        if (picture[y : y + height, x : x + width] == face).all()
    ]


def test_faces_fill_rows_from_the_left_with_white_gaps(faces):
    sheet = tile(faces, columns=3, gap=2)
    assert sheet.shape == (6 + 2 + 6, 3 * 8 + 2 * 2, 3)
    assert sheet[3, 4::10, 0].tolist() == [0, 1, 2]
    assert sheet[11, 4::10, 0].tolist() == [3, 4, 255]
    assert (sheet[6:8] == 255).all() and (sheet[:, 8:10] == 255).all()


@pytest.mark.parametrize("size", [64, 128, 224, 256])
def test_no_sheet_is_wider_than_a_page_and_faces_are_shown_with_at_least_112_pixels(size):
    faces = noise(20, size)
    for figure in (contact_sheet(faces, 20), labeled_sheet(faces, 20)):
        assert figure.get_figwidth() * 72 <= COLUMN and figure.face == size
        assert len(figure.grid.reshape(-1, *faces.shape[1:])) >= 20
    assert size / density(size) >= min(size, 112)


@pytest.mark.parametrize("size", [128, 256])
def test_every_face_keeps_its_pixels_and_stands_below_its_labels(size):
    """Eight columns need two blocks; each block has all rows, and its own heads."""
    faces, heads = noise(16, size), [f"head {number}" for number in range(8)]
    figure = labeled_sheet(faces, 8, rows=["above", "below"], heads=heads)
    picture, scale = drawn(figure), figure.density
    at = [places(picture, face) for face in faces]
    assert all(len(found) == 1 for found in at)
    y, x = np.array(at)[:, 0].reshape(2, 8, 2).transpose(2, 0, 1)  # (row, column) each
    assert (y[:, :4] < y[:, 4:].min()).all(), "the first block is above the second"
    assert x[0].tolist() == [column % 4 * (size + GAP) for column in range(8)]
    texts = {
        text.get_text(): np.array(text.get_position()) * (1, -1) + (0, 1) for text in figure.texts
    }
    for number, head in enumerate(heads):
        left, top = texts[head] * picture.shape[1::-1]
        assert left == pytest.approx(x[0, number], abs=1) and top < y[0, number]
    assert [text.get_text() for text in figure.texts].count("below") == 2
    rows = [text for text in figure.texts if text.get_text() == "below"]
    bottom = (1 - rows[0].get_position()[1]) * picture.shape[0]
    assert y[0, 0] + size < bottom < y[1, 0] and y[1, 0] - bottom < 20 * scale


def test_incomplete_row_is_filled_with_white():
    picture = drawn(labeled_sheet(noise(3, 64) // 2, 2))
    assert picture.shape[:2] == (2 * 68, 132) and (picture[68:, 68:] == 255).all()
