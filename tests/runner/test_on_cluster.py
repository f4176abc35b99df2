"""--workers and --cluster: the same pages, and nothing is lost when the runner is killed."""

import time

import psutil
import pytest


@pytest.fixture
def parallel(repository, demo_cells):
    """The demo with shards that run where the runner says; a line of `work.log` per shard."""
    old = "files = jobs.run_jobs(work, shards, 'numbers')"
    new = (
        "from ohlora_lib.compute.workers import cpu_workers\n"
        "with cpu_workers() as pool:\n"
        "    files = jobs.run_jobs(work, shards, 'numbers', pool)"
    )
    cells = [cell.replace(old, new) if isinstance(cell, str) else cell for cell in demo_cells.MAKE]
    assert cells != demo_cells.MAKE
    repository.write_notebook("make", cells)
    return repository


def test_a_killed_runner_leaves_nobody_behind_and_its_shards_are_kept(parallel, finished_once):
    run = ("demo", "--scale", "smoke", "--workers", "2")
    process = parallel.start_and_wait_for_shard(2, *run)
    family = psutil.Process(process.pid).children(recursive=True)
    shards = parallel.root / "data/demo/smoke/01_make/shards"
    deadline = time.monotonic() + 30
    while len(list(shards.glob("?.txt"))) < 3:  # all but the one that waits
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    before = parallel.work_done()
    (parallel.root / "wait").unlink()
    code, output = parallel.run(*run)
    assert code == 0, output
    assert "Dask: 2 workers at tls://127.0.0.1:" in output and "dashboard http://" in output
    assert parallel.work_done()[len(before) :] == ["2"]
    assert parallel.reports() == finished_once.reports()
    code, output = parallel.run(*run)
    assert code == 0 and "up to date" in output and "Dask" not in output


def test_a_cluster_that_is_not_there_stops_the_run_with_one_line(repository):
    code, output = repository.run("demo", "--cluster", "tcp://127.0.0.1:1")
    assert code == 1 and "Traceback" not in output
    assert "./run_all.sh: no Dask scheduler answers at tcp://127.0.0.1:1" in output
