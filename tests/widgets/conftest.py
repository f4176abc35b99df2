"""Small image sets, and a person who answers without a browser."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.store.images import ImageSet


@pytest.fixture
def image_set(tmp_path):
    """`image_set(count, seed)`: numbered noise of 8 × 8 pixels."""

    def image_set(count=10, seed=0, name="faces"):
        images = ImageSet(tmp_path / name)
        noise = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
        images.write(range(count), noise)
        images.finish(pd.DataFrame({"index": range(count)}))
        return images

    return image_set


@pytest.fixture
def ask():
    """Send a message to a widget as its view does."""
    return lambda widget, kind, **data: widget.answer({"kind": kind, "id": ["view", 0], **data})[0]
