"""Samples come out the same to the last bit, whatever interrupts or cuts the work."""

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.measure.parse import Parsed
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering import samples as module
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.meters import CnnMeter, Reading, StandardizedMeter
from ohlora_lib.steering.samples import (
    RAW_SCORES,
    read_sample,
    sample_faces,
    sample_latents,
)
from ohlora_lib.steering.sampling import BLOCK, Sampler, latents

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


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(module, "workers", lambda device: nullcontext())


LAYER = "mapping_split2"


def taken(sampler, folder, count=COUNT, seed=5, layer=LAYER, meter=None):
    return sample_latents(sampler, meter or Brightness(), folder, seed, count, layer)


@pytest.fixture(scope="module")
def whole(sampler, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "workers", lambda device: nullcontext())
        return taken(sampler, tmp_path_factory.mktemp("whole"))


def same(one, other):
    pd.testing.assert_frame_equal(one.scores, other.scores, check_exact=True)
    return np.array_equal(one.scene, other.scene) and np.array_equal(one.vectors, other.vectors)


@pytest.mark.parametrize("blocks", [1, 2, 50])
def test_any_size_of_the_parts_gives_the_same_bits(sampler, whole, tmp_path, monkeypatch, blocks):
    monkeypatch.setattr(module, "PART", blocks * BLOCK)
    assert same(whole, taken(sampler, tmp_path))


@pytest.mark.parametrize("dies", ["in a part", "while joining", "before the table"])
def test_killed_sampling_resumes_to_the_same_bits(sampler, whole, tmp_path, monkeypatch, dies):
    monkeypatch.setattr(module, "PART", BLOCK)
    name, last = {
        "in a part": ("border_colors", 3),
        "while joining": ("_join", 2),
        "before the table": ("write_table", 1),
    }[dies]
    real, calls = getattr(module, name), []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == last:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, name, dying)
    with pytest.raises(KeyboardInterrupt):
        taken(sampler, tmp_path)
    assert not (tmp_path / "scores.parquet").exists()
    monkeypatch.setattr(module, name, real)
    computed = []
    colors = module.border_colors
    monkeypatch.setattr(module, "border_colors", lambda x: computed.append(len(x)) or colors(x))
    assert same(whole, taken(sampler, tmp_path))
    assert len(computed) == (2 if dies == "in a part" else 0), "finished parts are computed again"
    assert not list(tmp_path.glob("parts/*.npz")), "parts stay behind"


def test_finished_samples_are_read_and_not_computed_again(sampler, whole, tmp_path, monkeypatch):
    taken(sampler, tmp_path)
    monkeypatch.setattr(module, "_in_parts", lambda *arguments: pytest.fail("computed again"))
    assert same(whole, taken(sampler, tmp_path))
    assert isinstance(read_sample(tmp_path).vectors, np.memmap)


def test_more_latents_of_a_seed_begin_with_the_fewer(sampler, whole, tmp_path):
    few = taken(sampler, tmp_path, 2 * BLOCK + 1)
    assert np.array_equal(few.vectors, whole.vectors[: 2 * BLOCK + 1])
    pd.testing.assert_frame_equal(few.scores, whole.scores[: 2 * BLOCK + 1])


def test_scores_and_colors_are_of_the_images_of_the_kept_vectors(sampler, whole):
    rows = np.arange(BLOCK, 2 * BLOCK)
    z = latents(5, rows, sampler.z_size)
    assert np.array_equal(whole.vectors[rows], sampler.vectors(z, LAYER))
    images = sampler.images(sampler.vectors(z))
    found = Brightness()(images).scores
    assert np.array_equal(whole.scores.loc[rows, ["eyes", "mouth"]], found)
    assert np.array_equal(whole.scene[rows], module.border_colors(images))
    assert whole.scores["idx"].tolist() == list(range(COUNT))
    assert whole.scores["eyes"].std() > 0.5, "the images differ"


def test_the_latents_have_the_size_of_the_generators_z(tmp_path):
    config = GeneratorConfig(16, 40, 48, fmaps_base=128, fmaps_max=16)
    small = Sampler(Generator(config, seed=1).eval())
    assert small.z_size == 40
    assert taken(small, tmp_path / "z", 3, layer="z").vectors.shape == (3, 40)
    assert taken(small, tmp_path / "w", 3, layer="w").vectors.shape == (3, 48)


