"""Contact sheets: order of the faces, gaps, labels beside their rows and above their columns."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ohlora_lib.plots.sheets import contact_sheet, labeled_sheet, paste


@pytest.fixture
def faces():
    return np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 8, 3), np.uint8)


def test_faces_fill_rows_from_the_left_with_white_gaps(faces):
    sheet = contact_sheet(faces, columns=3, gap=2)
    assert sheet.shape == (6 + 2 + 6, 3 * 8 + 2 * 2, 3)
    assert sheet[3, 4::10, 0].tolist() == [0, 1, 2]
    assert sheet[11, 4::10, 0].tolist() == [3, 4, 255]
    assert (sheet[6:8] == 255).all() and (sheet[:, 8:10] == 255).all()


def test_labels_stand_at_the_middle_of_their_rows_and_columns(faces):
    figure = labeled_sheet(faces[:4], 2, rows=["a", "b"], heads=["left", "right"])
    axes = figure.axes[0]
    assert axes.get_xticks().tolist() == [4, 16] and axes.get_yticks().tolist() == [3, 13]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["left", "right"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    pyplot.close(figure)


def test_a_pasted_image_is_upright():
    image = np.zeros((20, 20, 3), np.uint8)
    image[:10, :10] = [255, 0, 0]  # red at the top left
    image[10:, 10:] = [0, 0, 255]  # blue at the bottom right
    figure = pyplot.figure(figsize=(1, 1), dpi=80, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    paste(axes, image)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    seen = np.asarray(canvas.buffer_rgba())[..., :3]
    assert seen[15, 15].tolist() == [255, 0, 0] and seen[65, 65].tolist() == [0, 0, 255]
    assert seen[15, 65].tolist() == [0, 0, 0]
    pyplot.close(figure)
