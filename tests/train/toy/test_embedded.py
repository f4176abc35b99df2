"""The weights in the repository do what their cards say, on faces that nothing was trained on."""

from dataclasses import replace

import numpy as np
import pytest

from ohlora_lib import checkpoints
from ohlora_lib.toyworld import ATTRIBUTE_NAMES, face, render, sample_attributes
from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.toy import annotator, parser, quality

FOLDER = checkpoints.EMBEDDED


@pytest.fixture(scope="module")
def unseen():
    """Sixty faces of a seed that neither trained nor calibrated."""
    drawn = [face(777, index) for index in range(60)]
    values = [[getattr(one.attributes, name) for name in ATTRIBUTE_NAMES] for one in drawn]
    return Faces(
        np.stack([one.image for one in drawn]),
        np.stack([one.parse_map for one in drawn]),
        np.array(values, np.float32),
    )


def test_repository_stays_light_and_every_file_has_a_card():
    files = sorted(FOLDER.glob("*.safetensors"))
    assert files and sum(file.stat().st_size for file in files) <= 40e6
    for file in files:
        card = FOLDER / f"{file.stem.removesuffix('-discriminator')}.md"
        commands = ("python -m ohlora_lib.train.toy", "./run_all.sh ohlora_v3")
        assert any(command in card.read_text() for command in commands)


def test_embedded_parser_reads_faces_it_never_saw(unseen):
    figures = parser.evaluate(checkpoints.load("parser", FOLDER), unseen)
    assert figures["mean IoU"] > 0.8
    assert min(figures[name] for name in ("left eye", "right eye", "inner mouth")) > 0.7


def test_embedded_parser_reads_a_larger_picture_as_well():
    one = face(778, 0, size=224)
    said = checkpoints.load("parser", FOLDER).parse(one.image[None])[0]
    assert (said == one.parse_map).mean() > 0.94


def test_embedded_annotator_reads_faces_it_never_saw(unseen):
    network = checkpoints.load("annotator", FOLDER)
    figures = annotator.evaluate(network, unseen)
    for name in ("eyes", "mouth", "pose", "hair_color", "hair_length", "background_mean"):
        assert figures[f"R² {name}"] > 0.85, name
    assert figures["AUROC gender"] > 0.97


def test_start_of_the_quality_filter_sees_defects_on_faces_it_never_saw(unseen):
    people = [replace(sample_attributes(777, index), quality=0.2) for index in range(30)]
    images = np.stack([render(one, index, 128).image for index, one in enumerate(people)])
    spoilt = np.array([list(one.to_dict().values()) for one in people], np.float32)
    network = checkpoints.load("quality-start", FOLDER)
    both = unseen.with_others(Faces(images, unseen.maps[:30], spoilt))
    assert quality.evaluate(network, both)["AUROC quality"] > 0.95
