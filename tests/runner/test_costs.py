"""Costs at paper scale come from the pipeline files; missing weights are named before the start."""

import json

import pytest
import torch

from ohlora_lib import checkpoints
from ohlora_lib.checkpoints import registry, resolver, speed
from ohlora_lib.faces.domain import PHOTO
from ohlora_lib.models.filter_cnn import FILTERS
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.stylegan import GeneratorConfig, Mapping
from ohlora_lib.runner import run
from ohlora_lib.runner.costs import Cost, CostError, costs, evaluate
from ohlora_lib.runner.launch import SCALES, systems
from ohlora_lib.runner.pipeline import Pipeline
from ohlora_lib.steering import scene
from ohlora_lib.train.classifier import FILTER_TRAININGS, FaceEvaluator
from ohlora_lib.train.toy import second_generator


@pytest.fixture(autouse=True)
def not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(resolver, "SPEED", tmp_path / "speed.json")


@pytest.mark.parametrize(
    ("expression", "value"),
    [("2 * n + 1", 7), ("n ** 2 / 2", 4.5), ("7 // n - 1", 1), ("max(n, len(names)) * 1.0e2", 300),
     ("min(n, len(names))", 2), (5, 5)],
)  # fmt: skip
def test_expression_is_evaluated(expression, value):
    assert evaluate(expression, {"n": 3, "names": ["a", "b"]}) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("n.real", "only numbers, names"),
        ("__import__('os')", "only numbers, names"),
        ("'a' * 3", "only numbers, names"),
        ("[n]", "only numbers, names"),
        ("n if n else 1", "only numbers, names"),
        ("min", "only numbers, names"),
        ("n +", "is not an arithmetic expression"),
        ("m * 2", "no parameter or constant is called 'm'"),
        ("word * 2", "word = 'w' is no number"),
        ("n / 0", "division by zero"),
    ],
)
def test_anything_else_is_refused(expression, message):
    with pytest.raises(CostError, match=message):
        evaluate(expression, {"n": 3, "word": "w"})


class Stub:
    def __init__(self, name, cost, **parameters):
        self.name, self.cost, self.parameters = name, cost, parameters


def test_names_are_own_parameters_then_those_of_the_nearest_earlier_stage_then_constants():
    stages = (
        Stub("a", {"seconds": "images * unit"}, images=10),
        Stub("b", {"seconds": "images"}, images=20),
        Stub("c", {"seconds": "images * unit", "disk": 5, "memory": "images"}),
        Stub("d", {"seconds": "images * unit"}, unit=7),
        Stub("e", {}),
    )
    found = costs(stages, {"unit": 2, "images": 1})
    assert [one.seconds for one in found.values()] == [20, 20, 40, 140, 0]
    assert found["c"] == Cost(40, 5, 20) and found["e"] == Cost(0, 1e7, 4e9)


def test_times_and_disk_add_up_and_memory_is_the_largest():
    whole = sum([Cost(7200, 1e9, 6e9), Cost(3600, 2e9, 5e9)], Cost())
    assert whole == Cost(10800, 3e9, 6e9)
    assert " ".join(str(whole).split()) == "3.0 hours 3.00 GB of disk 6.0 GB of memory"
    assert str(Cost(90)).split()[:2] == ["1.5", "min."]


def test_processes_share_the_work_but_not_what_a_stage_does_alone():
    stages = [Stub("a", {"seconds": "10 * unit"}), Stub("b", {})]
    constants = {"unit": "half + half", "half": 5, "stage_seconds": 8, "stage_memory": 7}
    one, other = costs(stages, constants).values()
    assert (one.seconds, one.on(4).seconds) == (108, 33) and other.on(4).seconds == 8
    assert one.slowed(2).on(4).seconds == 66 and other.memory == 7
    with pytest.raises(CostError):
        costs(stages, {"unit": "half", "half": "unit"})


def test_hours_of_a_paper_run_are_those_of_its_networks():
    """By hand: 4,930/13,000 of 15,000 images, 72 epochs, three passes of 0.05 + 2 * 0.16 s; 7,200
    + 3 * 2,000 images rated by 20 CNNs of 0.02 s; 20 s for the stage itself."""
    found = Pipeline.load("ohlora_v3", "paper").costs(2)
    rated = (7200 + 6000) * (0.05 + 20 * 0.02)
    assert found["05_finetune_v8"].seconds == pytest.approx(454621.85 + rated + 20, abs=0.01)
    assert found["01_generate"].seconds == pytest.approx(10_000 * 0.06 + 20)
    kept = 15_000 * 4930 / 13_000  # of the second round, not of the latents sampled since
    assert found["11_failures"].seconds == pytest.approx(kept * 0.4 + 20)
    assert found["01_generate"].disk == pytest.approx(1.1e9)
    assert found["09_select_final_vectors"].seconds == pytest.approx(50 * 2000 * 0.23 + 20)
    assert found["08_test_vectors"].memory == 9.5e9 and found["05_finetune_v8"].memory == 7.8e9
    assert found["02_label_and_filter"].disk == pytest.approx(20 * 2.7e7 + 2000 * 256 * 256 * 3)


