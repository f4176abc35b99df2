"""Notebook 01's work: a face belongs to its seed and number, and what is left is what was shown."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ohlora_lib import checkpoints
from ohlora_lib.lab import generate
from ohlora_lib.lab.generate import GenerateSettings
from ohlora_lib.models.annotator import Annotator, AnnotatorConfig
from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig, to_uint8
from ohlora_lib.runner.settings import SettingsError
from ohlora_lib.steering.sampling import Sampler
from ohlora_lib.train.finetune_forms import FORMS, start

SMALL = {"resolution": 32, "fmaps_base": 128, "mapping_width": 64, "w_size": 64, "z_size": 64}


def sampler(**more):
    generator = Generator(GeneratorConfig(**SMALL, **more), seed=3).eval()
    generator.truncation.w_avg += 0.5
    return Sampler(generator, number_format="float32")


def settings(**change):
    given = {"out": "data/x", "seed": 4, "generator": "original", "images": 70, "label": "random"}
    return GenerateSettings(**given | {"rendered": 8, "columns": 8} | change)


def test_face_of_a_seed_is_the_same_however_many_are_made(tmp_path):
    many = generate.make(tmp_path / "many", settings(), sampler())
    few = generate.make(tmp_path / "few", settings(images=16), sampler())
    assert np.array_equal(many.pictures[:16], few.pictures)
    assert np.array_equal(np.load(tmp_path / "many/w.npy")[:16], few.w)
    assert not (tmp_path / "many/label.npy").exists()
    other = generate.make(tmp_path / "other", settings(images=16, seed=5), sampler())
    assert not np.array_equal(other.z, few.z)


def test_run_that_was_cut_off_goes_on_to_the_same_images(tmp_path):
    made = generate.make(tmp_path, settings(), sampler())
    (tmp_path / "images/table.parquet").unlink()
    (tmp_path / "parts/000064.txt").unlink()
    made.images.path(66).unlink()
    assert np.array_equal(generate.make(tmp_path, settings(), sampler()).pictures, made.pictures)


def test_conditional_generator_is_told_random_numbers_or_zeros_as_asked(tmp_path):
    conditional = sampler(label_size=7, embedding_size=4)
    random = generate.make(tmp_path / "random", settings(images=16), conditional)
    zeros = generate.make(tmp_path / "zeros", settings(images=16, label="zeros"), conditional)
    assert np.load(tmp_path / "random/label.npy").shape == (16, 7)
    assert 0.6 < random.label.std() < 1.4 and not zeros.label.any()
    assert np.array_equal(random.z, zeros.z) and not np.array_equal(random.w, zeros.w)


def test_truncation_leaves_the_first_and_ends_in_the_average_face():
    drawing, w = sampler(), np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    rows = generate.truncated(drawing, w).reshape(3, len(generate.TRUNCATIONS), 32, 32, 3)
    untouched = drawing.images(w).astype(int)
    assert np.abs(rows[:, 0] - untouched).max() <= 1  # another batch rounds otherwise
    with torch.no_grad():
        psi = drawing.generator.from_w(torch.from_numpy(w), 0.4, 8)
    assert np.abs(rows[:, 3].astype(int) - to_uint8(psi)).max() <= 1
    assert np.array_equal(rows[0, -1], rows[1, -1]) and np.array_equal(rows[0, -1], rows[2, -1])


def test_all_styles_of_a_source_together_make_the_source(monkeypatch):
    drawing, w = sampler(), np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    monkeypatch.setattr(generate, "style_bands", lambda _: {"all": (0, 8), "none": (8, 8)})
    rows = generate.mixed(drawing, w[1:], w[0]).reshape(3, 2, 32, 32, 3)
    assert np.array_equal(rows[1], rows[0])
    target = drawing.images(w[:1])[0].astype(int)
    assert np.abs(rows[2, 0] - target).max() <= 1  # another batch rounds otherwise


def test_ways_between_two_faces_begin_and_end_at_them(tmp_path):
    drawing = sampler()
    made = generate.make(tmp_path, settings(images=16), drawing)
    z_way, w_way = generate.between(drawing, made, [(3, 5)], 4).reshape(2, 4, 32, 32, 3)
    for way in (z_way, w_way):
        apart = np.abs(way[[0, -1]].astype(int) - made.pictures[[3, 5]])
        assert apart.max() <= 1  # another batch rounds otherwise
    assert not np.array_equal(z_way[1], w_way[1])


def test_more_images_than_are_looked_at_leave_z_and_w_of_those_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "LOOKED_AT", 20)
    made = generate.make(tmp_path, settings(images=24), sampler())
    z, w = made.seen
    assert len(made.z) == len(made.w) == 24 and len(z) == len(w) == len(made.pictures) == 20
    apart = np.abs(sampler().images(w).astype(int) - made.pictures)
    assert apart.max() <= 1  # another batch rounds otherwise


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_is_tuned_from_a_generator_makes_what_that_made(form):
    toy = checkpoints.load("original")
    critic = Discriminator(DiscriminatorConfig(resolution=128, fmaps_base=512, fmaps_max=16))
    assert generate.of_the_toy_world(toy)
    assert generate.of_the_toy_world(start(form, toy, critic)[0])


@pytest.mark.parametrize("name", ["genforce", "finetune-v1", "ohlora-v8", "ohlora-v9"])
def test_generator_of_the_published_sizes_makes_no_toy_faces(name):
    """Whatever its file is called: notebook 05 gives all that it tunes the same name."""
    published = SimpleNamespace(config=checkpoints.CHECKPOINTS[name].config)
    assert not generate.of_the_toy_world(published)


def test_speed_is_measured_on_rows_that_were_drawn_before():
    sizes = []
    drawing = SimpleNamespace(images=lambda w: sizes.append(len(w)))
    generate.speed(drawing, np.zeros((50, 64), np.float32), seconds=1e-3)
    assert len(sizes) > 1 and set(sizes) == {50}


@pytest.mark.parametrize(
    "ready, rows, told",
    [
        (8, 64, "on 2 processes of one CPU thread each, 64 at a time"),
        (0, 64, f"on {torch.get_num_threads()} CPU threads, 64 at a time"),
        (8, 16, f"on {torch.get_num_threads()} CPU threads, 16 at a time"),
    ],
)
def test_page_tells_who_drew_so_fast(monkeypatch, ready, rows, told):
    monkeypatch.setattr(generate, "prepared", lambda: ready)
    monkeypatch.setattr(generate, "speed", lambda *given: "100")
    made = SimpleNamespace(w=np.zeros((rows, 64), np.float32))
    assert told in generate.speed_told(sampler(), made)


def test_another_network_than_a_generator_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "inside_root", lambda name: tmp_path / name)
    annotator = Annotator(AnnotatorConfig(("eyes",), resolution=32, widths=(4,), close_widths=(4,)))
    checkpoints.save(annotator, tmp_path / "a.safetensors")
    with pytest.raises(SettingsError, match="it holds a Annotator, not a generator"):
        generate.open_generator("a.safetensors")
