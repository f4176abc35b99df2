"""What Labeler and Picker have in common: JavaScript asks, Python answers.

A message `{kind, id, ...}` is answered by the method `on_KIND` with `{id, ...}` and buffers. The
view asks for everything when it is drawn, so that a reloaded page shows what is saved. A problem
is one line in the widget, never a traceback.
"""

from pathlib import Path

import anywidget

from ohlora_lib.plots.style import SERIES
from ohlora_lib.store import StoreError
from ohlora_lib.store.images import ImageSet

HERE = Path(__file__).parent


def module(name: str) -> str:
    """The ES module of a widget: `answers.js`, which all share, and its own."""
    return (HERE / "answers.js").read_text() + (HERE / f"{name}.js").read_text()


class AnswerWidget(anywidget.AnyWidget):
    """A widget that shows `images` and saves a person's answers about them."""

    _css = HERE / "answers.css"

    def __init__(self, images: ImageSet):
        super().__init__()
        self.images, self.problem = images, ""
        try:
            self.read_saved()
        except StoreError as error:
            self.problem = " ".join(str(error).split())
        self.on_msg(lambda _, message, buffers: self.send(*self.answer(message)))

    def read_saved(self) -> None:
        """Read what is saved; a StoreError becomes `problem`, which the widget shows."""
        raise NotImplementedError

    def answer(self, message: dict) -> tuple[dict, list[bytes]]:
        """The reply to a message of the view, with its buffers."""
        buffers: list[bytes] = []
        try:
            if self.problem:
                raise StoreError(self.problem)
            if message["kind"] == "images":
                reply = {}
                buffers = [self.images.encoded(number) for number in message["numbers"]]
            else:
                reply = getattr(self, f"on_{message['kind']}")(message)
        except StoreError as error:
            reply = {"error": " ".join(str(error).split())}
        return {"colors": SERIES, **reply, "id": message["id"]}, buffers
