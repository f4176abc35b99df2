"""05, 07 and 08 with their own notebooks: what a change of plots, texts or code recomputes."""

import hashlib
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests import rehearsal

STAGES = ("05_finetune", "07_find_vectors", "08_test_vectors")
PARAMETERS = (
    {"steps": 2, "batch": 4, "eval_count": 1, "eval_images": 16},
    {"images": 256, "population": 16, "directions": ["ridge"]},
    {"test_latents": 4, "calibration_latents": 2, "methods": [{"directions": "ridge"}]},
)
READS = (
    {},
    {"generator": "{05_finetune}/generator.safetensors"},
    {"generator": "{05_finetune}/generator.safetensors",
     "directions_folder": "{07_find_vectors}"},
)  # fmt: skip
OUTPUTS = (["generator.safetensors"], ["samples", "meters.json", "directions"], ["passes.parquet"])
EXPENSIVE = ("checkpoint.pt", "samples/scores.parquet", "tested/ridge/00000.npz")
"""The file of each stage that is written when its expensive part is done."""
WORK = ("**/*.work.json", "checkpoint.pt", "samples/*.npy", "samples/*.parquet", "tested/*/*.npz")
TRAINER, SAMPLER = "ohlora_lib/train/finetune.py", "ohlora_lib/steering/samples.py"
CODE = (TRAINER, SAMPLER, "ohlora_lib/steering/control_test.py")
PLOTS = ("finetune", "directions", "control_test")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A repository with a pipeline of the three stages at their least sizes."""
    root = tmp_path_factory.mktemp("work") / "repository"
    rehearsal.copy_repository(root)
    shutil.rmtree(root / "pipelines")
    (root / "pipelines").mkdir()
    stages = [
        {"name": name, "notebook": f"notebooks/{name}.ipynb", "reads": reads, "outputs": outputs,
         "parameters": given}
        for name, reads, outputs, given in zip(STAGES, READS, OUTPUTS, PARAMETERS, strict=True)
    ]  # fmt: skip
    content = {"title": "Work", "summary": "Three stages.", "stages": stages}
    (root / "pipelines/edited.yaml").write_text(yaml.safe_dump(content))
    return root


def start(root, *arguments):
    command = rehearsal.command("edited", *arguments, scale="smoke")
    return subprocess.Popen(
        command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run(root, *arguments):
    process = start(root, *arguments)
    output, _ = process.communicate(timeout=1500)
    return process.returncode, output


def edit(root, name, old, new):
    path = root / name
    assert old in path.read_text(), name
    path.write_text(path.read_text().replace(old, new, 1))


def work(root):
    """All finished work: file -> when it was written, and its contents."""
    data = root / "data/edited/smoke"
    return {
        path.relative_to(data).as_posix(): (
            path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for pattern in WORK for path in data.glob(f"[0-9]*/{pattern}") if path.name[0] != "."
    }  # fmt: skip


def interrupt(root, stage):
    """Run until this stage has done its expensive part, then stop as Ctrl-C does."""
    process, deadline = start(root), time.monotonic() + 900
    expensive = root / "data/edited/smoke" / STAGES[stage] / EXPENSIVE[stage]
    while not expensive.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode, output
    assert not (root / f"data/edited/smoke/{STAGES[stage]}.manifest.json").exists(), "it had ended"


def edit_texts(root, stage):
    """Change plots, docstrings and a notebook's text: nothing that computes."""
    plots = f"ohlora_lib/plots/{PLOTS[stage]}.py"
    edit(root, plots, '"""', '"""Changed. ')
    edit(root, plots, "\n\n", "\n\nCHANGED = 1\n")
    edit(root, CODE[stage], '"""', '"""Changed. ')
    edit(root, f"notebooks/{STAGES[stage]}.ipynb", "# ", "# Changed ")


def is_kept(before, root):
    after = work(root)
    changed = [name for name in before if after.get(name) != before[name]]
    assert not changed
    return after


def test_plots_and_texts_recompute_nothing_and_the_trainer_asks(root):
    """Each stage is edited when it was interrupted, and when it is finished."""
    interrupt(root, 0)
    done = work(root)
    edit_texts(root, 0)
    for stage in (1, 2):
        interrupt(root, stage)
        done = is_kept(done, root)
        edit_texts(root, stage - 1)
        edit_texts(root, stage)
    assert {Path(name).parts[0] for name in done} == set(STAGES)
    for _ in range(2):
        code, output = run(root)
        assert code == 0, output
        done = is_kept(done, root)
        edit_texts(root, 2)
    for name in STAGES:
        assert "Changed Changed" in (root / f"reports/edited/{name}.md").read_text()

    edit(root, TRAINER, "r1_gamma: float = 10.0", "r1_gamma: float = 20.0")
    code, output = run(root)
    assert code == 1 and "Traceback" not in output and "--force" in output
    assert "05_finetune: fine-tuning (took " in output
    assert f"{TRAINER.removeprefix('ohlora_lib/')} changed" in output
    edit(root, TRAINER, "r1_gamma: float = 20.0", "r1_gamma: float = 10.0")
    edit(root, SAMPLER, "PART = 4 * BLOCK", "PART = 2 * BLOCK")
    code, output = run(root)
    assert code == 1 and "07_find_vectors: latents (took " in output and "05_fine" not in output
    assert work(root) == done
