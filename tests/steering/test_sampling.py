"""A studio draws what it is given, and lets an edit into the layers asked for alone."""

import numpy as np
import pytest

from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.sampling import Studio, latents


@pytest.fixture(scope="module")
def studio():
    config = GeneratorConfig(16, fmaps_base=128, fmaps_max=16, label_size=7, split_size=32)
    return Studio(Generator(config, seed=1).eval())


@pytest.mark.parametrize("layer", ["z", "mapping_split1", "mapping_split2"])
def test_every_layer_leads_to_the_same_picture(studio, layer):
    z = latents(0, range(3))
    from_w = studio.images(studio.vectors(z))
    from_layer = studio.images(studio.vectors(z, layer), layer)
    assert np.abs(from_w.astype(int) - from_layer).max() <= 1


def test_an_edit_enters_only_the_layers_asked_for(studio):
    w, other = studio.vectors(latents(0, range(2))), studio.vectors(latents(1, range(2)))
    whole, none = (studio.images(vectors).astype(int) for vectors in (other, w))
    layers = studio.generator.config.layers
    mixed = [
        studio.images(other, unedited=w, styles=styles).astype(int)
        for styles in ((0, layers), (0, 0), (0, 2))
    ]
    assert np.abs(mixed[0] - whole).max() <= 1 and np.abs(mixed[1] - none).max() <= 1
    assert np.abs(mixed[2] - whole).max() > 5 and np.abs(mixed[2] - none).max() > 5


def test_a_label_changes_the_vectors_and_zeros_are_the_default(studio):
    z = latents(0, range(2))
    zeros, ones = np.zeros((2, 7), np.float32), np.ones((2, 7), np.float32)
    assert np.array_equal(studio.vectors(z), studio.vectors(z, "w", zeros))
    assert not np.allclose(studio.vectors(z), studio.vectors(z, "w", ones))


def test_nothing_to_draw_is_told(studio):
    with pytest.raises(VectorError, match="nothing to draw"):
        studio.vectors(np.zeros((0, 512), np.float32))
