"""Whose fault an error is, and what `quarantine_errors` makes of it."""

import errno
import threading

import pytest
from jobs.number_jobs import Squarer, Squares, made

from synvita_data.errors import StoreError, VideoError
from synvita_data.jobs import Store, is_worker_fault, no_room, quarantine_errors, run_job
from synvita_data.jobs.failures import disk_error, one_line


def raised_from(error: Exception, cause: Exception | None) -> Exception:
    try:
        raise error from cause
    except Exception as raised:
        return raised


def test_no_room_is_seen_through_what_was_made_of_it():
    full = OSError(errno.ENOSPC, "No space left on device", "/a/b")
    assert no_room(full) is full
    assert no_room(raised_from(StoreError("cannot write"), full)) is full
    assert no_room(raised_from(VideoError("x"), raised_from(StoreError("y"), full))) is full
    assert no_room(OSError(errno.EDQUOT, "Disk quota exceeded")) is not None
    for other in (
        FileNotFoundError(errno.ENOENT, "no"),
        ValueError("No space left on device"),
        StoreError("x"),
    ):
        assert no_room(other) is None


def test_a_store_that_may_not_be_written_to_ends_a_run_and_is_no_crash(tmp_path):
    refused = PermissionError(errno.EACCES, "Permission denied", "/a/b")
    error = raised_from(StoreError("cannot claim key 'k'", file="/a"), refused)
    assert disk_error(error, tmp_path) is error
    # Not so a video that may not be read: other rows have others.
    assert disk_error(raised_from(VideoError("cannot be opened"), refused), tmp_path) is None
    assert disk_error(refused, tmp_path) is None


def test_faults_of_a_worker_are_told_from_faults_of_a_row():
    assert is_worker_fault(MemoryError())
    assert is_worker_fault(raised_from(VideoError("cannot decode"), MemoryError()))
    assert is_worker_fault(RuntimeError("CUDA error: an illegal memory access was encountered"))
    for other in (ValueError("x"), RuntimeError("shapes differ"), VideoError("no CUDA error here")):
        assert not is_worker_fault(other)


def test_torchs_own_kinds_count_too():
    torch = pytest.importorskip("torch")
    assert is_worker_fault(torch.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("bad row"), "quarantined"),
        (VideoError("cannot be decoded", file="a.mp4"), "quarantined"),
        (FileNotFoundError(errno.ENOENT, "none", "a.mp4"), "quarantined"),
        (MemoryError("no memory"), "released"),
        (OSError(errno.ENOSPC, "No space left on device", "a.mp4"), "released"),
        (KeyboardInterrupt(), "released"),
    ],
)
def test_settling_sets_aside_what_is_wrong_with_the_key_only(tmp_path, error, outcome):
    with Store(tmp_path) as store:
        claim = store.claim("k")
        if outcome == "quarantined":
            with quarantine_errors(claim):
                raise error
            assert store.failure("k").error["reason"] == type(error).__name__
        else:
            with pytest.raises(type(error)), quarantine_errors(claim):
                raise error
            assert store.failure("k") is None
        assert claim.outcome == outcome


def test_an_error_after_the_commit_is_not_the_keys(tmp_path):
    def commit_and_fail(claim):
        with quarantine_errors(claim):
            claim.commit({})
            raise ValueError("afterwards")

    with Store(tmp_path) as store:
        with pytest.raises(ValueError, match="afterwards"):
            commit_and_fail(store.claim("k"))
        assert store.scan(["k"]).counts == {"done": 1}


def test_one_line_names_the_place():
    def here():
        raise ValueError("two\nlines")

    try:
        here()
    except ValueError as error:
        text = one_line(error)
    assert text.startswith("ValueError: two lines (test_faults.py, line ")
    assert text.endswith(", in here)")


class DrawsInAThread(Squarer):
    """Takes claims in a thread of its own, as one that decodes ahead does, and breaks at number 5."""

    def run(self, held):
        drawn, failed, ready = [], threading.Event(), threading.Semaphore(0)

        def draw():
            for pair in held:
                drawn.append(pair)
                ready.release()
            failed.set()
            ready.release()

        thread = threading.Thread(target=draw)
        thread.start()
        while ready.acquire() and not (failed.is_set() and not drawn):
            claim, number = drawn.pop(0)
            if number == 5 and self.may("break", 5):
                raise MemoryError("at 5")
            self.settle([(claim, number)])
        thread.join()


class ThreadedSquares(Squares):
    def open_worker(self, device):
        return DrawsInAThread(self)


def test_a_worker_may_draw_in_a_thread_and_break_meanwhile(tmp_path):
    job = ThreadedSquares(tmp_path / "store", tmp_path / "log", 30)
    report = run_job(job)
    assert (report.done, report.exit_status, len(report.crashes)) == (30, 0, 1)
    assert set(made(job).values()) == {1}
    assert list(job.root.glob("??/*.claim")) == []
