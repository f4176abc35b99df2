"""A sampler maps latents to vectors and images; an edit enters only the requested layers."""

import numpy as np
import pytest

from ohlora_lib import checkpoints
from ohlora_lib.models.pixels import resize_bicubic
from ohlora_lib.models.stylegan import Generator, GeneratorConfig, with_resolution
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.sampling import LEAST_SIZE, Sampler, latents, load_sampler
from ohlora_lib.store import StoreError


@pytest.fixture(scope="module")
def sampler():
    config = GeneratorConfig(16, fmaps_base=128, fmaps_max=16, label_size=7, split_size=32)
    return Sampler(Generator(config, seed=1).eval())


@pytest.mark.parametrize("layer", ["z", "mapping_split1", "mapping_split2"])
def test_every_layer_leads_to_the_same_picture(sampler, layer):
    z = latents(0, range(3), 512)
    from_w = sampler.images(sampler.vectors(z))
    from_layer = sampler.images(sampler.vectors(z, layer), layer)
    assert np.abs(from_w.astype(int) - from_layer).max() <= 1


def test_an_edit_enters_only_the_layers_asked_for(sampler):
    w, other = (
        sampler.vectors(latents(0, range(2), 512)),
        sampler.vectors(latents(1, range(2), 512)),
    )
    whole, none = (sampler.images(vectors).astype(int) for vectors in (other, w))
    layers = sampler.generator.config.layers
    mixed = [
        sampler.images(other, unedited=w, styles=styles).astype(int)
        for styles in ((0, layers), (0, 0), (0, 2))
    ]
    assert np.abs(mixed[0] - whole).max() <= 1 and np.abs(mixed[1] - none).max() <= 1
    assert np.abs(mixed[2] - whole).max() > 5 and np.abs(mixed[2] - none).max() > 5


def test_a_label_changes_the_vectors_and_zeros_are_the_default(sampler):
    z = latents(0, range(2), 512)
    zeros, ones = np.zeros((2, 7), np.float32), np.ones((2, 7), np.float32)
    assert np.array_equal(sampler.vectors(z), sampler.vectors(z, "w", zeros))
    assert not np.allclose(sampler.vectors(z), sampler.vectors(z, "w", ones))


def test_no_latents_are_an_error(sampler):
    with pytest.raises(VectorError, match="nothing to generate"):
        sampler.vectors(np.zeros((0, 512), np.float32))


def test_a_sampler_is_loaded_by_name_or_file_and_nothing_but_a_generator(tmp_path, sampler):
    checkpoints.save(sampler.generator, tmp_path / "g.safetensors")
    again = load_sampler(tmp_path / "g.safetensors")
    w = sampler.vectors(latents(0, range(2), 512))
    assert np.array_equal(again.vectors(latents(0, range(2), 512)), w)
    assert load_sampler("original").generator.config.resolution == 256
    with pytest.raises(VectorError, match="holds a Annotator, not a generator"):
        load_sampler("annotator")
    with pytest.raises(StoreError, match="outside the repository"):
        load_sampler("../g.safetensors")


def test_the_checkpoints_lod_sets_the_size_that_meters_read_and_people_see_all_pixels(sampler):
    large = with_resolution(sampler.generator, 32, seed=3)  # draws as before by default: lod 1
    reading = Sampler(large)
    vectors = sampler.vectors(latents(0, range(2), 512))
    assert reading.size == 16 and reading.to_show.size == 32
    assert np.array_equal(reading.images(vectors), sampler.images(vectors))
    inside = {"unedited": vectors[[1, 0]], "styles": (0, 2)}
    assert np.array_equal(reading.images(vectors, **inside), sampler.images(vectors, **inside))
    shown = reading.to_show.images(vectors)
    assert shown.shape == (2, 32, 32, 3)
    assert np.array_equal(shown, Sampler(large, lod=0).images(vectors))
    assert not np.array_equal(shown[:, ::2, ::2], sampler.images(vectors))


def test_images_of_a_small_generator_are_enlarged_for_the_meters(tmp_path, sampler):
    checkpoints.save(sampler.generator, tmp_path / "g.safetensors")
    vectors = sampler.vectors(latents(0, range(2), 512))
    own, enlarged = (
        sampler.images(vectors),
        load_sampler(tmp_path / "g.safetensors").images(vectors),
    )
    assert own.shape[1] < LEAST_SIZE and enlarged.shape == (2, LEAST_SIZE, LEAST_SIZE, 3)
    back = resize_bicubic(enlarged, own.shape[1]).astype(int)
    assert np.corrcoef(back.ravel(), own.ravel())[0, 1] > 0.95
