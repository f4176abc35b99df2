"""The runner, end to end, on a two-stage pipeline in a temporary repository."""

import json
import re
import shutil
import subprocess
import time

import nbformat
from nbformat.v4 import new_output


def lines(output, word):
    return [line for line in output.splitlines() if word in line]


def test_second_call_does_no_work_in_under_five_seconds(finished):
    before = finished.reports()
    began = time.monotonic()
    code, output = finished.run("demo", "--scale", "smoke")
    assert time.monotonic() - began < 5
    assert code == 0 and len(lines(output, "up to date")) == 2
    assert finished.work_done() == ["0", "1", "2", "3"]
    assert finished.reports() == before


def test_first_run_leaves_pages_figures_index_and_readme_results(finished):
    page = finished.reports()["01_make.md"].decode()
    picture = re.search(r'<img src="(\S+)" alt="A line that rises" title="The numbers"', page)[1]
    assert set(finished.reports()) == {"01_make.md", "02_read.md", picture}
    assert "Scale: smoke. Seed: 3." in page and "\n\nn = `4`\n\n</details>" in page
    assert "import" not in page, "a page shows no code"
    assert "numbers: 4 done" not in page, "a progress bar is no part of a page"
    index = (finished.root / "reports/README.md").read_text()
    assert "The sum is 18." in index
    for name, row in (("README.md", "| The sum | 18 | 18 | a reader |"),
                      ("README.ko.md", "| 합계 | 18 | 18 | 독자 |")):  # fmt: skip
        text = (finished.root / name).read_text()
        assert row in text and f'<img src="reports/demo/{picture}"' in text


def test_changed_parameter_runs_that_stage_and_those_after_it_only(finished):
    finished.set(0, seed=5)
    code, output = finished.run("demo", "--scale", "smoke")
    assert code == 0 and not lines(output, "up to date")
    assert "The sum is 30." in finished.reports()["02_read.md"].decode()
    finished.set(1, n=2)
    _, output = finished.run("demo", "--scale", "smoke")
    assert lines(output, "up to date")[0].startswith("[1/2]")
    assert "its parameters changed" in lines(output, "[2/2]")[0]


def test_library_code_counts_only_for_stages_that_use_it(finished):
    tables = finished.root / "ohlora_lib/store/tables.py"
    tables.write_text(tables.read_text() + "\nCHANGED = 1\n")
    shards = finished.root / "ohlora_lib/compute/jobs.py"
    shards.write_text(shards.read_text() + "\nCHANGED = 1\n")
    _, output = finished.run("demo", "--scale", "smoke", "--dry-run")
    assert len(lines(output, "library code that it uses changed")) == 2
    finished.run("demo", "--scale", "smoke")
    shards.write_text(shards.read_text() + "\nCHANGED = 2\n")
    _, output = finished.run("demo", "--scale", "smoke", "--dry-run")
    assert lines(output, "library code")[0].startswith("[1/2]") and lines(output, "up to date")


def test_a_page_or_script_counts_as_the_code_of_the_module_of_its_name(finished):
    (finished.root / "ohlora_lib/store/tables.js").write_text("1")
    (finished.root / "ohlora_lib/store/unrelated.js").write_text("1")
    _, output = finished.run("demo", "--scale", "smoke", "--dry-run")
    assert len(lines(output, "library code that it uses changed")) == 2
    (finished.root / "ohlora_lib/store/tables.js").unlink()
    _, output = finished.run("demo", "--scale", "smoke", "--dry-run")
    assert len(lines(output, "up to date")) == 2


def test_two_runs_from_scratch_give_identical_pages_and_pictures(finished, demo_cells, tmp_path):
    other = demo_cells.Repository.create(tmp_path / "elsewhere")
    other.run("demo", "--scale", "smoke")
    assert finished.reports() == other.reports()
    assert len(finished.reports()) == 3
    code, _ = other.run("demo", "--scale", "smoke", "--force")
    assert code == 0 and finished.reports() == other.reports()


def test_force_only_from_and_dry_run_choose_stages(finished):
    _, output = finished.run("demo", "--scale", "smoke", "--only", "02_read", "--force")
    assert "(last time" in output and "[1/2]" not in output
    _, output = finished.run("demo", "--scale", "smoke", "--from", "02_read")
    assert "[1/2]" not in output and "up to date" in output
    _, output = finished.run("demo", "--scale", "quick", "--dry-run")
    assert len(lines(output, "would run: first time")) == 2
    assert not (finished.root / "data/demo/quick").exists()


def test_page_with_code_is_written_on_request(finished):
    code, _ = finished.run("demo", "--scale", "smoke", "--with-code")
    page = finished.reports()["01_make.with_code.md"].decode()
    assert code == 0 and "```python\nend()\n```" in page


def test_lost_page_is_written_again_without_running(finished):
    page = finished.root / "reports/demo/02_read.md"
    before = page.read_bytes()
    page.unlink()
    _, output = finished.run("demo", "--scale", "smoke")
    assert len(lines(output, "up to date")) == 2 and page.read_bytes() == before


def test_published_output_is_copied_into_reports_and_again_if_it_is_lost(finished):
    copy = finished.root / "reports/sum/total.txt"
    assert copy.read_text() == (finished.root / "data/demo/smoke/02_read/sum.txt").read_text()
    copy.unlink()
    _, output = finished.run("demo", "--scale", "smoke")
    assert "page rewritten" in lines(output, "[2/2]")[0] and copy.exists()


