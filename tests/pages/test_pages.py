"""Tables, pictures and the sentinel as a page needs them."""

import base64
import io
import json
from hashlib import sha256
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ohlora_lib.pages import figures, report
from ohlora_lib.pages import notebook as page
from ohlora_lib.pages.notebook import markdown_table
from ohlora_lib.plots import sheets
from ohlora_lib.plots.style import DPI

SOURCE = report.Source("demo", "01_make", "smoke", "notebooks/make.ipynb")


def lines(table):
    return markdown_table(table).splitlines()


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" |")]


def column(*values):
    return [cells(line)[0] for line in lines(pd.DataFrame({"x": list(values)}))[2:]]


def test_table_shows_numbers_readably_and_no_row_numbers():
    table = pd.DataFrame({"n": [15000, 2], "corr": [0.92345, -1.0], "who": ["a|b", "c"]})
    header, rule, first, second = lines(table)
    assert [cell.strip() for cell in header.split("|")[1:-1]] == ["n", "corr", "who"]
    assert rule.count("-:") == 2, "numbers stand to the right"
    assert "15,000" in first and "0.923" in first and r"a\|b" in first and "-1.000" in second


def test_table_keeps_a_named_index():
    table = pd.DataFrame({"n": [1]}, index=pd.Index(["eyes"], name="property"))
    assert lines(table)[0].split("|")[1].strip() == "property" and "eyes" in lines(table)[2]


def test_truth_values_are_words_and_missing_ones_a_dash():
    assert column(True, False) == ["yes", "no"]
    assert column(True, None, float("nan"), pd.NA) == ["yes", "–", "–", "–"]


def test_small_numbers_do_not_vanish_and_zero_has_no_sign():
    shown_text = column(3e-4, 1e-6, -0.0001, 0.001, -0.0, 2500.4)
    assert shown_text == ["3.0e-04", "1.0e-06", "-1.0e-04", "0.001", "0.000", "2,500"]


def test_line_breaks_and_bars_do_not_break_a_table():
    table = pd.DataFrame({"a|b\nc": ["x\ny", r"p|q\|r"]})
    header, _, first, second = lines(table)
    assert cells(header) == [r"a\|b c"] and cells(first) == ["x y"]
    assert cells(second) == [r"p\|q\|r"]


def test_table_joins_composed_columns_and_keeps_an_index_named_like_a_column():
    composed = pd.MultiIndex.from_tuples([("eyes", "mean"), ("eyes", "sd"), ("n", "")])
    table = pd.DataFrame([[0.5, 0.1, 3]], columns=composed)
    assert cells(lines(table)[0]) == ["eyes · mean", "eyes · sd", "n"]
    table = pd.DataFrame({"eyes": [1]}, index=pd.Index(["all"], name="eyes"))
    assert cells(lines(table)[0]) == ["eyes", "eyes"] and cells(lines(table)[2]) == ["all", "1"]


def test_row_numbers_left_by_sorting_are_no_column_but_words_and_named_numbers_are():
    assert len(cells(lines(pd.DataFrame({"n": [1, 2]}, index=[7, 3]))[0])) == 1
    assert cells(lines(pd.DataFrame({"n": [1]}, index=["women"]))[2]) == ["women", "1"]
    named = pd.Index([7], name="seed")
    assert cells(lines(pd.DataFrame({"n": [1]}, index=named))[2]) == ["7", "1"]


def test_table_that_is_too_wide_is_divided_and_each_part_has_the_index():
    names = [f"a_rather_long_name_{number}" for number in range(12)]
    table = pd.DataFrame([range(12)], index=pd.Index(["svm"], name="method"), columns=names)
    parts = [part.splitlines() for part in markdown_table(table).split("\n\n")]
    assert len(parts) > 2 and all(cells(part[0])[0] == "method" for part in parts)
    assert [name for part in parts for name in cells(part[0])[1:]] == names
    assert [cells(part[2])[0] for part in parts] == ["svm"] * len(parts)


