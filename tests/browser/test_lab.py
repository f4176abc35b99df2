"""The harness itself: widgets answer, errors of cells are seen, killed kernels come back."""

import pytest

COUNTER = """
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    _esm = '''export default { render({ model, el }) {
      const button = document.createElement("button")
      button.id = "counter"
      button.onclick = () => model.send("more")
      const show = () => { button.textContent = model.get("count") }
      model.on("change:count", show)
      show()
      el.append(button)
    } }'''
    count = traitlets.Int(3).tag(sync=True)

    def __init__(self):
        super().__init__()
        self.on_msg(lambda _, message, buffers: self.set_trait("count", 2 * self.count))

Counter()
"""
FAILING = """
from pathlib import Path
assert not Path("fail").exists(), "this cell fails"
"""


def test_widgets_answer_killed_kernels_come_back_and_errors_are_raised(lab, open_notebook):
    lab.write("notebooks/made.ipynb", COUNTER, FAILING)
    notebook = open_notebook("notebooks/made.ipynb")
    notebook.run_all()
    assert notebook.text("#counter") == "3"
    notebook.click("#counter")
    notebook.wait(lambda _: notebook.text("#counter") == "6")
    before = lab.kernels()
    lab.kill_kernels()
    notebook.recover()
    assert lab.kernels() not in ([], before)
    (lab.folder / "notebooks" / "fail").touch()
    with pytest.raises(RuntimeError, match="this cell fails"):
        notebook.run_all()
    assert notebook.text("#counter") == "3"