def test_deleted_output_is_made_again(finished):
    (finished.root / "data/demo/smoke/01_make/numbers.csv").unlink()
    code, output = finished.run("demo", "--scale", "smoke")
    assert code == 0 and "numbers.csv changed" in lines(output, "[1/2]")[0]
    # Its contents came out the same, so the stage that reads it need not run.
    assert "up to date" in lines(output, "[2/2]")[0]


def test_runs_are_recorded_with_cost_parameters_and_versions(finished):
    records = (finished.root / "data/runs.jsonl").read_text().splitlines()
    record = json.loads(records[0])
    assert record["stage"] == "01_make" and record["parameters"]["n"] == 4
    assert record["seconds"] > 0 and record["peak_mb"] > 50 and record["versions"]["torch"]


def test_large_figure_is_kept_small(repository, demo_cells):
    noisy = "import numpy as np\nshow(np.random.default_rng(0).integers(0, 255, (900, 900, 3), "
    noisy += "dtype=np.uint8), 'line', 'Noise', 'Noise')"
    cells = [noisy if "pyplot.subplots" in cell else cell for cell in demo_cells.MAKE]
    repository.write_notebook("make", cells)
    assert repository.run("demo", "--scale", "smoke")[0] == 0
    pictures = [name for name in repository.reports() if name.endswith(".webp")]
    assert len(pictures) == 1 and len(repository.reports()[pictures[0]]) <= 400_000


def test_damaged_output_is_made_anew_from_nothing(finished):
    """Going on with what lies there would take the damage for the new truth."""
    folder = finished.root / "data/demo/smoke/01_make"
    (folder / "shards/1.txt").write_text("999")
    table = folder / "numbers.csv"
    table.write_text(table.read_text().replace("3.0", "999.0"))
    code, output = finished.run("demo", "--scale", "smoke")
    assert code == 0 and "numbers.csv changed" in output
    assert "999" not in table.read_text() and (folder / "shards/1.txt").read_text() == "3"


def test_stage_may_read_a_file_of_an_earlier_one_or_its_whole_folder(repository, demo_cells):
    make, read = demo_cells.PIPELINE["stages"]
    stages = [
        {**make, "outputs": ["numbers.csv", "shards"]},
        {**read, "reads": {"numbers": "{01_make}/shards/../numbers.csv"}},
    ]
    repository.write_pipeline({**demo_cells.PIPELINE, "stages": stages})
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 1 and "must be a path inside the repository" in output
    (repository.root / "notebooks/read.ipynb").unlink()
    cells = [cell for cell in demo_cells.READ if "total = " not in cell and "finding(" not in cell]
    repository.write_notebook("read", cells)
    stages[1] = {
        **read,
        "outputs": [],
        "publish": {},
        "reads": {"numbers": "{01_make}/shards/1.txt"},
    }
    whole = {**stages[1], "name": "03_read", "reads": {"numbers": "{01_make}"}}
    repository.write_pipeline({**demo_cells.PIPELINE, "stages": [*stages, whole]})
    code, output = repository.run("demo", "--scale", "smoke")
    assert code == 0, output


def test_saving_a_notebook_with_outputs_is_no_change(finished):
    path = finished.root / "notebooks/make.ipynb"
    opened = nbformat.read(path, as_version=4)
    opened.cells[-1].outputs = [new_output("stream", name="stdout", text="explored")]
    opened.cells[-1].execution_count = 7
    opened.metadata["language_info"] = {"name": "python", "version": "3.99"}
    nbformat.write(opened, path)
    _, output = finished.run("demo", "--scale", "smoke", "--dry-run")
    assert len(lines(output, "up to date")) == 2
    opened.cells[-1].source += "\n# a remark"
    nbformat.write(opened, path)
    _, output = finished.run("demo", "--scale", "smoke", "--dry-run")
    assert "its notebook changed" in output


def test_lost_picture_and_changed_report_code_write_the_page_again(finished):
    before = finished.reports()
    picture = next(name for name in before if name.endswith(".webp"))
    (finished.root / "reports/demo" / picture).unlink()
    _, output = finished.run("demo", "--scale", "smoke")
    assert "up to date, page rewritten" in lines(output, "[1/2]")[0]
    assert finished.reports() == before
    template = finished.root / "ohlora_lib/pages/templates/ohlora/index.md.j2"
    template.write_text(template.read_text() + "A new foot.\n")
    _, output = finished.run("demo", "--scale", "smoke")
    assert output.count("page rewritten") == 2
    assert finished.reports()["02_read.md"].endswith(b"A new foot.\n")


def test_page_follows_the_scale_that_was_asked_for(finished):
    before = finished.reports()
    code, _ = finished.run("demo", "--scale", "quick")
    assert code == 0 and b"Scale: quick" in finished.reports()["01_make.md"]
    _, output = finished.run("demo", "--scale", "smoke")
    assert output.count("page rewritten") == 2 and finished.reports() == before


def test_run_from_scratch_leaves_git_status_clean(finished):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", *who, *words]
        return subprocess.run(
            command, cwd=finished.root, check=True, capture_output=True, text=True
        ).stdout

    (finished.root / ".gitignore").write_text("/data/\n__pycache__/\n/work.log\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "one run")
    shutil.rmtree(finished.root / "data")
    code, output = finished.run("demo", "--scale", "smoke")
    assert code == 0, output
    assert git("status", "--short") == ""


def test_kernels_without_the_fork_server_give_the_same_pages(finished, demo_cells, tmp_path):
    other = demo_cells.Repository.create(tmp_path / "plain")
    code, output = other.run("demo", "--scale", "smoke", OHLORA_FORK_KERNELS="0")
    assert code == 0, output
    assert other.reports() == finished.reports()
