"""The second generator's training: it sees images alone, grows, and resumes."""

import numpy as np
import pytest
import torch

from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.toy import second_generator
from ohlora_lib.train.toy.loop import Budget, fit
from ohlora_lib.train.toy.second_generator import SecondGeneratorPlan, SecondGeneratorTraining

CPU = torch.device("cpu")
PLAN = SecondGeneratorPlan(batch=4, penalty_every=2, grow=((0, 2.0), (8, 1.0), (16, 0.0)))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Networks of a few channels."""
    config = {"resolution": 64, "fmaps_base": 256, "fmaps_max": 8}
    generator = second_generator.GeneratorConfig(
        z_size=8, w_size=8, mapping_layers=2, mapping_width=8, **config
    )
    monkeypatch.setattr(second_generator, "EMBEDDED", generator)
    monkeypatch.setattr(second_generator, "CRITIC", second_generator.DiscriminatorConfig(**config))


def some_faces(value=0.0) -> Faces:
    """Images of a seed, with attributes and maps that say nothing about them."""
    images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)
    return Faces(images, np.zeros((12, 64, 64), np.uint8), np.full((12, 3), value), "some")


def trained(path, steps=6, value=0.0, plan=PLAN):
    training = SecondGeneratorTraining(some_faces(value), CPU, plan=plan)
    fit(training, path, Budget(steps=steps), say=lambda line: None)
    return training


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_attributes_and_class_maps_have_no_influence(tmp_path):
    one, other = trained(tmp_path / "1.pt"), trained(tmp_path / "2.pt", value=np.nan)
    assert same(one.generator, other.generator) and same(one.discriminator, other.discriminator)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    whole = trained(tmp_path / "whole.pt")
    trained(tmp_path / "cut.pt", steps=3)
    resumed = trained(tmp_path / "cut.pt", steps=6)
    assert same(whole.average, resumed.average)
    assert torch.equal(whole.average.truncation.w_avg, resumed.average.truncation.w_avg)


def test_resolution_grows_with_the_images_shown(tmp_path):
    training = SecondGeneratorTraining(some_faces(), CPU, plan=PLAN)
    assert [training.step(step, 0.0)["lod"] for step in range(6)] == [2, 1.5, 1, 0.5, 0, 0]
    again = SecondGeneratorTraining(
        some_faces(), CPU, plan=PLAN, start=(training.average, training.discriminator)
    )
    assert again.step(0, 0.0)["lod"] == 0, "a continued training is at full resolution"


def test_noise_stays_off_and_all_else_learns(tmp_path):
    first = SecondGeneratorTraining(some_faces(), CPU, plan=PLAN).generator.state_dict()
    first = {name: value.clone() for name, value in first.items()}
    for name, value in trained(tmp_path / "it.pt").generator.named_parameters():
        noise, early = name.endswith("apply_noise.weight"), name.startswith("synthesis.output")
        if not early or name.startswith("synthesis.output4"):  # the others faded out
            assert torch.equal(value, first[name]) == noise, name


def test_half_of_the_real_faces_are_mirrored():
    training = SecondGeneratorTraining(some_faces(), CPU, plan=PLAN)
    images = torch.from_numpy(some_faces().images).permute(0, 3, 1, 2).float() / 127.5 - 1
    mirrored = 0
    for step in range(50):
        for one in training._real(np.random.default_rng(step)):
            plain = (images == one).flatten(1).all(1).any()
            assert plain or (images.flip(3) == one).flatten(1).all(1).any()
            mirrored += not plain
    assert 70 <= mirrored <= 130  # of 200