NAMESPACE = {"__annotations__": {"out": str, "seed": int}, "out": "data/x", "seed": 1}


@pytest.fixture
def shown(monkeypatch):
    """What the page has displayed since start(): (data, metadata) each."""
    shown_text = []
    monkeypatch.setattr(page, "claim", lambda out, given: out)
    monkeypatch.setattr(
        page, "display", lambda data, metadata, raw: shown_text.append((data, metadata))
    )
    page.start(NAMESPACE)
    return shown_text


PICTURE = np.zeros((2, 2, 3), np.uint8)


def test_series_is_shown_as_a_table(shown, monkeypatch):
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    monkeypatch.setattr(page, "get_ipython", lambda: shell)
    page.start(NAMESPACE)
    series = pd.Series([2], index=["women"], name="n")
    shown_text = shell.display_formatter.formatters["text/markdown"](series)
    assert shown_text == markdown_table(series.to_frame())


def test_second_picture_under_one_name_is_refused_until_the_page_is_started_again(shown):
    page.show(PICTURE, "line", "A line", "Line")
    with pytest.raises(ValueError, match="already has a picture 'line'"):
        page.show(PICTURE, "line", "Another", "Other")
    page.start(NAMESPACE)
    page.show(PICTURE, "line", "A line", "Line")


def test_cell_that_is_run_again_in_jupyterlab_may_show_its_picture_again(shown, monkeypatch):
    def in_cell(name):
        parent = {"metadata": {"cellId": name}}
        monkeypatch.setattr(page, "get_ipython", lambda: SimpleNamespace(get_parent=lambda: parent))
        page.show(PICTURE, "line", "A line", "Line")

    in_cell("a")
    in_cell("a")
    with pytest.raises(ValueError, match="already has"):
        in_cell("b")


@pytest.mark.parametrize("name", ["", "a b", "../a", "a.png", "a\n"])
def test_picture_name_that_is_no_file_name_is_refused(shown, name):
    with pytest.raises(ValueError, match="use letters, digits"):
        page.show(PICTURE, name, "A line", "Line")


