"""A system may extend another's stages: they run once, and stay that one's."""

import pytest


@pytest.fixture
def later(demo_cells):
    """A system of one stage of its own after the demo's first."""
    stage = {**demo_cells.PIPELINE["stages"][1], "name": "02_later"}
    return {
        **demo_cells.PIPELINE,
        "title": "Later",
        "extends": "demo/01_make",
        "readme": {},
        "stages": [stage],
    }


def test_stages_of_another_system_come_first_and_run_once(repository, later):
    repository.write_pipeline(later, "later")
    code, output = repository.run("later", "--scale", "smoke")
    assert code == 0, output
    assert repository.work_done() == ["0", "1", "2", "3"]
    made = {path.relative_to(repository.root).as_posix() for path in repository.root.rglob("*.md")}
    assert {"reports/demo/01_make.md", "reports/later/02_later.md"} < made
    assert "reports/later/01_make.md" not in made
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 0 and "01_make  up to date" in output
    assert repository.work_done() == ["0", "1", "2", "3"]
    index = (repository.root / "reports/README.md").read_text()
    demo, own = index.split("## Demo")[1].split("## Later")
    assert "01_make.md" in demo and "01_make.md" not in own and "02_later.md" in own
    code, output = repository.run("--list")
    assert "01_make of demo" in output and "02_later of" not in output


def test_what_cannot_be_begun_with_is_told_before_anything_runs(repository, later):
    for extends, message in (
        ("nowhere/01_make", "there is no pipelines/nowhere.yaml"),
        ("demo/01_meke", "demo has no stage '01_meke': choose from 01_make, 02_read"),
        ("later/02_later", "extends later itself"),
        ("demo", "demo has no stage ''"),
        (["demo/01_make"], "extends: ['demo/01_make']: Input should be a valid string"),
    ):
        repository.write_pipeline({**later, "extends": extends}, "later")
        code, output = repository.run("later", "--scale", "smoke")
        assert code == 1 and message in output and "Traceback" not in output, output
    assert not repository.work_done()


def test_patterns_of_weights_stand_for_all_names_that_match(repository):
    stage = repository.pipeline()["stages"][0]
    stage["weights"] = {"smoke": ["mtcnn", "age-?"]}
    repository.declare(stages=[stage], readme={})
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "weights 'age-?': only a resolver knows patterns" in output
    repository.declare(resolver="ohlora_lib.checkpoints.resolver")
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "6 weights cannot be loaded, each for the reason above" in output
    assert "weights 'age-4' are missing" in output and not repository.work_done()


def test_constants_may_be_those_of_another_system_and_missing_names_are_told(repository, later):
    repository.declare(constants={"unit": 7200})
    (stage,) = later["stages"]
    stage["cost"] = {"seconds": "unit"}
    repository.write_pipeline({**later, "extends": "demo/01_make", "constants": "demo"}, "later")
    code, output = repository.run("later", "--scale", "paper", "--dry-run")
    assert code == 0 and "GB of memory" in output, output
    repository.write_pipeline({**later, "constants": "nowhere"}, "later")
    code, output = repository.run("later", "--scale", "paper", "--dry-run")
    assert code == 1 and "there is no pipelines/nowhere.yaml" in output
    repository.write_pipeline({**later, "constants": "demo/huge"}, "later")
    code, output = repository.run("later", "--scale", "paper", "--dry-run")
    assert code == 1 and "constants: 'huge' is none of smoke, quick, paper" in output
    stage["cost"] = {"seconds": "confirmation_latents * 2"}
    repository.write_pipeline(later, "later")
    code, output = repository.run("later", "--scale", "paper", "--dry-run")
    assert code == 1 and "Traceback" not in output
    assert "pipelines/later.yaml: cost: 'confirmation_latents * 2'" in output
