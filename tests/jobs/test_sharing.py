"""Two runs on one folder, and disks without room."""

import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from jobs.kill_harness import fork, join
from jobs.number_jobs import Squares, append, assert_whole, lines, made, wait_until, workers_of

from synvita_data.errors import StoreError
from synvita_data.jobs import Store, processes, run_job


@pytest.fixture(autouse=True)
def cheap_start(monkeypatch):
    monkeypatch.setattr(processes, "START_METHOD", "fork")


def squares(tmp_path: Path, **settings) -> Squares:
    return Squares(tmp_path / "store", tmp_path / "log", **settings)


@pytest.mark.parametrize("workers", [1, 2])
def test_two_runs_at_once_share_the_work_and_both_see_it_done(tmp_path, workers):
    job = squares(tmp_path, count=60, meet=2 * workers, together=2)

    def run():
        report = run_job(job, workers=workers)
        assert (report.total, report.done, report.unfinished) == (60, 60, 0)
        assert report.found + report.made + report.by_others == 60
        append(tmp_path / "made", str(report.made))
        return report

    assert [join(pid) for pid in [fork(run), fork(run)]] == [0, 0]
    assert sum(int(count) for count in lines(tmp_path / "made")) == 60
    assert max(made(job).values()) == 1
    assert len(workers_of(job)) >= 2
    assert_whole(job)


@pytest.mark.slow
def test_a_run_waits_for_another_and_takes_over_when_it_is_killed(tmp_path):
    slow = squares(tmp_path, count=1, gate=tmp_path / "never")
    pid = fork(lambda: run_job(slow))
    wait_until(lambda: list(slow.root.glob("??/*.claim/*")))
    quick = squares(tmp_path, count=3)
    waits = tmp_path / "waits"

    def look(progress):  # once a look at the store found the other's key in hand, and nothing else to do
        if len(made(quick)) == 2:
            append(waits, "x")

    waiting = fork(lambda: run_job(quick, on_progress=look))
    wait_until(lambda: len(lines(waits)) >= 2)
    assert os.waitid(os.P_PID, waiting, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None, "it did not wait"
    limited = run_job(quick, limit=5)  # nothing is free, and it does not wait
    assert (limited.found, limited.made, limited.held_back) == (2, 0, 1)
    os.kill(pid, signal.SIGKILL)
    join(pid)
    assert join(waiting) == 0
    assert_whole(quick)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_without_room_ends_the_run_with_the_files_name(tmp_path, workers):
    """A limit on the size of files stands for the disk: squares are longer, records shorter."""
    job = squares(tmp_path, count=12)

    def run():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        try:
            return run_job(job, workers=workers)
        except StoreError as error:
            append(tmp_path / "error", str(error))
            os._exit(0)

    assert join(fork(run)) == 0
    (error,) = lines(tmp_path / "error")
    assert "File too large" in error
    assert "square.txt" in error or str(job.root) in error
    assert made(job) == {}
    assert list(job.root.glob("??/*")) == []
    assert run_job(job).made == 12
    assert_whole(job)


@pytest.mark.slow
def test_a_full_file_system_ends_the_run_and_a_second_one_mends_it(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        job = Squares(disk / "store", tmp_path / "log", 60)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(100_000))
        with pytest.raises(StoreError, match="No space left on device") as raised:
            run_job(job)
        assert raised.value.file is not None
        assert str(disk) in raised.value.file
        before = made(job)
        assert 0 < len(before) < 60
        states = Store(job.root).scan(job.inputs()).counts
        assert states == {"done": len(before), "pending": 60 - len(before)}
        ballast.unlink()
        with pytest.raises(StoreError):  # still too small for all, but it goes on
            run_job(job)
        assert len(made(job)) > len(before)
        subprocess.run([mount, "-o", "remount,size=8m", str(disk)], check=True)
        assert run_job(job).exit_status == 0
        assert max(made(job).values()) == 1
        assert_whole(job)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