@pytest.fixture
def computed(monkeypatch):
    """How often latents were computed since the last call of it."""
    calls, work = [], module._latents_part
    monkeypatch.setattr(module, "workers", lambda device: nullcontext())

    def counted(*arguments):
        calls.append(1)
        work(*arguments)

    def since():
        count = len(calls)
        calls.clear()
        return count

    monkeypatch.setattr(module, "_latents_part", counted)
    return since


def test_a_sample_of_another_plan_is_replaced(sampler, tmp_path, computed):
    other = Sampler(Generator(sampler.generator.config, seed=2).eval())
    changes = [{}, {"seed": 6}, {"count": 6}, {"layer": "w"}]
    changes += [{"meter": Brightness(properties=("mouth", "eyes"))}]
    for sampled, changed in [*((sampler, changed) for changed in changes), (other, {})]:
        for times in (1, 0):
            taken(sampled, tmp_path, **{"count": 5} | changed)
            assert computed() == times, changed
    assert not list(tmp_path.parent.glob("*.replaced-*")), "this took no time"


def test_another_network_in_the_meter_samples_anew_and_the_same_one_does_not(
    sampler, tmp_path, computed
):
    def meter(seed, **settings):
        torch.manual_seed(seed)
        return CnnMeter(
            PropertyCNN(PropertyCNNConfig(resolution=16, padding=1, width=0.125)).eval(), **settings
        )

    def unit(meter, factor):
        size = len(meter.properties)
        return StandardizedMeter(meter, np.zeros(size), np.full(size, factor))

    scores = taken(sampler, tmp_path, 5, meter=unit(meter(1), 1.0)).scores
    again = taken(sampler, tmp_path, 5, meter=unit(meter(1), 1.0)).scores
    pd.testing.assert_frame_equal(scores, again)
    for other in (unit(meter(2), 1.0), unit(meter(1), 2.0), unit(meter(1, dropout_seed=3), 1.0)):
        computed()
        taken(sampler, tmp_path, 5, meter=other)
        assert computed() == 1


def test_a_meter_of_an_unknown_kind_goes_on_with_its_own_sample(sampler, tmp_path):
    class Foreign:
        properties = ("eyes", "mouth")

        def __call__(self, images):
            return Brightness()(images)

    for _ in range(2):
        taken(sampler, tmp_path, 5, meter=Foreign())


class StripeParser:
    """Maps of hair, eyes and so on whose places depend on the image's light; counts its images."""

    images, limit = 0, 10**9

    def __call__(self, images):
        StripeParser.images += len(images)
        if self.images > self.limit:
            raise KeyboardInterrupt
        maps = np.ones((len(images), 224, 224), np.uint8)
        for at, light in enumerate(images.mean((1, 2, 3)).astype(int)):
            maps[at, 80 : 84 + light // 8, 60:90], maps[at, 80:90, 130:160] = 4, 5
            maps[at, 150:160, 90:120], maps[at, 160 : 162 + light // 9, 90:120] = 7, 8
            maps[at, :60, :30], maps[at, : 120 + light // 3, 180:] = 0, 10
        faces = images.repeat(14, 1).repeat(14, 2)
        boxes = np.zeros((len(images), 4), np.float32)
        return Parsed(maps, faces, boxes, np.arange(len(images)) != 2)


def test_faces_are_the_seeds_own_and_a_killed_run_keeps_finished_parts(
    sampler, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "PART", BLOCK)
    monkeypatch.setattr(StripeParser, "limit", 100)
    with pytest.raises(KeyboardInterrupt):
        sample_faces(sampler, StripeParser(), tmp_path, 2, 150)
    assert [path.name for path in (tmp_path / "parts").glob("0*.npz")] == ["0000000_0000064.npz"]
    monkeypatch.setattr(StripeParser, "limit", 10**9)
    monkeypatch.setattr(StripeParser, "images", 0)
    faces = sample_faces(sampler, StripeParser(), tmp_path, 2, 150)
    assert StripeParser.images == 150 - BLOCK, "the finished part is computed again"
    own = sampler.images(sampler.vectors(latents(2, range(BLOCK), sampler.z_size)))
    assert np.array_equal(faces.images[:BLOCK], own) and faces.images.shape == (150, 16, 16, 3)
    assert list(faces.scores) == ["idx", *RAW_SCORES]
    assert faces.scores["idx"].tolist() == list(range(150))
    found = module.property_scores(own, StripeParser())
    for name in found:
        assert np.array_equal(faces.scores[name][:BLOCK], found[name], equal_nan=True), name
    assert faces.scores["eyes"].isna().sum() == len([at for at in range(150) if at % 64 % 8 == 2])
    assert not list((tmp_path / "parts").glob("0*.npz")), "the images stay on disk twice"


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
