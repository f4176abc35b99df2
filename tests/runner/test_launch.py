"""run_all.sh: a caller's mistake is one clear line; an interrupted set-up is repaired."""

import os
import shutil
import subprocess
import sys

import pytest

from ohlora_lib.runner import launch
from ohlora_lib.runner.launch import SetupError


def run_all(root, *arguments, **environment):
    done = subprocess.run(
        ["bash", str(root / "run_all.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ohlora_v9"], "there is no system 'ohlora_v9': choose from demo"),
        (["demo", "--scale", "huge"], "argument --scale: invalid choice: 'huge'"),
        (["demo", "--fast"], "unrecognized arguments: --fast"),
        (["demo", "--from"], "argument --from: expected one argument"),
        (["demo", "--from", "a", "--only", "b"], "--from and --only exclude each other"),
        (["demo", "--workers", "0"], "--workers 0: must be at least 1"),
        (["demo", "--workers", "2", "--cluster", "tcp://a:1"], "give one of them"),
        (["demo", "--worker-memory", "2"], "the GB that each of --workers N may use: give both"),
        (["demo", "--cluster", "localhost"], "'localhost': must look like tcp://HOST:8786"),
        (["--test", "--force"], "--test takes no other option"),
    ],
)
def test_wrong_arguments_get_one_line_before_anything_is_installed(repository, arguments, message):
    code, output, error = run_all(repository.root, *arguments)
    assert code == 2 and message in error and len(error.splitlines()) == 1 and not output
    assert not (repository.root / ".venv").exists()


def test_unknown_stage_is_named_with_the_known_ones(repository):
    code, output = repository.run("demo", "--scale", "smoke", "--only", "03_none")
    assert code == 1 and "has no stage '03_none': choose from 01_make, 02_read" in output


def test_environment_behind_a_link_is_refused_not_emptied(repository, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/kept.txt").touch()
    (repository.root / ".venv").symlink_to(tmp_path / "other")
    code, _, error = run_all(repository.root, "demo", "--dry-run")
    assert code == 1 and "remove the link" in error and len(error.splitlines()) == 1
    assert (tmp_path / "other/kept.txt").exists()


def test_help_needs_no_environment(repository):
    code, output, _ = run_all(repository.root, "--help")
    assert code == 0 and "--scale {smoke,quick,paper}" in output
    assert not (repository.root / ".venv").exists()


def test_machine_without_python_gets_one_line(repository, tmp_path):
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    code, _, error = run_all(repository.root, PYTHON="", PATH=str(tmp_path / "bin"))
    assert code == 2 and "no Python 3.11 or newer found" in error and len(error.splitlines()) == 1


def test_first_set_up_without_network_says_so_and_is_repaired_by_the_next_run(repository):
    (repository.root / "requirements.txt").write_text("a-package-that-is-nowhere==1.0\n")
    unreachable = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    unreachable |= {"PIP_CONFIG_FILE": os.devnull, "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    code, output, error = run_all(repository.root, "demo", **unreachable)
    assert code == 1 and "no package index can be reached" in error and len(error.splitlines()) == 1
    assert "Making .venv" in output
    code, output, _ = run_all(repository.root, "demo", **unreachable)
    assert code == 1 and ".venv is unfinished or was moved: rebuilding it" in output


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A place for launch to work in, with the commands recorded instead of run."""
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_text(f'name = "{name}"')
    venv = tmp_path / ".venv"
    commands = []

    def command(*words):
        commands.append(" ".join(map(str, words)))
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin/python").touch()

    for name, value in {
        "ROOT": tmp_path,
        "VENV": venv,
        "READY": venv / "ready",
        "PINS": tmp_path / "requirements.txt",
        "LOG": tmp_path / "data/setup.log",
        "_command": command,
    }.items():
        monkeypatch.setattr(launch, name, value)
    return tmp_path, commands


def test_set_up_runs_once_and_again_only_when_the_pins_change(house):
    root, commands = house
    launch.ensure_environment()
    assert "venv --clear" in commands[0] and len(commands) == 3
    launch.ensure_environment()
    assert len(commands) == 3
    (root / "requirements.txt").write_text("numpy==9.9")
    launch.ensure_environment()
    assert len(commands) == 5 and "venv --clear" not in commands[3]


def test_moved_or_broken_environment_is_made_anew(house):
    root, commands = house
    launch.ensure_environment()
    (root / ".venv/ready").write_text("\n".join(["/elsewhere", launch.wanted()[1]]))
    launch.ensure_environment()
    assert "venv --clear" in commands[3]
    (root / ".venv/bin/python").unlink()
    launch.ensure_environment()
    assert "venv --clear" in commands[6] and len(commands) == 9


def test_set_up_interrupted_at_any_step_is_made_anew(house, monkeypatch):
    root, commands = house
    for step in (1, 2, 3):
        whole = launch._command

        def stop(*words, step=step, whole=whole):
            if len(commands) == step - 1:
                raise KeyboardInterrupt
            whole(*words)

        commands.clear()
        monkeypatch.setattr(launch, "_command", stop)
        with pytest.raises(KeyboardInterrupt):
            launch.ensure_environment()
        assert not (root / ".venv/ready").exists()
        monkeypatch.setattr(launch, "_command", whole)
        commands.clear()
        launch.ensure_environment()
        assert "venv --clear" in commands[0]
        shutil.rmtree(root / ".venv")


def test_optional_weights_are_fetched_and_their_failure_stops_nothing(house, monkeypatch, capsys):
    root, commands = house
    settings = '[tool.ohlora]\noptional-weights = ["landmarks"]\n'
    (root / "pyproject.toml").write_text(settings)
    launch.ensure_environment()
    assert commands[-1].endswith("-m ohlora_lib.checkpoints fetch landmarks")
    assert "landmarks" not in capsys.readouterr().out
    whole = launch._command

    def offline(*words):
        if "fetch" in words:
            raise SetupError("offline")
        whole(*words)

    monkeypatch.setattr(launch, "_command", offline)
    (root / "pyproject.toml").write_text(settings + "# changed\n")
    launch.ensure_environment()
    assert "'landmarks' cannot be fetched now" in capsys.readouterr().out
    assert (root / ".venv/ready").exists()


def test_too_little_disk_is_told_before_anything_is_made(house, monkeypatch):
    root, commands = house
    usage = shutil._ntuple_diskusage(10**10, 10**10, 10**9)
    monkeypatch.setattr(launch.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SetupError, match=r"1\.0 GB free on this disk, the set-up needs 3 GB"):
        launch.ensure_environment()
    assert not commands and not (root / ".venv").exists()


def test_pips_troubles_are_put_into_words():
    assert "disk is full" in launch._explain("ERROR: [Errno 28] No space left on device")
    assert "python3-venv" in launch._explain("ensurepip is not available")
    assert "set-up failed: ERROR: odd" in launch._explain("x\nERROR: odd\n")
