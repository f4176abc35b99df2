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
FAILING = "raise ValueError('this cell fails')"


@pytest.fixture
def opened(lab, open_notebook):
    def opened(source):
        lab.write("notebooks/made.ipynb", source)
        return open_notebook("notebooks/made.ipynb")

    return opened


def test_a_widget_answers_from_the_kernel_and_a_killed_kernel_comes_back(opened, lab):
    notebook = opened(COUNTER)
    notebook.run_all()
    button = notebook.find("#counter")
    assert button.text == "3"
    button.click()
    notebook.wait(lambda _: button.text == "6")
    before = lab.kernels()
    lab.kill_kernels()
    notebook.recover()
    assert lab.kernels() not in ([], before)
    notebook.run_all()
    notebook.wait(lambda _: notebook.find("#counter").text == "3")


def test_the_error_of_a_cell_is_raised(opened):
    with pytest.raises(RuntimeError, match="this cell fails"):
        opened(FAILING).run_all()
