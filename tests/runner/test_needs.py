"""What paper scale needs is told before anything starts; what lacks is named with its origin."""

import pytest
import torch

from ohlora_lib import checkpoints
from ohlora_lib.faces import domain
from ohlora_lib.models.stylegan import GeneratorConfig, Mapping
from ohlora_lib.runner import needs, notebook
from ohlora_lib.runner.options import systems
from ohlora_lib.runner.pipeline import Pipeline, PipelineError
from ohlora_lib.train.classifier import FaceEvaluator


@pytest.mark.parametrize("system", systems())
def test_every_stage_of_every_system_is_valid_and_counted_at_paper_scale(system):
    pipeline = Pipeline.load(system, "paper")
    for stage in pipeline.stages:
        notebook.check(stage)
    lines = needs.told(pipeline, pipeline.stages)
    for stage in pipeline.stages:
        assert sum(line.strip().startswith(f"{stage.name} ") for line in lines) == 1
    assert "hours" in lines[0] and "GB of disk" in lines[0] and "GB of memory" in lines[0]


def test_hours_follow_the_sizes():
    stages = {one.name: one for one in Pipeline.load("ohlora_v3", "paper").stages}
    few, many = (needs.needs(stages["01_generate"], images) for images in (1_000, 10_000))
    assert many.hours == pytest.approx(10 * few.hours) and many.disk == pytest.approx(10 * few.disk)
    assert needs.needs(stages["07_find_vectors"], 0).memory > needs.LEAST_MEMORY


def test_absent_weights_are_named_with_their_place_and_origin(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints.registry, "FOLDER", tmp_path)
    stages = Pipeline.load("ohlora_v3", "paper").stages
    named = ["genforce", "facexformer", "mtcnn", "genforce-discriminator"]
    starts = ["gender-v1-0", "quality-v1-0"]
    judges = [f"{n}-{k}" for n in ("gender", "quality", "age", "glass") for k in range(5)]
    assert sorted(needs.named_checkpoints(stages)) == sorted(named + starts + judges)
    with pytest.raises(PipelineError, match=r"pnet.pt.*facenet-pytorch") as caught:
        needs.refuse_without_weights(stages)
    assert "checkpoints fetch facexformer" in str(caught.value)
    for name in ("pnet.pt", "rnet.pt", "onet.pt"):
        (tmp_path / name).touch()
    assert not checkpoints.missing("mtcnn") and checkpoints.missing("genforce")


def test_checkpoints_that_a_setting_implies_are_those_that_its_code_loads(monkeypatch):
    loaded, annotator = [], checkpoints.load("annotator")

    def load(name):
        loaded.append(name)
        return annotator

    monkeypatch.setattr(checkpoints, "load", load)
    FaceEvaluator(domain.PHOTO)
    assert loaded[1:] == list(needs.PHOTO["05"])
    assert needs.PHOTO["02"] == ("gender-v1-0", "quality-v1-0")


def test_sample_is_counted_by_the_layer_that_it_keeps():
    split = Mapping(GeneratorConfig(label_size=7, split_size=2048))
    z, label = torch.zeros(1, 512), torch.zeros(1, 7)
    first = split.split1(z, label)
    layers = {"z": z, "mapping_split1": first, "mapping_split2": split.split1_to_split2(first)}
    layers["w"] = split(z, label)
    assert {name: vectors.shape[1] for name, vectors in layers.items()} == needs.WIDTHS
    stages = {one.name: one for one in Pipeline.load("ohlora_v3_1", "paper").stages}
    mixed = needs.needs(stages["07_find_vectors_mixed"], 0)
    assert mixed.disk > 160_000 * 2560 * 4 and mixed.memory > 160_000 * 2560 * 4


def test_smaller_scales_need_nothing_from_outside():
    for system in systems():
        for scale in ("smoke", "quick"):
            assert needs.named_checkpoints(Pipeline.load(system, scale).stages) == []
