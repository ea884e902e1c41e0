"""`run_job` in one process: what is done, what is said of it, and what a second run makes of the rest."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns.kills import Effects
from jobs.number_jobs import Squarer, Squares, append, assert_whole, lines, made

from synvita_data.errors import EngineError
from synvita_data.jobs import Shard, Store, complete, results, run, run_job


def squares(tmp_path: Path, **settings) -> Squares:
    return Squares(tmp_path / "store", tmp_path / "log", **settings)


def opened(job: Squares) -> int:
    return len(lines(job.log.with_name("opened")))


def artefact(job: Squares, number: int) -> Path:
    return Store(job.root).validate(job.key(number)).path("square.txt")


def test_a_job_is_done_in_order_and_a_second_run_opens_nothing(tmp_path):
    job = squares(tmp_path, count=12)
    report = run_job(job)
    assert (report.total, report.done, report.found, report.made, report.by_others) == (12, 12, 0, 12, 0)
    assert (report.failed, report.unfinished, report.held_back, report.damaged) == (0, 0, 0, ())
    assert report.exit_status == 0
    assert report.lines()[0].startswith("squaring: 12 of 12 done (0 found done, 12 made now) in ")
    assert list(made(job)) == list(range(12))
    assert_whole(job)
    again = run_job(job)
    assert (again.total, again.done, again.found, again.made) == (12, 12, 12, 0)
    assert opened(job) == len(lines(tmp_path / "closed")) == 1
    assert len(lines(job.log)) == 12


def test_an_empty_job_is_done(tmp_path):
    report = run_job(squares(tmp_path, count=0))
    assert (report.total, report.done, report.exit_status) == (0, 0, 0)
    assert not (tmp_path / "store").exists()


def test_rows_that_raise_are_set_aside_and_done_when_asked_for(tmp_path):
    bad = squares(tmp_path, count=10, raises=(3, 7))
    report = run_job(bad)
    assert (report.done, report.failed, report.exit_status) == (8, 2, 1)
    assert [failure.key for failure in report.failures] == [bad.key(3), bad.key(7)]
    assert "3 is a bad number" in "\n".join(report.lines())
    good = dataclasses.replace(bad, raises=())
    untouched = run_job(good)
    assert (untouched.found, untouched.made, untouched.failed, untouched.exit_status) == (8, 0, 2, 1)
    assert opened(good) == 1
    mended = run_job(good, retry_failed=True)
    assert (mended.found, mended.made, mended.failed, mended.exit_status) == (8, 2, 0, 0)
    assert_whole(good)
    assert max(made(good).values()) == 1


def test_a_worker_that_breaks_is_opened_again_and_its_keys_are_done(tmp_path):
    job = squares(tmp_path, count=10, breaks=(4,), together=3)
    told: list[str] = []
    report = run_job(job, on_progress=lambda progress: told.extend(progress.news))
    assert (report.done, report.exit_status, opened(job)) == (10, 0, 2)
    (crash,) = report.crashes
    assert crash.worker == 0
    assert crash.reason.startswith("MemoryError: no memory at 4 (number_jobs.py, line ")
    assert set(crash.keys) == {job.key(3), job.key(4), job.key(5)}
    assert len(told) == 1
    assert "crashed with 3 claimed keys" in told[0]
    assert list(made(job)) == [0, 1, 2, 6, 7, 8, 9, 3, 4, 5]  # what it broke with is done last
    assert_whole(job)


@pytest.mark.slow
def test_a_key_that_breaks_every_worker_is_set_aside_and_its_neighbours_are_done(tmp_path):
    job = squares(tmp_path, count=10, breaks=(4,), together=3, once=False)
    report = run_job(job)
    assert (report.done, report.failed, report.unfinished, report.lost_workers) == (9, 1, 0, 0)
    assert [len(crash.keys) for crash in report.crashes] == [3, 1, 1]
    (failure,) = report.failures
    assert failure.key == job.key(4)
    assert "3 workers crashed" in failure.error["problem"]
    assert "no memory at 4" in failure.error["problem"]
    assert_whole(job, without=(4,))


@pytest.mark.slow
def test_a_worker_that_only_breaks_is_given_up_and_the_next_run_mends_it(tmp_path):
    job = squares(tmp_path, count=50, breaks=tuple(range(50)), once=False)
    report = run_job(job)
    assert (report.done, report.lost_workers, report.exit_status) == (0, 1, 1)
    assert len(report.crashes) == opened(job) == 5
    assert report.unfinished == 50 - report.failed
    assert report.failed <= 1, "a broken worker must not set aside what it was given"
    assert "still to do" in report.lines()[-1]
    well = dataclasses.replace(job, breaks=())
    assert run_job(well, retry_failed=True).exit_status == 0
    assert_whole(well)


def test_a_worker_that_cannot_be_opened_ends_the_run_at_once(tmp_path):
    job = squares(tmp_path, missing=True)
    with pytest.raises(EngineError, match="there is no such model"):
        run_job(job)
    assert Store(job.root).scan(job.inputs()).counts == {"pending": 20}


class Negligent(Squarer):
    """Leaves every third claim open."""

    def settle(self, batch):
        super().settle([(claim, number) for claim, number in batch if number % 3])


@dataclasses.dataclass(frozen=True)
class NegligentSquares(Squares):
    def open_worker(self, device):
        append(self.log.with_name("opened"), "x")
        return Negligent(self)


@pytest.mark.slow
def test_a_worker_that_settles_not_all_is_reported_and_ends(tmp_path):
    job = NegligentSquares(tmp_path / "store", tmp_path / "log", 7)
    report = run_job(job)
    assert report.done == 4
    assert report.exit_status == 1
    assert "ended without a result" in report.crashes[0].reason
    assert report.failed + report.unfinished == 3


def test_results_that_were_deleted_or_cut_are_made_again_and_told(tmp_path):
    job = squares(tmp_path, count=8)
    run_job(job)
    artefact(job, 2).unlink()
    cut = artefact(job, 5)
    cut.write_bytes(cut.read_bytes()[:-1])
    report = run_job(job)
    assert (report.found, report.made, report.mended) == (6, 2, 2)
    assert {key: why.split(": ")[1][:28] for key, why in report.damaged} == {
        job.key(2): "the file square.txt of a res",
        job.key(5): "the file square.txt of a res",
    }
    assert any("2 results were damaged, 2 of them are mended" in line for line in report.lines())
    assert_whole(job)
    assert run_job(job).damaged == ()


def test_changed_bytes_are_found_by_their_sha256(tmp_path):
    job = squares(tmp_path, count=8)
    run_job(job)
    changed = artefact(job, 3)
    content = changed.read_bytes()
    changed.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert run_job(job).made == 0
    report = run_job(job, verify="contents")
    assert (report.found, report.made, report.mended) == (7, 1, 1)
    assert "SHA-256" in report.damaged[0][1]
    assert_whole(job)


def test_checking_is_followed_apart_from_the_work(tmp_path):
    job = squares(tmp_path, count=4)
    run_job(job)
    seen = []
    run_job(job, verify="contents", on_progress=seen.append)
    assert [(one.title, one.done, one.total) for one in seen] == [
        ("checking results of squaring", done, 4) for done in range(4)
    ]


def test_the_jobs_own_check_looks_into_results(tmp_path):
    job = squares(tmp_path, count=8)
    with Store(job.root) as store, store.claim(job.key(6)) as claim:
        claim.path("square.txt").write_bytes(b"an older program's idea of a square")
        claim.commit({"number": 6})
    assert run_job(job).found == 1
    report = run_job(job, verify="contents", limit=1)
    assert report.damaged == ((job.key(6), "not the square"),)
    assert (report.found, report.made, report.mended) == (7, 1, 1)
    assert_whole(job)


def test_a_limit_counts_what_is_not_done_yet(tmp_path):
    job = squares(tmp_path, count=10)
    first = run_job(job, limit=4)
    assert (first.done, first.made, first.held_back, first.unfinished, first.exit_status) == (4, 4, 6, 0, 0)
    assert list(made(job)) == [0, 1, 2, 3]
    second = run_job(job, limit=4)
    assert (second.found, second.made, second.held_back) == (4, 4, 2)
    third = run_job(job, limit=4)
    assert (third.found, third.made, third.held_back) == (8, 2, 0)
    assert "left for another run" in "\n".join(second.lines())
    assert_whole(job)


def test_shards_are_disjoint_and_make_the_whole(tmp_path):
    job = squares(tmp_path, count=40)
    reports = [run_job(job, shard=shard) for shard in ("0/3", "1/3", Shard(2, 3))]
    assert sum(report.total for report in reports) == sum(report.made for report in reports) == 40
    assert all(report.total == report.made for report in reports)
    assert max(made(job).values()) == 1
    assert_whole(job)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"engine": "spark"}, "unknown engine"),
        ({"workers": 0}, "workers is too small"),
        ({"limit": 0}, "limit is too small"),
        ({"shard": "3/3"}, "unknown shard"),
        ({"shard": "a/b"}, "cannot be read"),
        ({"verify": "names"}, "unknown way to verify results"),
        ({"address": "auto"}, "only Ray has an address"),
        ({"devices": []}, "devices cannot be named"),
        ({"devices": ["cpu"], "engine": "ray"}, "devices cannot be named"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_happens(tmp_path, wrong, message):
    job = squares(tmp_path)
    with pytest.raises(EngineError, match=message):
        run_job(job, **wrong)
    assert not job.root.exists()


@pytest.mark.parametrize("every", [0.0, 3600.0])
def test_progress_counts_up_to_the_report_and_is_told_no_more_often_than_it_may(tmp_path, monkeypatch, every):
    monkeypatch.setattr(run, "SAY_EVERY", every)
    job = squares(tmp_path, count=30, raises=(9,))
    run_job(dataclasses.replace(job, count=5))
    seen = []
    report = run_job(job, on_progress=seen.append)
    assert seen[0].done == seen[0].found == report.found == 5
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert (seen[-1].done, seen[-1].failed, seen[-1].total) == (report.done, report.failed, 30) == (29, 1, 30)
    if every:
        assert len(seen) < 10, "it was told between looks at the store"
    else:
        assert {one.done for one in seen} >= set(range(5, 30)) - {9}


def test_results_come_in_the_order_of_the_job(tmp_path):
    job = squares(tmp_path, count=6)
    run_job(job, shard="0/2")
    mine = set(Shard(0, 2).take(job.inputs()))
    found = list(results(job))
    assert [need for _, need, _ in found] == list(range(6))
    assert {key for key, _, record in found if record is not None} == mine
    assert all(record.fields == {"number": need} for _, need, record in found if record is not None)


def test_the_device_of_a_single_worker_is_passed_on(tmp_path):
    job = squares(tmp_path, count=1)
    run_job(job, devices=["cuda:3"])
    assert lines(tmp_path / "opened")[0].split()[1] == "cuda:3"


def test_a_finished_job_imports_nothing_heavy(tmp_path, repo_root):
    job = squares(tmp_path, count=5)
    run_job(job)
    program = f"""