@pytest.mark.parametrize("scale", SCALES)
def test_constants_that_repeat_a_stage_s_count_agree_with_it(scale):
    pipeline = Pipeline.load("ohlora_v3", scale)
    counts = {stage.name: stage.parameters.get("images") for stage in pipeline.stages}
    assert pipeline.constants["images_v1"] == counts["01_generate_v1"]


@pytest.mark.parametrize("system", systems())
@pytest.mark.parametrize("scale", ["smoke", "quick"])
def test_smaller_scales_have_estimates_too(system, scale):
    pipeline = Pipeline.load(system, scale)
    paper = Pipeline.load(system, "paper").costs()
    for name, cost in pipeline.costs().items():
        assert cost.seconds <= paper[name].seconds and cost.memory <= paper[name].memory


def test_second_generator_costs_what_networks_of_the_toy_world_cost():
    """`steering_adversarial` has no others, so that at quick scale it cost ten times too much."""
    for scale in ("quick", "paper"):
        found, usual = (Pipeline.load(one, scale) for one in ("steering_adversarial", "steering"))
        toy = Pipeline.load("ohlora_v3", "quick").constants
        assert found.constants == toy and found.declared == usual.declared


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_speeds_of_this_machine_replace_the_assumed_ones(device, monkeypatch):
    pipeline = Pipeline.load("ohlora_v3", "paper")
    before = pipeline.costs()["01_generate"].on(4 if device == "cpu" else 1).seconds
    assert "--calibrate" in "".join(run.requirements(pipeline, pipeline.stages, 4))
    quick_before = Pipeline.load("ohlora_v3", "quick").costs()["06_property_cnn"].seconds
    content = {"generator_seconds": 0.1, "device": device, "day": "2030-01-02"}
    resolver.SPEED.write_text(json.dumps(content))
    added = 10_000 * 0.05 / (4 if device == "cpu" else 1)
    lines = run.requirements(pipeline, pipeline.stages, 4)
    assert "  (from speeds measured on this machine, 2030-01-02)" in lines
    minutes = float(next(line for line in lines if "01_generate " in line).split()[1])
    assert minutes == pytest.approx((before + added) / 60, abs=0.051)
    # The toy world's networks may be fast where the published ones are slow.
    quick = Pipeline.load("ohlora_v3", "quick")
    assert quick.costs()["06_property_cnn"].seconds == quick_before
    resolver.SPEED.write_text(json.dumps(content | {"small_slower": 2.0}))
    assert quick.costs()["06_property_cnn"].seconds == pytest.approx(2 * quick_before)
    assert ("with this GPU" if device == "cuda" else "without a GPU, 4 threads") in lines[0]


def test_what_is_measured_are_constants_of_the_pipelines(monkeypatch, capsys):
    monkeypatch.setattr(speed, "BATCH", 1)
    monkeypatch.setattr(speed, "SECONDS", 0)
    monkeypatch.setattr(speed, "SPEED", resolver.SPEED)
    run.calibrate(pipeline := Pipeline.load("ohlora_v3", "quick"))
    assert "(assumed before: 0.05)" in capsys.readouterr().out
    seconds = {name: one for name, one in resolver.measured().items() if isinstance(one, float)}
    assert 0 < seconds.pop("small_slower") < 100
    assert len(seconds) == 6 and seconds.keys() < pipeline.constants.keys()
    assert all(0 < one < 60 for one in seconds.values())


@pytest.mark.parametrize("system", systems())
def test_every_system_states_its_needs(system):
    pipeline = Pipeline.load(system, "paper")
    lines = run.requirements(pipeline, pipeline.stages)
    for stage in pipeline.stages:
        assert sum(line.strip().startswith(f"{stage.name} ") for line in lines) == 1
        least = 30 if stage.notebook.name == "play.ipynb" else 100  # it draws a thousand images
        least = 50 if system == "steering_adversarial" else least  # small networks at every scale
        seconds = pipeline.costs()[stage.name].seconds
        assert stage.notebook.name.startswith("04_") or seconds > least
    assert all(unit in lines[0] for unit in ("GB of disk", "GB of memory"))
    assert "hours" in lines[0] or "min." in lines[0]


