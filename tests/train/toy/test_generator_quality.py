"""What is said of a generator: real faces come out as real, others do not, and files are left."""

import json

import numpy as np
import pytest
import torch

from ohlora_lib import checkpoints
from ohlora_lib.faces.classes import HAIR
from ohlora_lib.measure.similarity import compare
from ohlora_lib.models.annotator import Annotator, AnnotatorConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig, with_resolution
from ohlora_lib.models.unet_parser import UNetConfig, UNetParser
from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.toy import generator_quality
from ohlora_lib.train.toy.generator_quality import (
    draw,
    generate,
    parsed_pairs,
    quality,
    strands,
    told_apart,
)

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


def test_images_of_half_the_size_are_those_of_the_generator_without_its_last_block(generator):
    z = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))
    small = draw(generator, z, size=16)
    assert small.shape == (3, 16, 16, 3)
    assert np.array_equal(small, draw(with_resolution(generator, 16), z))
    assert draw(generator, z).shape == (3, 32, 32, 3)


def test_network_tells_other_images_apart_but_not_the_same_kind():
    real, same, dull = pictures(90, 0), pictures(90, 1), pictures(90, 2, 0.1)
    assert abs(told_apart(real, same) - 0.5) < 0.25 < told_apart(real, dull) - 0.5


def test_strands_of_both_sides_are_compared_as_in_a_mirror():
    y, x = np.mgrid[:64, :64]
    slope = np.where(x < 32, x + y, 63 - x + y)  # the right half mirrors the left
    mirrored = np.repeat((127 + 80 * np.sin(slope))[..., None], 3, 2).astype(np.uint8)[None]
    maps = np.full((1, 64, 64), HAIR, np.uint8)
    left, right = strands(mirrored, maps)
    assert left.argmax() == right.argmax() and right.sum() == pytest.approx(left.sum(), rel=0.1)
    parallel = mirrored.copy()
    parallel[:, :, 32:] = mirrored[:, :, :32]
    left, right = strands(parallel, maps)
    assert left.argmax() != right.argmax()
    assert not strands(mirrored, np.zeros_like(maps)).any(), "only hair counts"


def test_command_leaves_figures_and_a_sheet(tmp_path, monkeypatch, annotator, generator, capsys):
    parser = UNetParser(UNetConfig(widths=(4, 6, 8), resolution=32))
    networks = {"generator": generator, "annotator": annotator, "parser": parser}
    for name, network in networks.items():
        checkpoints.save(network, tmp_path / f"{name}.safetensors")
    real = Faces(pictures(128, 0), np.zeros(0), np.zeros(0))
    monkeypatch.setattr(generator_quality, "load_faces", lambda wanted: real)
    arguments = [str(tmp_path / "generator.safetensors"), "--faces", "64", "--out", str(tmp_path)]
    for name in ("annotator", "parser"):
        arguments += [f"--{name}", str(tmp_path / f"{name}.safetensors")]
    assert generator_quality.main(arguments) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["frechet ratio"] == pytest.approx(
        figures["frechet"] / figures["frechet of two rendered sets"]
    )
    assert figures["frechet ratio, parser"] > 3, "the generator has not been trained"
    assert figures["told from rendered, AUROC"] > 0.9
    assert (tmp_path / "sheet/000/000000.png").exists()


def test_parser_reads_what_the_generator_draws_for_the_z_of_a_face_it_has_not_seen():
    original, parser = checkpoints.load("original"), checkpoints.load("parser")
    found = parsed_pairs(original, parser, 8)
    assert found["parser on generated, mean IoU"] > 0.6
    turned = checkpoints.load("original")
    turned.mapping.dense0.weight.data.neg_()  # its faces are no longer those of their z
    other = parsed_pairs(turned, parser, 8)
    assert other["parser on generated, mean IoU"] < found["parser on generated, mean IoU"] - 0.1