@pytest.mark.parametrize("system, unit", [("linux", 1024), ("darwin", 1)])
def test_memory_is_told_in_the_unit_of_the_system(monkeypatch, system, unit):
    used = SimpleNamespace(ru_maxrss=300 * 2**20 // unit)
    monkeypatch.setattr(page.sys, "platform", system)
    monkeypatch.setattr(page.resource, "getrusage", lambda who: used)
    monkeypatch.setattr(page, "_peak_kb", lambda process: 0)  # as where there is no /proc
    assert page.peak_mb() == 300


def test_finding_fits_into_the_tables_of_the_index(shown):
    page.finding("One\n| two", {"a\nb": "3 | 4"}, "")
    shown_text = shown[-1][1]["ohlora"]["finding"]
    assert shown_text["sentence"] == r"One \| two" and shown_text["headline"] == [
        ("a b", r"3 \| 4")
    ]


def opened(content):
    """The pixels of an encoded picture."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_chart_is_the_same_bytes_each_time_and_loses_nothing():
    def draw():
        figure, axes = pyplot.subplots()
        axes.plot([1, 3, 2])
        content, width = figures.webp(figure)
        pixels = np.asarray(figures._drawn(figure, DPI))
        pyplot.close(figure)
        assert np.array_equal(opened(content), pixels) and width == pixels.shape[1] * 72 // DPI
        return content

    assert draw() == draw()


def test_faces_keep_their_size_and_their_colors():
    """Smooth faces with fine lines: more colors than a palette has."""
    y, x = np.mgrid[:128, :128]
    face = np.stack([x + y, 255 - x, 40 + y], -1).clip(0, 255).astype(np.uint8)
    face[60:64, 30:100] = 30
    for many in (4, 50):
        figure = sheets.labeled_sheet(np.repeat(face[None], many, 0), 4)
        content, width = figures.webp(figure)
        found = opened(content)
        assert width == found.shape[1] == 4 * 132 - 4 and len(content) <= figures.LIMIT
        error = found[:128, :128] - face
        assert np.sqrt((error**2).mean()) < 4 and len(np.unique(found.reshape(-1, 3), axis=0)) > 300


def test_picture_that_hardly_compresses_still_is_small():
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    content, width = figures.webp(noise)
    assert len(content) <= figures.LIMIT and width == sheets.COLUMN
    assert opened(content).shape == noise.shape


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


def notebook(*outputs):
    return new_notebook(cells=[new_code_cell("first"), new_code_cell("x", outputs=list(outputs))])


def shows(data, note=None):
    return new_output("display_data", data, metadata={"ohlora": note} if note else {})


def picture(content=b"red", name="line", **words):
    note = {"name": name, "alt": "A line", "title": "Line", "width": 9, **words}
    data = {page.WEBP: base64.b64encode(content).decode(), "text/plain": "A line"}
    return shows(data, {"figure": note})


def text_of(*outputs):
    page = report.render(notebook(*outputs), SOURCE).markdown()
    return page.split("<!-- links end -->")[1].split("---\n\n**How")[0]


def test_long_printout_keeps_its_two_ends():
    def printed(n):
        text = "".join(f"line {k}\n" for k in range(n))
        return text_of(new_output("stream", name="stdout", text=text)).strip().split("\n")[1:-1]

    assert printed(40) == [f"line {k}" for k in range(40)]
    shown_text = printed(1041)
    assert len(shown_text) == 41 and shown_text[20] == "… 1,001 lines omitted …"
    assert (
        shown_text[19] == "line 19"
        and shown_text[21] == "line 1021"
        and shown_text[-1] == "line 1040"
    )


def test_backticks_in_a_printout_do_not_end_its_block():
    shown_text = text_of(new_output("stream", name="stdout", text="a\n````\nb"))
    assert shown_text.strip() == "`````text\na\n````\nb\n`````"


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        ({"image/png": "AAAA", "text/plain": "<Figure size 9x9>"}, r"use show\(\)"),
        ({"text/plain": "[<Line2D at 0x7f12ab>]"}, "print something else"),
    ],
    ids=["picture without words", "address"],
)
def test_output_that_no_page_can_carry_is_refused_with_its_cell(data, advice):
    with pytest.raises(report.PageError, match=f"make.ipynb, cell 1: .*{advice}"):
        text_of(shows(data))


def test_widget_is_dropped():
    data = {report.WIDGET: {"model_id": "a"}, "text/plain": "<Slider at 0x7f12ab>"}
    assert text_of(shows(data)).strip() == ""


def test_words_of_a_picture_are_escaped():
    shown_text = text_of(picture(alt='"<b>" & more', title="a 'b'"))
    assert 'alt="&quot;&lt;b&gt;&quot; &amp; more" title="a &#x27;b&#x27;"' in shown_text


def test_finding_must_name_a_picture_of_the_page():
    def found(name):
        note = {"finding": {"sentence": "s", "headline": [], "picture": name}}
        made = notebook(picture(), shows({"text/markdown": "> s"}, note))
        return report.render(made, SOURCE).record["finding"]["picture"]

    assert found("line") == "line" and found("") == ""
    with pytest.raises(report.PageError, match=r"'lime' is not on the page: .*\(line\)"):
        found("lime")


def test_numbers_after_the_listed_ones_are_folded_away(shown):
    page.finding("So.", {"a": "1", "b": "2", "c": "3"}, "", listed=1, more="All")
    text = shown[-1][0]["text/markdown"]
    listed, folded = text.split("<details><summary>All</summary>")
    assert "- a: **1**" in listed and "- b: **2**" in folded and "- c: **3**" in folded
    assert len(shown[-1][1]["ohlora"]["finding"]["headline"]) == 3


def test_a_table_can_stand_for_the_numbers_that_are_not_listed(shown):
    table = pd.DataFrame({"b": ["2"]}, index=pd.Index(["here"], name="row"))
    page.finding("So.", {"a": "1", "b": "2"}, "", listed=1, table=table)
    text, note = shown[-1][0]["text/markdown"], shown[-1][1]["ohlora"]["finding"]
    assert "- a: **1**" in text and "- b:" not in text and "\n> | here  | 2   |" in text
    assert [name for name, _ in note["headline"]] == ["a", "b"]


def test_texts_and_tables_are_folded_under_a_title(shown):
    page.fold("More", "Some words.", pd.DataFrame({"n": [1]}), "")
    lines = shown[-1][0]["text/markdown"].split("\n\n")
    assert lines[:2] == ["<details><summary>More</summary>", "Some words."]
    assert lines[2].startswith("|   n |") and lines[3:] == ["</details>"]


def test_parts_of_a_wide_table_leave_out_rows_without_a_value():
    wide = {f"column {n} {'x' * 30}": ["1", None if n > 1 else "2"] for n in range(6)}
    first, *others = page.markdown_table(pd.DataFrame(wide, ["here", "there"])).split("\n\n")
    assert "there" in first and others and all("there" not in part for part in others)


def test_page_opens_with_its_system_stage_and_scale_then_question_result_and_limitation(shown):
    page.finding("It is 3.", {"n": "4"}, "", limitation="Only one | was tried.")
    found = shows({"text/markdown": shown[-1][0]["text/markdown"]}, shown[-1][1]["ohlora"])
    made = new_notebook(
        cells=[
            new_markdown_cell("# 01 · How many?\n\nSome words first."),
            new_code_cell("x", outputs=[found]),
        ]
    )
    source = report.Source("demo", "01_make", "smoke", "notebooks/make.ipynb", "Demo", ("a/b.csv",))
    text = report.render(made, source).markdown()
    parts = ["# Demo · 01_make · smoke scale\n", "**How many?**\n", "> **It is 3.**\n",
             "> - n: **4**\n", "> **Limitation:** Only one \\| was tried.\n", "Some words first.\n",
             "**Download:** [b.csv](../a/b.csv).\n"]  # fmt: skip
    places = [text.index(part) for part in parts]
    assert places == sorted(places) and text.count("How many?") == 1
    assert text.count("<!-- links end -->") == 2


def publish(content, with_code=False):
    rendered = report.render(notebook(picture(content)), SOURCE)
    return report.publish(rendered, SOURCE, with_code).parent


def test_record_names_the_file_of_each_picture_and_lost_ones_go(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "REPORTS", tmp_path)
    for content in (b"red", b"blue"):
        folder = publish(content)
        file = f"figures/01_make/line-{sha256(content).hexdigest()[:8]}.webp"
        record = json.loads((folder / "01_make.json").read_text())
        assert record["figures"] == {"line": {"alt": "A line", "file": file, "width": 9}}
        assert [path.read_bytes() for path in folder.rglob("*.webp")] == [content]
        assert f'src="{file}"' in (folder / "01_make.md").read_text()


def test_page_killed_before_it_is_written_leaves_the_older_one_whole(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "REPORTS", tmp_path)
    folder = publish(b"red")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(report, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(b"blue")
    assert {path: path.read_bytes() for path in before} == before


def test_page_with_code_is_there_only_after_a_run_that_asked_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "REPORTS", tmp_path)
    shown_text = publish(b"red", with_code=True) / "01_make.with_code.md"
    assert "```python\nfirst\n```" in shown_text.read_text()
    assert "```python" not in (shown_text.parent / "01_make.md").read_text()
    publish(b"red")
    assert not shown_text.exists()


def test_page_without_pictures_needs_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "REPORTS", tmp_path)
    rendered = report.render(notebook(), SOURCE)
    assert report.publish(rendered, SOURCE, with_code=False).exists()