def test_what_a_person_has_to_put_there_is_told_before_the_start(tmp_path, monkeypatch):
    """The last stage, hours later, needs the original project's selection."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    pipeline = Pipeline.load("published_v8", "paper")
    line = "  a selection made elsewhere: data/published/v8 "
    told = run.requirements(pipeline, pipeline.stages)
    assert line + "(missing, 09_published_choices reads it)" in told
    (tmp_path / "data/published/v8").mkdir(parents=True)
    assert line + "(found)" in run.requirements(pipeline, pipeline.stages)


def test_sample_is_counted_by_the_layer_that_it_keeps():
    split = Mapping(GeneratorConfig(label_size=7, split_size=2048))
    z, label = torch.zeros(1, 512), torch.zeros(1, 7)
    first = split.split1(z, label)
    layers = {"mapping_split1": first, "mapping_split2": split.split1_to_split2(first)}
    layers |= {"z": z, "w": split(z, label)}
    for system in systems():
        pipeline = Pipeline.load(system, "paper")
        for stage in pipeline.stages:
            if "layer" in stage.parameters:
                width = layers[stage.parameters["layer"]].shape[1]
                if stage.parameters.get("generator") == "adversarial":
                    width = second_generator.EMBEDDED.w_size
                sample = 4 * width + scene.COLORS + 8 * 9
                size = 2 * stage.parameters["images"] * sample
                assert pipeline.costs()[stage.name].disk == size
                assert (
                    pipeline.costs()[stage.name].memory
                    == size + pipeline.constants["sample_memory"]
                )


def test_missing_weights_are_named_with_their_place_and_origin(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    stages = Pipeline.load("ohlora_v3", "paper").stages
    problems = run.weight_problems(stages)
    named = ["genforce", "facexformer", "mtcnn", "genforce-discriminator"]
    starts = ["gender-v1-0", "quality-v1-0"]
    filters = [f"{name}-{fold}" for name in FILTERS for fold in range(5)]
    assert sorted(problems) == sorted(named + starts + filters) and all(problems.values())
    assert "pnet.pt" in problems["mtcnn"] and "fetch mtcnn" in problems["mtcnn"]
    assert "fetch facexformer" in problems["facexformer"]
    state = MTCNN().state_dict()
    for net in ("pnet", "rnet", "onet"):
        part = {key.removeprefix(f"{net}."): v for key, v in state.items() if key.startswith(net)}
        torch.save(part, tmp_path / f"{net}.pt")
    problems = run.weight_problems(stages)
    assert not problems["mtcnn"] and problems["genforce"]
    (tmp_path / "rnet.pt").write_bytes((tmp_path / "rnet.pt").read_bytes()[:-9000])
    assert "rnet.pt is damaged" in run.weight_problems(stages)["mtcnn"], "files are opened"


def test_declared_weights_are_those_that_photographs_load(monkeypatch):
    loaded, annotator = [], checkpoints.load("annotator")

    def load(name):
        loaded.append(name)
        return annotator

    monkeypatch.setattr(checkpoints, "load", load)
    FaceEvaluator(PHOTO)
    stages = {one.name: one for one in Pipeline.load("ohlora_v3", "paper").stages}
    assert loaded == list(stages["05_finetune_v1"].weights)
    starts = [one.plan.start for one in FILTER_TRAININGS[PHOTO.networks].values()]
    assert list(filter(None, starts)) == list(stages["02_label_and_filter"].weights)


def test_paper_run_is_refused_without_its_weights(repository):
    repository.declare(resolver="ohlora_lib.checkpoints.resolver")
    stage = {**repository.pipeline()["stages"][0], "weights": {"paper": ["mtcnn"]}}
    repository.declare(stages=[stage], readme={})
    code, output = repository.run("demo", "--scale", "paper")
    assert code == 1 and "./run_all.sh: weights 'mtcnn' are missing: put pnet.pt" in output
    code, output = repository.run("demo", "--scale", "paper", "--dry-run")
    assert code == 0 and "would run" in output and not repository.work_done()
    names = ["mtcnn", "facexformer", "ohlora-v8", *(f"gender-{fold}" for fold in range(5))]
    repository.declare(stages=[{**stage, "weights": {"paper": names}}], readme={})
    code, output = repository.run("demo", "--scale", "paper")
    assert code == 1 and max(map(len, output.splitlines())) < 300
    assert "8 weights cannot be loaded, each for the reason above: mtcnn, facexformer" in output


def test_smaller_scales_need_nothing_from_outside():
    for system in (name for name in systems() if not name.startswith("published_")):
        for scale in ("smoke", "quick"):
            assert not any(run.weight_problems(Pipeline.load(system, scale).stages).values())
