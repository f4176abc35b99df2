"""Jobs: finished ones are kept, a failed one writes no file, executors give the same files."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ohlora_lib.compute import jobs as compute_jobs
from ohlora_lib.compute.jobs import Job, gather, run_jobs


def write_square(task, path):
    path.write_text(str(task**2))


def jobs(folder, count=4):
    return [Job(folder / f"{k}.txt", k) for k in range(count)]


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    monkeypatch.setenv("OHLORA_HEADLESS", "1")


def test_only_missing_shards_are_made(tmp_path):
    (tmp_path / "1.txt").write_text("kept")
    files = run_jobs(write_square, jobs(tmp_path), "squares")
    assert [file.read_text() for file in files] == ["0", "kept", "4", "9"]


def test_failed_shard_leaves_no_file_and_the_next_run_goes_on_from_there(tmp_path):
    made = []

    def fail_once_at_two(task, path):
        made.append(task)
        path.write_text("half")
        if task == 2 and made.count(2) == 1:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        run_jobs(fail_once_at_two, jobs(tmp_path), "squares")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.txt", "1.txt"]
    run_jobs(fail_once_at_two, jobs(tmp_path), "squares")
    assert made == [0, 1, 2, 2, 3]


def test_executor_gives_the_same_files_in_the_jobs_order(tmp_path):
    alone = run_jobs(write_square, jobs(tmp_path / "alone"), "squares")
    with ThreadPoolExecutor(3) as pool:
        together = run_jobs(write_square, jobs(tmp_path / "together"), "squares", pool)
    assert [f.read_text() for f in alone] == [f.read_text() for f in together]


def test_headless_bar_leaves_one_line_without_a_time(tmp_path, capsys):
    run_jobs(write_square, jobs(tmp_path), "squares")
    assert capsys.readouterr().err == "squares: 4 done\n"


def test_after_a_failure_waiting_jobs_are_not_done_first(tmp_path):
    done = []

    def fail_at_once(task, path):
        done.append(task)
        time.sleep(0.02)
        raise RuntimeError("disk gone")

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError):
        run_jobs(fail_at_once, jobs(tmp_path, 50), "squares", pool)
    assert len(done) < 10


class Slow(ThreadPoolExecutor):
    """Notes how many pieces of work it holds at most."""

    held = most = 0

    def submit(self, work, /, *given):
        def at_last(*given):
            time.sleep(0.002)
            return work(*given)

        future = super().submit(at_last, *given)
        self.held += 1
        self.most = max(self.most, self.held)
        future.add_done_callback(self.release)
        return future

    def release(self, _):
        self.held -= 1


def test_few_pieces_of_work_are_handed_over_ahead_of_time(tmp_path, monkeypatch):
    """Each takes a whole network along: a long test's would fill the memory."""
    monkeypatch.setattr(compute_jobs, "processes_for", lambda: 2)
    with Slow(2) as pool:
        assert gather(pow, [(k, 2) for k in range(40)], pool) == [k**2 for k in range(40)]
        run_jobs(write_square, jobs(tmp_path, 40), "squares", pool)
    assert pool.most == 4


def test_results_come_in_order_and_the_bar_counts_each(capsys):
    def earlier_ones_take_longer(k):
        time.sleep(0.02 * (4 - k))
        return k

    with ThreadPoolExecutor(4) as pool:
        given = [(k,) for k in range(4)]
        assert gather(earlier_ones_take_longer, given, pool, "numbers") == [0, 1, 2, 3]
    assert gather(pow, [], None, "nothing") == []
    assert capsys.readouterr().err == "numbers: 4 done\nnothing: 0 done\n"
