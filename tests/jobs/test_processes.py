"""`run_job` with local processes: who works where, and what becomes of those that die."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from jobs.kill_harness import fork, join, lives
from jobs.number_jobs import Squares, append, assert_whole, lines, made, wait_until, workers_of

from synvita_data.errors import EngineError
from synvita_data.jobs import Store, processes, run_job
from synvita_data.jobs.processes import visible_gpus


@pytest.fixture(autouse=True)
def cheap_start(monkeypatch):
    monkeypatch.setattr(processes, "START_METHOD", "fork")


def squares(tmp_path: Path, **settings) -> Squares:
    return Squares(tmp_path / "store", tmp_path / "log", **settings)


def opened(job: Squares) -> list[list[str]]:
    """PID, device and CUDA_VISIBLE_DEVICES of each worker that was opened."""
    return [line.split() for line in lines(job.log.with_name("opened"))]


def test_fresh_processes_share_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "START_METHOD", "spawn")
    # On a starved machine a worker that is killed would close nothing.
    monkeypatch.setattr(processes, "GRACE", 300.0)
    job = squares(tmp_path, count=60, meet=2)
    report = run_job(job, workers=2)
    assert (report.done, report.made, report.crashes, report.exit_status) == (60, 60, (), 0)
    assert len(opened(job)) == len(lines(tmp_path / "closed")) == 2
    assert len(workers_of(job)) == 2
    assert str(os.getpid()) not in workers_of(job)
    assert max(made(job).values()) == 1
    assert_whole(job)


def test_no_more_processes_than_keys(tmp_path):
    job = squares(tmp_path, count=2, seconds=0.1)
    assert run_job(job, workers=5).made == 2
    assert len(opened(job)) <= 2


def test_each_worker_sees_a_gpu_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    job = squares(tmp_path, count=40, meet=2)
    run_job(job, workers=2)
    assert {(device, gpu) for _, device, gpu in opened(job)} == {("cuda:0", "3"), ("cuda:0", "5")}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"
    assert "OMP_NUM_THREADS" not in os.environ


def test_named_devices_are_given_in_turn(tmp_path):
    job = squares(tmp_path, count=40, meet=3)
    run_job(job, workers=3, devices=["cpu", "cuda:1"])
    assert sorted(device for _, device, _ in opened(job)) == ["cpu", "cpu", "cuda:1"]


@pytest.mark.parametrize(
    ("variable", "gpus"), [("0,1", ["0", "1"]), ("", []), ("-1", []), (" GPU-ab , 2", ["GPU-ab", "2"])]
)
def test_visible_gpus_follow_the_variable(monkeypatch, variable, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == gpus


def test_a_killed_worker_is_replaced_and_told(tmp_path):
    job = squares(tmp_path, count=80, opens=3, kills=(7,), together=2)
    told: list[str] = []
    report = run_job(job, workers=2, on_progress=lambda progress: told.extend(progress.news))
    assert (report.done, report.made, report.exit_status) == (80, 80, 0)
    (crash,) = report.crashes
    assert "SIGKILL" in crash.reason
    assert job.key(7) in crash.keys
    assert len(told) == 1
    assert "is started again" in told[0]
    assert len(opened(job)) == 3
    assert_whole(job)


def test_a_key_that_kills_every_worker_is_set_aside(tmp_path):
    job = squares(tmp_path, count=20, seconds=0.02, kills=(7,), together=3, once=False)
    report = run_job(job, workers=2)
    assert (report.done, report.failed, report.lost_workers) == (19, 1, 0)
    assert report.failures[0].key == job.key(7)
    assert "SIGKILL" in report.failures[0].error["problem"]
    assert_whole(job, without=(7,))


def test_no_worker_can_be_opened(tmp_path):
    job = squares(tmp_path, missing=True)
    with pytest.raises(EngineError, match="there is no such model") as raised:
        run_job(job, workers=2)
    assert raised.value.fix == "Download it"


def test_sigterm_stops_the_workers_and_gives_everything_back(tmp_path):
    job = squares(tmp_path, count=40, gate=tmp_path / "never", quota=2, together=2)
    for workers in (1, 2):
        before = len(made(job))
        pid = fork(lambda workers=workers: run_job(job, workers=workers))
        wait_until(lambda before=before: len(made(job)) > before)
        os.kill(pid, signal.SIGTERM)
        assert join(pid) == 143
        states = Store(job.root).scan(job.inputs()).counts
        assert states["claimed"] == 0
        assert list(job.root.glob("??/*.claim")) == list((job.root / "owners").iterdir()) == []
        assert not any(lives(int(worker)) for worker, *_ in opened(job) if int(worker) != os.getpid())
    done = states["done"]
    assert (
        len(made(job)) <= done <= len(made(job)) + 3
    )  # a worker may be stopped after a commit, before it tells
    quick = squares(tmp_path, count=40)
    assert run_job(quick).found == done
    assert max(made(job).values()) == 1
    assert_whole(quick)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sigterm_that_python_drops_stops_the_run_too(tmp_path, workers, monkeypatch):
    """What a handler raises inside a finaliser is dropped; this one raises nowhere else."""
    # The gate never opens: workers are not done before the run has noticed. One process notices between two numbers.
    never = {"gate": tmp_path / "gate", "quota": 10} if workers > 1 else {}
    job = squares(tmp_path, count=40, seconds=0.01, **never)
    seen = []

    class Finaliser:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # the handler runs between two of these lines
                seen.append(1)

    def tell(progress):
        if len(made(job)) >= 3 and not seen:
            Finaliser()

    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: seen.append(dropped.exc_type))
    pid = fork(lambda: run_job(job, workers=workers, on_progress=tell))
    assert join(pid) == 143
    assert 3 <= len(made(job)) < 40
    states = Store(job.root).scan(job.inputs()).counts
    assert states["claimed"] == 0
    assert states["done"] >= len(made(job))
    assert run_job(squares(tmp_path, count=40)).done == 40


class DropsTheFirstSigterm(Squares):
    """A worker whose first SIGTERM arrives in a finaliser, where Python drops what the handler raises."""

    def open_worker(self, device):
        worker = super().open_worker(device)
        log, signals = self.log, []

        class Finaliser:
            def __del__(self):
                append(log.with_name("waits"), "x")
                while not signals:
                    time.sleep(0.01)

        handler = signal.getsignal(signal.SIGTERM)

        def noted(number, frame):
            signals.append(number)
            handler(number, frame)

        signal.signal(signal.SIGTERM, noted)
        write = worker.write

        def write_late(path, content):
            Finaliser()
            write(path, content)

        worker.write = write_late
        return worker


def test_a_worker_that_drops_a_sigterm_gets_another(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "AGAIN", 0.5)
    monkeypatch.setattr(processes, "GRACE", 300.0)
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: None)
    job = DropsTheFirstSigterm(tmp_path / "store", tmp_path / "log", count=40, gate=tmp_path / "never")
    pid = fork(lambda: run_job(job, workers=2))
    wait_until(lambda: len(lines(tmp_path / "waits")) == 2)
    os.kill(pid, signal.SIGTERM)
    assert join(pid) == 143
    assert list(job.root.glob("??/*.claim")) == list((job.root / "owners").iterdir()) == []


def test_an_interrupt_of_the_terminal_reaches_everyone_and_ends_orderly(tmp_path):
    job = squares(tmp_path, count=40, gate=tmp_path / "never", quota=1)

    def run():
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return run_job(job, workers=2)
        except KeyboardInterrupt:
            os._exit(130)

    pid = fork(run)
    wait_until(lambda: len(workers_of(job)) == 2)
    os.killpg(pid, signal.SIGINT)
    assert join(pid) == 130
    assert list(job.root.glob("??/*.claim")) == list((job.root / "owners").iterdir()) == []


def test_workers_end_when_their_parent_is_killed(tmp_path):
    job = squares(tmp_path, count=40, gate=tmp_path / "never", quota=3)
    pid = fork(lambda: run_job(job, workers=2))
    wait_until(lambda: len(workers_of(job)) == 2)
    os.kill(pid, signal.SIGKILL)
    join(pid)
    wait_until(lambda: not any(lives(int(worker)) for worker, *_ in opened(job)))
    assert 2 <= len(made(job)) <= 6
    assert list(job.root.glob("??/*.claim")) == []
