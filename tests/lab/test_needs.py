"""What paper scale needs is told before anything starts; what lacks is named with its origin."""

import pytest

from ohlora_lib.lab import needs, notebook
from ohlora_lib.lab.options import systems
from ohlora_lib.lab.pipeline import Pipeline, PipelineError
from ohlora_lib.models import weights


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
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    stages = Pipeline.load("ohlora_v3", "paper").stages
    assert needs.checkpoints(stages) == [
        "genforce", "facexformer", "mtcnn", "genforce-discriminator",
    ]  # fmt: skip
    with pytest.raises(PipelineError, match=r"pnet.pt.*facenet-pytorch") as caught:
        needs.refuse_without_weights(stages)
    assert "weights fetch facexformer" in str(caught.value)
    for name in ("pnet.pt", "rnet.pt", "onet.pt"):
        (tmp_path / name).touch()
    assert not weights.absent("mtcnn") and weights.absent("genforce")


def test_smaller_scales_need_nothing_from_outside():
    for system in systems():
        for scale in ("smoke", "quick"):
            assert needs.checkpoints(Pipeline.load(system, scale).stages) == []
