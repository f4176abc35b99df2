"""What goes wrong must be said in a line, lose nothing, and be mended by the next run."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

import psutil
import pytest


def children_with(word, process):
    found = psutil.Process(process.pid).children()
    return [child for child in found if word in child.cmdline()]


def fork_server_of(process):
    (server,) = children_with("ohlora_lib.runner.kernel_fork", process)
    return server


def kernel_of(process):
    forked = hasattr(os, "pidfd_open")
    found = (
        fork_server_of(process).children()
        if forked
        else children_with("ipykernel_launcher", process)
    )
    (kernel,) = found
    return kernel


def assert_no_leftovers(root):
    assert not list(root.rglob(".*.tmp-*")) and not list(root.rglob("*.partial.ipynb"))


def test_killed_kernel_leaves_the_old_report_and_the_next_run_resumes(finished):
    before = finished.reports()
    finished.set(0, seed=7)
    (finished.root / "work.log").unlink()
    process = finished.start_and_wait_for_shard(2, "demo", "--scale", "smoke")
    os.kill(kernel_of(process).pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "notebooks/make.ipynb: its kernel died" in output and "Traceback" not in output
    assert "data/demo/smoke/01_make.partial.ipynb" in output
    assert finished.reports() == before
    (finished.root / "wait").unlink()
    code, output = finished.run("demo", "--scale", "smoke")
    assert code == 0 and "The sum is 42." in finished.reports()["02_read.md"].decode()
    assert finished.work_done() == ["0", "1", "2", "2", "3"], "finished shards are not done again"
    assert_no_leftovers(finished.root)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="kernels are forked on Linux only")
def test_killed_fork_server_takes_its_kernel_along(finished):
    finished.set(0, seed=7)
    (finished.root / "work.log").unlink()
    process = finished.start_and_wait_for_shard(2, "demo", "--scale", "smoke")
    kernel = kernel_of(process)
    fork_server_of(process).kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "notebooks/make.ipynb: its kernel died" in output and "Traceback" not in output
    kernel.wait(timeout=30)


def test_killed_runner_leaves_nothing_half_written_taken_for_finished(finished):
    before = finished.reports()
    finished.set(0, seed=7)
    (finished.root / "work.log").unlink()
    process = finished.start_and_wait_for_shard(2, "demo", "--scale", "smoke")
    kernel = kernel_of(process)
    process.kill()
    process.communicate(timeout=60)
    assert finished.reports() == before
    kernel.wait(timeout=30)  # an orphan would go on writing
    (finished.root / "wait").unlink()
    _, output = finished.run("demo", "--scale", "smoke", "--dry-run")
    assert "would run: unfinished" in output
    code, _ = finished.run("demo", "--scale", "smoke")
    assert code == 0 and "The sum is 42." in finished.reports()["02_read.md"].decode()
    assert finished.work_done() == ["0", "1", "2", "2", "3"]
    assert_no_leftovers(finished.root)


def test_stopped_runner_says_so_and_leaves_no_kernel(finished):
    finished.set(0, seed=7)
    (finished.root / "work.log").unlink()
    process = finished.start_and_wait_for_shard(2, "demo", "--scale", "smoke")
    kernel = kernel_of(process)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "stopped; run it again to resume" in output
    kernel.wait(timeout=30)


def test_picture_that_is_not_shown_by_name_is_refused(repository, demo_cells):
    cells = list(demo_cells.MAKE)
    cells[-1] = "from matplotlib import pyplot\npyplot.plot([1, 2])\nend()"
    repository.write_notebook("make", cells)
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "a picture without a name and alt text: use show()" in output


def test_failing_cell_shows_notebook_cell_exception_and_last_output(repository, demo_cells):
    cells = list(demo_cells.MAKE)
    cells[-1] = "print('about to divide')\n1 / 0\nend()"
    repository.write_notebook("make", cells)
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "Traceback" not in output
    assert f"notebooks/make.ipynb, cell {len(cells)}: ZeroDivisionError: division by zero" in output
    assert "about to divide" in output.split("last lines of output")[1]
    assert not repository.reports()


def test_disk_full_while_writing_keeps_the_old_report_and_says_so(finished, demo_cells):
    before = finished.reports()
    full = "import errno, pathlib\nreal = pathlib.Path.write_bytes\n"
    full += "def write_bytes(path, content):\n    real(path, content[:1])\n"
    full += "    raise OSError(errno.ENOSPC, 'No space left on device')\n"
    full += "pathlib.Path.write_bytes = write_bytes\n"
    full += "from ohlora_lib.store.atomic import write_text\nwrite_text(folder / 'big.txt', 'abc')"
    finished.write_notebook("make", [*demo_cells.MAKE[:-1], full, "end()"])
    code, output = finished.run("demo", "--scale", "smoke")
    assert code == 1 and "no space left while writing" in output and "big.txt" in output
    assert finished.reports() == before
    assert not list((finished.root / "data/demo/smoke/01_make").glob("*big*"))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 12 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_really_full_disk_keeps_the_old_report_and_the_next_run_mends_it(finished, small_disk):
    shutil.copytree(finished.root, small_disk / "repository")
    repository = type(finished)(small_disk / "repository")
    before = repository.reports()
    repository.set(0, seed=7)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "o space left" in output and "Traceback" not in output
    assert repository.reports() == before
    filler.unlink()
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 0 and "The sum is 42." in repository.reports()["02_read.md"].decode()


def test_misspelt_parameter_is_refused_before_anything_runs(repository):
    repository.set(1, sead=1)
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "no parameter 'sead': there are out, seed, n, numbers" in output
    assert not repository.work_done()


def test_wrong_type_is_refused_before_anything_runs(repository):
    for value in ("many", 2.5, True, None, [1]):
        repository.set(1, n=value)
        code, output = repository.run("demo", "--scale", "smoke")
        assert code == 1 and f"notebooks/read.ipynb: n = {value!r}: Input should be" in output
    assert not repository.work_done()


def test_value_out_of_range_is_refused_before_anything_runs(repository):
    repository.set(1, n=0)
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "n = 0: Input should be greater than or equal to 1" in output
    assert not repository.work_done()


def test_notebook_without_parameters_cell_is_refused(repository, demo_cells):
    repository.write_notebook("read", ["# 02", *[c[1] for c in demo_cells.READ[1:2]], "end()"])
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "notebooks/read.ipynb has 0 cells tagged 'parameters'" in output
    assert not repository.work_done()


def test_missing_input_is_named_with_the_remedy(repository):
    code, output = repository.run("demo", "--scale", "smoke", "--only", "02_read")
    assert code == 1 and "reads data/demo/smoke/01_make/numbers.csv, which does not exist" in output
    assert "./run_all.sh demo --scale smoke" in output


def test_missing_input_of_a_late_stage_is_told_before_anything_runs(repository, demo_cells):
    make, read = demo_cells.PIPELINE["stages"]
    late = {**read, "reads": {"numbers": "data/weights/none.safetensors"}}
    repository.write_pipeline({**demo_cells.PIPELINE, "stages": [make, late]})
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "reads data/weights/none.safetensors, which does not exist" in output
    assert not repository.work_done()


def test_cell_that_is_not_python_is_refused_before_anything_runs(repository, demo_cells):
    for name, cells, message in (
        ("read", [*demo_cells.READ[:-1], "1 +* 2", "end()"], "read.ipynb: a cell is not Python"),
        ("read", demo_cells.READ[:-1], "read.ipynb does not call end()"),
        (
            "read",
            [demo_cells.READ[0], ("parameters", "n: int = 1 / 0"), *demo_cells.READ[2:]],
            "the parameters of notebooks/read.ipynb fail: ZeroDivisionError",
        ),
    ):
        repository.write_notebook(name, cells)
        code, output = repository.run("demo", "--scale", "smoke")
        assert code == 1 and message in output and "Traceback" not in output
    repository.write_notebook("read", [*demo_cells.READ[:-1], "%time 1 + 1", "end()"])
    code, output = repository.run("demo", "--scale", "smoke", "--dry-run")
    assert code == 0, output
    assert not repository.work_done()


def test_damaged_record_and_lost_readme_markers_are_told_before_anything_runs(finished):
    record = finished.root / "reports/demo/01_make.json"
    whole = record.read_text()
    finished.set(0, seed=7)
    (finished.root / "work.log").unlink()
    for damage in ("<<<<<<< HEAD", "{}", "[]"):
        record.write_text(damage)
        code, output = finished.run("demo", "--scale", "smoke")
        assert code == 1 and "01_make.json is damaged: delete it and run again" in output
    record.write_text(whole)
    (finished.root / "README.ko.md").write_text("# Demo")
    code, output = finished.run("demo", "--scale", "smoke")
    assert code == 1 and "README.ko.md must have the lines" in output
    assert not finished.work_done()


def test_output_that_differs_in_every_run_is_refused(finished, demo_cells):
    before = finished.reports()
    finished.write_notebook("make", [*demo_cells.MAKE[:-1], "object()", "end()"])
    code, output = finished.run("demo", "--scale", "smoke")
    assert (
        code == 1
        and "the page cannot be published: notebooks/make.ipynb, cell " in output
        and "Traceback" not in output
    )
    assert finished.reports() == before


def test_corrupt_manifest_runs_the_stage_again(finished):
    manifest = finished.root / "data/demo/smoke/01_make.manifest.json"
    whole = manifest.read_text()
    for damage in (whole[: len(whole) // 2], "[]", whole.replace('"stamp"', '"stomp"')):
        manifest.write_text(damage)
        code, output = finished.run("demo", "--scale", "smoke")
        assert code == 0 and "its manifest is damaged" in output
    assert len(finished.reports()) == 3


def test_second_runner_waits_for_the_first_and_then_finds_its_work(repository):
    first = repository.start_and_wait_for_shard(2, "demo", "--scale", "smoke")
    second = repository.start("demo", "--scale", "smoke")
    line = second.stdout.readline()
    assert f"Waiting for another run (process {first.pid}" in line
    (repository.root / "wait").unlink()
    output, _ = second.communicate(timeout=60)
    first.communicate(timeout=60)
    assert first.returncode == second.returncode == 0
    assert output.count("up to date") == 2 and repository.work_done() == ["0", "1", "2", "3"]


def test_page_without_sentinel_is_not_published(finished, demo_cells):
    before = finished.reports()
    finished.write_notebook("make", [*demo_cells.MAKE[:-1], "if n > 99:\n    end()"])
    code, output = finished.run("demo", "--scale", "smoke")
    assert code == 1 and "its last cell did not call end()" in output
    assert finished.reports() == before


def test_promised_file_that_was_not_left_is_an_error(repository, demo_cells):
    first = {**demo_cells.PIPELINE["stages"][0]}
    content = {**demo_cells.PIPELINE, "stages": [first], "readme": {}}
    content["stages"][0]["outputs"] = ["numbers.csv", "letters.csv"]
    repository.write_pipeline(content)
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "did not write data/demo/smoke/01_make/letters.csv" in output
    assert not repository.reports()


def test_folder_with_foreign_files_is_never_emptied(repository):
    folder = repository.root / "data/demo/smoke/01_make"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    code, output = repository.run("demo", "--scale", "smoke", "--force")
    assert code == 1 and "contains files that no notebook wrote" in output
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_mistakes_in_a_pipeline_file_are_named(repository, demo_cells):
    stage = demo_cells.PIPELINE["stages"][0]
    for change, message in (
        ({"noteboko": "x"}, "unknown key 'noteboko'"),
        ({"publish": {"x.txt": "x"}}, "publish: 'x.txt' is not one of its outputs"),
        ({"publish": {"numbers.csv": "../x"}}, "must be a path inside the repository"),
        ({"notebook": "notebooks/none.ipynb"}, "there is no notebook notebooks/none.ipynb"),
        (
            {"reads": {"numbers": "{00_before}/x"}},
            "'00_before': no earlier stage has",
        ),
        ({"scales": {"huge": {}}}, "scales: huge: [key]: 'huge': Input should be 'smoke'"),
        (
            {"scales": {"smoke": [4]}},
            "'01_make': scales: smoke: [4]: Input should be a valid dict",
        ),
        (
            {"outputs": "numbers.csv"},
            "'01_make': outputs: 'numbers.csv': Input should be a valid",
        ),
        ({"name": "../01"}, "a name is made of letters"),
        ({"parameters": {"out": "data/x"}}, "'out' cannot be a parameter"),
        ({"outputs": ["../x"]}, "outputs: 0: '../x': must be a path inside the repository"),
        ({"cost": {"seconds": "n.real"}}, "only numbers, names, + - * / // **"),
        ({"cost": {"hours": 3}}, "cost: hours: [key]: 'hours': Input should be 'seconds'"),
        ({"reads": {"numbers": 3}}, "reads: numbers: 3: Input should be a valid string"),
    ):
        repository.write_pipeline({**demo_cells.PIPELINE, "stages": [{**stage, **change}]})
        code, output = repository.run("demo", "--scale", "smoke")
        assert code == 1 and message in output and "Traceback" not in output
    for change, message in (
        ({"stages": []}, "pipelines/demo.yaml: stages: []: List should have at least 1 item"),
        ({"title": None}, "title: None: Input should be a valid string"),
        ({"sumary": "x"}, "unknown key 'sumary' (known: title, summary, korean, extends"),
        (
            {"readme": {"pictures": "x"}},
            "readme: unknown key 'pictures' (known: picture, korean_alt, animation, results",
        ),
        (
            {"readme": {"rates": [{"label": {"en": "x", "ko": "y", "de": "z"}}]}},
            "readme: rates: 0: label: unknown key 'de' (known: en, ko)",
        ),
        (
            {
                "readme": {
                    "animation": {
                        "stage": "03",
                        "file": "a",
                        "width": 1,
                        "alt": {"en": "a", "ko": "b"},
                    }
                }
            },
            "readme: no stage '03': choose from 01_make, 02_read",
        ),
        ({"readme": {"picture": "03"}}, "readme: no stage '03': choose from 01_make, 02_read"),
    ):
        repository.write_pipeline({**demo_cells.PIPELINE, **change})
        code, output = repository.run("demo", "--scale", "smoke")
        assert code == 1 and message in output and "Traceback" not in output


def test_kernel_that_dies_at_once_is_reported_within_seconds(repository, demo_cells):
    repository.write_notebook("make", [*demo_cells.MAKE[:3], "import os\nos._exit(1)", "end()"])
    began = time.monotonic()
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "its kernel died" in output and time.monotonic() - began < 30
    shutil.rmtree(repository.root / "data")
