"""What is said of a generator: real faces come out as real, others do not, and files are left."""

import json

import numpy as np
import pytest

from ohlora_lib import checkpoints
from ohlora_lib.measure.similarity import compare
from ohlora_lib.models.annotator import Annotator, AnnotatorConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.toy import generator_quality
from ohlora_lib.train.toy.generator_quality import generate, parsed_pairs, quality

SMALL = {"widths": (4, 6, 8), "close_widths": (4, 6), "features": 5, "resolution": 32}


@pytest.fixture
def annotator():
    return Annotator(AnnotatorConfig(("eyes", "mouth"), **SMALL))


@pytest.fixture
def generator():
    return Generator(GeneratorConfig(resolution=32, fmaps_base=128, mapping_width=64, w_size=64))


def pictures(count, seed, contrast=1.0):
    """Noise whose lightness differs from picture to picture."""
    rng = np.random.default_rng(seed)
    light = 128 + contrast * rng.normal(0, 25, (count, 1, 1, 3))
    return np.clip(light + rng.normal(0, 20, (count, 32, 32, 3)), 0, 255).astype(np.uint8)


def test_images_of_the_same_kind_are_closer_than_others(annotator):
    real = pictures(240, 0)
    same, dull = (
        quality(annotator, real, pictures(120, 1)),
        quality(annotator, real, pictures(120, 2, 0.1)),
    )
    features = [annotator.annotate(one).features for one in (real, pictures(120, 2, 0.1))]
    expected = compare(features[0][:120], features[1])
    assert (dull["precision"], dull["recall"]) == (expected.precision, expected.recall)
    assert same["frechet ratio"] < 3 < dull["frechet ratio"]
    assert same["coverage"] > dull["coverage"] + 0.1
    assert 0.7 < same["spread of eyes"] < 1.3 and dull["spread of eyes"] < 0.7


def test_generated_face_is_the_same_whatever_the_count(generator):
    few, more = generate(generator, 2), generate(generator, 5, batch=2)
    assert np.array_equal(few[0], more[0]) and not np.array_equal(more[0], more[1])


def test_command_leaves_figures_and_a_sheet(tmp_path, monkeypatch, annotator, generator, capsys):
    for name, network in (("generator", generator), ("annotator", annotator)):
        checkpoints.save(network, tmp_path / f"{name}.safetensors")
    real = Faces(pictures(128, 0), np.zeros(0), np.zeros(0))
    monkeypatch.setattr(generator_quality, "load_faces", lambda wanted: real)
    arguments = [str(tmp_path / "generator.safetensors"), "--faces", "64", "--out", str(tmp_path)]
    arguments += ["--annotator", str(tmp_path / "annotator.safetensors")]
    assert generator_quality.main(arguments) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["frechet ratio"] == pytest.approx(
        figures["frechet"] / figures["frechet of two rendered sets"]
    )
    assert (tmp_path / "sheet/000/000000.png").exists()


def test_parser_reads_what_the_generator_draws_for_the_z_of_a_face_it_has_not_seen():
    original, parser = checkpoints.load("original"), checkpoints.load("parser")
    found = parsed_pairs(original, parser, 8)
    assert found["parser on generated, mean IoU"] > 0.6
    turned = checkpoints.load("original")
    turned.mapping.dense0.weight.data.neg_()  # its faces are no longer those of their z
    other = parsed_pairs(turned, parser, 8)
    assert other["parser on generated, mean IoU"] < found["parser on generated, mean IoU"] - 0.1
