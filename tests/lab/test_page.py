"""Tables, pictures and the sentinel as a page needs them."""

import io

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from ohlora_lib.lab import figures, report
from ohlora_lib.lab.page import markdown_table


def lines(table):
    return markdown_table(table).splitlines()


def test_table_shows_numbers_readably_and_no_row_numbers():
    table = pd.DataFrame({"n": [15000, 2], "corr": [0.92345, -1.0], "who": ["a|b", "c"]})
    header, rule, first, second = lines(table)
    assert [cell.strip() for cell in header.split("|")[1:-1]] == ["n", "corr", "who"]
    assert rule.count("-:") == 2, "numbers stand to the right"
    assert "15,000" in first and "0.923" in first and r"a\|b" in first and "-1.000" in second


def test_table_keeps_a_named_index():
    table = pd.DataFrame({"n": [1]}, index=pd.Index(["eyes"], name="property"))
    assert lines(table)[0].split("|")[1].strip() == "property" and "eyes" in lines(table)[2]


def test_same_figure_gives_the_same_bytes_without_date_or_version():
    def draw():
        figure, axes = pyplot.subplots()
        axes.plot([1, 3, 2])
        content, _ = figures.png(figure)
        pyplot.close(figure)
        return content

    first = draw()
    assert first == draw()
    assert not Image.open(io.BytesIO(first)).info.keys() & {"Software", "Creation Time", "date"}


def test_small_picture_keeps_its_very_pixels_and_large_one_becomes_small():
    small = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    content, width = figures.png(small)
    assert width == 30 and np.array_equal(np.asarray(Image.open(io.BytesIO(content))), small)
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    content, width = figures.png(noise)
    assert len(content) <= figures.LIMIT and width == 860


def test_contact_sheet_lays_out_rows_and_leaves_the_rest_white():
    images = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (10, 20, 30)])
    sheet = figures.contact_sheet(images, columns=2, gap=1)
    assert sheet.shape == (9, 9, 3)
    assert sheet[0, 0, 0] == 10 and sheet[0, 5, 0] == 20 and sheet[5, 0, 0] == 30
    assert (sheet[4] == 255).all() and (sheet[5:, 5:] == 255).all()


def sentinel():
    note = {"ohlora": {"end": {"peak_mb": 1}}}
    return new_output("display_data", {"text/plain": "end"}, metadata=note)


@pytest.mark.parametrize(
    ("outputs", "finished"),
    [([[], [sentinel()]], True), ([[sentinel()], []], False), ([[], []], False)],
    ids=["at the end", "earlier", "nowhere"],
)
def test_only_a_sentinel_in_the_last_cell_counts(outputs, finished):
    cells = [new_code_cell("x", outputs=one) for one in outputs]
    assert report.is_finished(new_notebook(cells=cells)) is finished


def test_stripping_drops_what_differs_between_runs_and_keeps_the_rest():
    def run(time, number, memory):
        cell = new_code_cell("1 + 1", execution_count=number)
        cell.metadata = nbformat.from_dict({"papermill": {"duration": time}, "tags": ["kept"]})
        note = {"ohlora": {"end": {"peak_mb": memory}}}
        cell.outputs = [
            new_output("execute_result", {"text/plain": "2"}, execution_count=number),
            new_output("stream", name="stderr", text=f"took {time} s"),
            new_output("display_data", {"text/plain": "end"}, metadata=note),
        ]
        return report.strip(new_notebook(cells=[cell], metadata={"papermill": {"start": time}}))

    first, second = run(1.5, 3, 100), run(2.5, 7, 200)
    assert nbformat.writes(first) == nbformat.writes(second)
    assert first.cells[0].outputs[0].data["text/plain"] == "2"
    assert first.cells[0].metadata.tags == ["kept"]