import sys
from pathlib import Path
from jobs.number_jobs import Squares
from synvita_data.jobs import run_job
report = run_job(Squares(Path({str(job.root)!r}), Path({str(job.log)!r}), 5), workers=2, engine="ray")
heavy = "numpy torch ray pyarrow datasets transformers diffusers av rich pandas multiprocessing".split()
print(report.found, [name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{repo_root}/tests:{repo_root}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "5 []\n"


def test_the_scans_benchmark_runs(repo_root, tmp_path):
    command = [sys.executable, str(repo_root / "benchmarks" / "store_scan.py"), "--small"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=True)
    figures = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert "run_job files, 1,000 keys, to the first worker" in figures
    assert "run_job json, peak memory" in figures


def do_two(root: Path) -> None:
    complete(Store(root), ["a", "b"], lambda claim: claim.commit({"key": claim.key}))


def killed_before(effect: int, root: Path) -> bool:
    """Do two keys in a child that is killed before its n-th effect on files; whether it was."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            Effects(root, effect).install()
            do_two(root)
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.slow
def test_a_kill_at_any_step_leaves_nothing_that_the_next_run_does_not_clear(tmp_path):
    effect = claims = 0
    killed = True
    while killed:
        effect += 1
        root = tmp_path / str(effect)
        killed = killed_before(effect, root)
        store = Store(root)
        claims += store.scan(["a", "b"]).counts["done"] == 2 and any(root.glob("??/*.claim"))
        do_two(root)
        assert store.scan(["a", "b"]).counts["done"] == 2
        files = [path.name for path in root.rglob("*") if path.is_file() and path.name != "clock"]
        assert len(files) == 2
        assert list(root.glob("??/*.claim")) == list((root / "owners").iterdir()) == []
    assert effect > 15
    assert claims  # a finished key was still claimed


def test_a_turn_is_taken_from_who_was_killed_in_it(tmp_path):
    pid = os.fork()
    if not pid:
        with Store(tmp_path).turn("alone"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    store = Store(tmp_path)
    assert store.has_leftovers()
    with store.turn("alone"):
        assert Store(tmp_path).claim("alone") is None
    store.close()
    assert not store.has_leftovers()
    assert list(tmp_path.glob("??/*.claim")) == list((tmp_path / "owners").iterdir()) == []
