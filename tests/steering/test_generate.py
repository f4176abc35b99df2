"""Images of a generator on disk: identity by seed and number, resuming, labels, speed."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering import generate
from ohlora_lib.steering.generate import generate_images, random_labels, round_down
from ohlora_lib.steering.sampling import Sampler, latents

SMALL = {"resolution": 32, "fmaps_base": 128, "mapping_width": 64, "w_size": 64, "z_size": 64}


@pytest.fixture(scope="module")
def sampler():
    generator = Generator(GeneratorConfig(**SMALL), seed=3).eval()
    return Sampler(generator, number_format="float32")


@pytest.fixture(scope="module")
def w(sampler):
    return sampler.vectors(latents(4, np.arange(70), 64))


def test_an_image_is_the_same_however_many_are_made(tmp_path, sampler, w):
    many = generate_images(sampler, w, tmp_path / "many")
    few = generate_images(sampler, w[:16], tmp_path / "few")
    assert many.table["index"].tolist() == list(range(70))
    assert np.array_equal(many.read(range(16)), few.read())
    # Across the border between two shards, every image is the one of its own w.
    apart = sampler.images(w[60:70]).astype(int) - many.read(range(60, 70))
    assert np.abs(apart).max() <= 1  # other batch sizes round differently


def test_an_interrupted_run_makes_only_the_missing_shard_again(tmp_path, sampler, w, monkeypatch):
    monkeypatch.setattr(generate, "workers", lambda device: nullcontext())
    before = generate_images(sampler, w, tmp_path / "whole").read()
    made, shard = [], generate._generate_shard

    def dies_late(sampler, images, w, rows, done):
        if rows.start and len(made) < 2:
            made.append("killed")
            raise KeyboardInterrupt
        made.append(rows)
        shard(sampler, images, w, rows, done)

    monkeypatch.setattr(generate, "_generate_shard", dies_late)
    with pytest.raises(KeyboardInterrupt):
        generate_images(sampler, w, tmp_path)
    assert np.array_equal(generate_images(sampler, w, tmp_path).read(), before)
    assert made == [range(64), "killed", range(64, 70)]
    generate_images(sampler, w, tmp_path)
    assert len(made) == 3, "finished images are made again"
    other = generate_images(sampler, w + 1, tmp_path).read()
    assert len(made) == 5 and not np.array_equal(other[0], before[0])


def test_random_labels_are_normal_and_not_the_stream_of_z():
    labels = random_labels(4, np.arange(3000), 7)
    assert labels.shape == (3000, 7)
    assert abs(labels.mean()) < 0.03 and abs(labels.std() - 1) < 0.03
    assert np.array_equal(labels[5:9], random_labels(4, np.arange(5, 9), 7))
    z = latents(4, np.arange(3000), 7)
    assert abs(np.corrcoef(labels.ravel(), z.ravel())[0, 1]) < 0.03
    # A changed stream would change all images of conditional generators.
    assert random_labels(11, np.arange(1), 7)[0, 0] == pytest.approx(-2.1417508, abs=1e-6)


def test_the_speed_counts_every_image_after_a_warm_up():
    sizes = []
    clock = iter([0.0, 0.0, 0.3, 0.5])
    drawing = SimpleNamespace(images=lambda w: sizes.append(len(w)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate.time, "perf_counter", lambda: next(clock))
        rate = generate.images_per_second(drawing, np.zeros((50, 64), np.float32), seconds=0.5)
    assert sizes == [50, 50, 50] and rate == 100 / 0.5


@pytest.mark.parametrize(
    ("rate", "rounded"), [(9.9, 5), (10, 10), (19.9, 10), (20, 20), (499, 200), (0.7, 0.5)]
)
def test_a_rate_is_rounded_down_to_one_two_or_five(rate, rounded):
    assert round_down(rate) == pytest.approx(rounded)
