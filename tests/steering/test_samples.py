"""Samples come out the same to the last bit, whatever interrupts or cuts the work."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering import samples as module
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.meters import CnnMeter, Reading, StandardizedMeter
from ohlora_lib.steering.samples import SampleConfig, read_sample, sample
from ohlora_lib.steering.sampling import BLOCK, Sampler, latents
from ohlora_lib.store import StoreError

COUNT = 3 * BLOCK + 7


class Brightness(NamedTuple):
    """A meter of two scores: the mean of all pixels and that of the red ones."""

    properties: tuple[str, ...] = ("eyes", "mouth")

    def __call__(self, images):
        return Reading(np.stack([images.mean((1, 2, 3)), images[..., 0].mean((1, 2))], 1))


@pytest.fixture(scope="module")
def sampler():
    config = GeneratorConfig(16, fmaps_base=128, fmaps_max=16, label_size=7, split_size=32)
    return Sampler(Generator(config, seed=1).eval())


@pytest.fixture(scope="module")
def whole(sampler, tmp_path_factory):
    layers = ("w", "mapping_split2")
    folder = tmp_path_factory.mktemp("whole")
    return sample(sampler, Brightness(), SampleConfig(COUNT, 5, layers, shards=1), folder)


def same(one, other):
    pd.testing.assert_frame_equal(one.scores, other.scores, check_exact=True)
    assert one.vectors.keys() == other.vectors.keys()
    assert np.array_equal(one.scene, other.scene)
    return all(np.array_equal(one.vectors[name], other.vectors[name]) for name in one.vectors)


@pytest.mark.parametrize("shards", [2, 3, 50])
def test_any_number_of_shards_gives_the_same_bits(sampler, whole, tmp_path, shards):
    config = SampleConfig(COUNT, 5, ("w", "mapping_split2"), shards)
    assert same(whole, sample(sampler, Brightness(), config, tmp_path))


@pytest.mark.parametrize("dies", ["in a shard", "while joining", "before the table"])
def test_killed_sampling_resumes_to_the_same_bits(sampler, whole, tmp_path, monkeypatch, dies):
    config = SampleConfig(COUNT, 5, ("w", "mapping_split2"), shards=3)
    where = {"in a shard": "_block", "while joining": "_parts", "before the table": "write_table"}
    real, calls = getattr(module, where[dies]), []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == (1 if dies == "before the table" else 3):
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, where[dies], dying)
    with pytest.raises(KeyboardInterrupt):
        sample(sampler, Brightness(), config, tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "scores.parquet").exists()
    assert same(whole, sample(sampler, Brightness(), config, tmp_path))
    assert not list(tmp_path.glob("shard_*")), "shards stay behind"


def test_finished_samples_are_read_and_not_drawn_again(sampler, whole, tmp_path, monkeypatch):
    config = SampleConfig(COUNT, 5, ("w", "mapping_split2"), shards=3)
    sample(sampler, Brightness(), config, tmp_path)
    monkeypatch.setattr(module, "_block", lambda *arguments: pytest.fail("drawn again"))
    assert same(whole, sample(sampler, Brightness(), config, tmp_path))
    assert isinstance(read_sample(tmp_path).vectors["w"], np.memmap)


def test_more_latents_of_a_seed_begin_with_the_fewer(sampler, whole, tmp_path):
    config = SampleConfig(2 * BLOCK + 1, 5, ("w",))
    few = sample(sampler, Brightness(), config, tmp_path)
    assert np.array_equal(few.vectors["w"], whole.vectors["w"][: 2 * BLOCK + 1])
    pd.testing.assert_frame_equal(few.scores, whole.scores[: 2 * BLOCK + 1])


def test_scores_are_of_the_images_of_the_kept_vectors(sampler, whole):
    rows = np.arange(BLOCK, 2 * BLOCK)
    images = sampler.images(whole.vectors["mapping_split2"][rows], "mapping_split2")
    drawn = Brightness()(images).scores
    assert np.allclose(whole.scores.loc[rows, ["eyes", "mouth"]], drawn, atol=0.05)
    assert whole.scores["eyes"].std() > 0.5, "the images differ"


def test_a_folder_of_another_plan_is_refused_by_name(sampler, tmp_path):
    sample(sampler, Brightness(), SampleConfig(5, 5), tmp_path)
    with pytest.raises(StoreError, match="another seed"):
        sample(sampler, Brightness(), SampleConfig(5, 6), tmp_path)
    other = Sampler(Generator(sampler.generator.config, seed=2).eval())
    with pytest.raises(StoreError, match="another generator"):
        sample(other, Brightness(), SampleConfig(5, 5), tmp_path)
    darkness = Brightness(properties=("mouth", "eyes"))
    with pytest.raises(StoreError, match="another meter"):
        sample(sampler, darkness, SampleConfig(5, 5), tmp_path)


def test_another_network_in_the_meter_is_refused_and_the_same_one_goes_on(sampler, tmp_path):
    def meter(seed, **settings):
        torch.manual_seed(seed)
        return CnnMeter(
            PropertyCNN(PropertyCNNConfig(resolution=16, padding=1, width=0.125)).eval(), **settings
        )

    def unit(meter, factor):
        size = len(meter.properties)
        return StandardizedMeter(meter, np.zeros(size), np.full(size, factor))

    first = unit(meter(1), 1.0)
    scores = sample(sampler, first, SampleConfig(5, 5), tmp_path).scores
    again = sample(sampler, unit(meter(1), 1.0), SampleConfig(5, 5), tmp_path).scores
    pd.testing.assert_frame_equal(scores, again)
    for other in (unit(meter(2), 1.0), unit(meter(1), 2.0), unit(meter(1, dropout_seed=3), 1.0)):
        with pytest.raises(StoreError, match="another meter"):
            sample(sampler, other, SampleConfig(5, 5), tmp_path)


def test_a_meter_of_an_unknown_kind_goes_on_with_its_own_sample(sampler, tmp_path):
    class Foreign:
        properties = ("eyes", "mouth")

        def __call__(self, images):
            return Brightness()(images)

    for _ in range(2):
        sample(sampler, Foreign(), SampleConfig(5, 5), tmp_path)


def test_plans_that_cannot_be_are_refused():
    with pytest.raises(VectorError, match="at least 1"):
        SampleConfig(0, 1)
    with pytest.raises(VectorError, match="choose from z, mapping_split1"):
        SampleConfig(5, 1, ("style",))


def test_a_latent_is_the_same_in_any_company():
    alone = latents(9, [BLOCK + 3], 512)
    assert np.array_equal(latents(9, [2, BLOCK + 3, 5 * BLOCK], 512)[1:2], alone)
    assert not np.array_equal(latents(8, [BLOCK + 3], 512), alone)
    many = latents(9, range(2000), 512)
    assert abs(many.mean()) < 0.005 and abs(many.std() - 1) < 0.005


def test_a_layer_that_this_generator_lacks_is_named():
    plain = Sampler(Generator(GeneratorConfig(16, fmaps_base=128, fmaps_max=16)).eval())
    with pytest.raises(VectorError, match="no mapping_split1"):
        plain.vectors(latents(0, [0], 512), "mapping_split1")
