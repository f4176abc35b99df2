"""What Labeler and Picker have in common: JavaScript asks, Python answers.

A message `{kind, id, ...}` is answered by the method `on_KIND` with `{id, ...}` and buffers. The
view asks for everything when it is drawn, so that a reloaded page shows what is saved. A problem
is one line in the widget, never a traceback.
"""

import anywidget
import traitlets

from ohlora_lib.plots.style import SERIES
from ohlora_lib.store import StoreError
from ohlora_lib.store.images import ImageSet
from ohlora_lib.widgets.parts import FOLDER, one_line


class AnswerWidget(anywidget.AnyWidget):
    """A widget that shows `images` and saves a person's answers about them."""

    _css = FOLDER / "answers.css"
    saved = traitlets.Int(0)  # saves so far; a notebook observes it to show results

    def __init__(self, images: ImageSet):
        super().__init__()
        self.images, self.problem = images, ""
        try:
            self.read_saved()
        except StoreError as error:
            self.problem = one_line(error)
        self.on_msg(lambda _, message, buffers: self._receive(message))

    def read_saved(self) -> None:
        """Read what is saved; a StoreError becomes `problem`, which the widget shows."""
        raise NotImplementedError

    def _receive(self, message: dict) -> None:
        reply, buffers = self.answer(message)
        self.send(reply, buffers)
        if message["kind"] == "save" and "error" not in reply:
            self.saved += 1

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
            reply = {"error": one_line(error)}
        return {"colors": SERIES, **reply, "id": message["id"]}, buffers
