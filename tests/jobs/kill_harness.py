"""Kill a run of any job again and again, and hold it to what is promised.

    from jobs.kill_harness import survive_kills

    def make_job(root: Path) -> Job:  # the same job on another store
        return GenerateJob(root=root, ...)

    def test_kills(tmp_path):
        survive_kills(make_job, tmp_path, kills=5)

Import what the job needs (torch, diffusers) before the call: each run is forked from here, so it costs no import.
Everything must be on one thread (OMP_NUM_THREADS=1, as tests/conftest.py sets), or a forked child may hang.
Runs on Ray are fresh processes (`fresh`): Ray's own threads bear no fork, and the job must be picklable.
"""

import contextlib
import hashlib
import multiprocessing
import os
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jobs.number_jobs import append, lines

from synvita_data.jobs import DONE, Claim, Job, JobReport, Record, Store, processes, run_job

FINAL_NAME = re.compile(r"[0-9a-f]{40}\.\d+of\d+\.(\d+)\.([0-9a-f]{12})\..+")
PATIENCE = 120.0  # seconds a run may take to get anywhere


@dataclass(frozen=True)
class Watched:
    """A job as it is, but that each claim and each commit is told in `log`: `begun KEY PID`, `done KEY PID`.

    No race decides what a kill meets: workers stop where so much has been told as `allow` has allowed, and, until
    `let_it_end`, before the commit after which every key would have been committed. So a run is there to be killed
    however late the kill comes, and it meets about the place that was chosen.
    """

    job: Job
    log: Path

    @property
    def title(self) -> str:
        return self.job.title

    @property
    def root(self) -> Path:
        return self.job.root

    def inputs(self) -> dict[str, Any]:
        return self.job.inputs()

    def open_worker(self, device: str | None) -> "WatchedWorker":
        return WatchedWorker(self.job.open_worker(device), self.log, len(self.job.inputs()))


class WatchedWorker:
    def __init__(self, worker: Any, log: Path, keys: int) -> None:
        self.worker, self.log, self.keys = worker, log, keys

    def run(self, held: Iterator[tuple[Claim, Any]]) -> None:
        def watched() -> Iterator[tuple[Claim, Any]]:
            for claim, need in held:
                self.watch(claim)
                yield claim, need

        self.worker.run(watched())

    def watch(self, claim: Claim) -> None:
        commit = claim.commit

        def told(fields: Any = None) -> bool:
            self.wait_for_leave()
            append(beside(self.log, "commits"), claim.key)
            if len(set(lines(beside(self.log, "commits")))) == self.keys:  # who comes last sees them all
                append(beside(self.log, "at-the-end"), str(os.getpid()))
                while not beside(self.log, "may-end").exists():
                    time.sleep(0.002)
            stands = commit(fields)
            if stands:
                append(self.log, f"done {claim.key} {os.getpid()}")
            return stands

        claim.commit = told
        self.wait_for_leave()
        append(self.log, f"begun {claim.key} {os.getpid()}")

    def wait_for_leave(self) -> None:
        while not beside(self.log, "may-end").exists() and len(lines(self.log)) >= allowed(self.log):
            time.sleep(0.002)

    def close(self) -> None:
        self.worker.close()


def beside(log: Path, what: str) -> Path:
    return log.with_name(f"{log.name}.{what}")


def allow(log: Path, count: int) -> None:
    """Let workers go on until so much has been told (a little more where several are at work)."""
    new = beside(log, "new")
    new.write_text(str(count))
    new.replace(beside(log, "allowed"))


def allowed(log: Path) -> int:
    return int(beside(log, "allowed").read_text())


def let_it_end(log: Path) -> None:
    beside(log, "may-end").touch()


def survive_kills(
    make_job: Callable[[Path], Job],
    folder: Path,
    *,
    kills: int = 5,
    workers: int = 1,
    victim: str = "parent",
    start: str = "fork",
    fresh: bool = False,
    seed: int = 0,
    check: Callable[[Job], None] | None = None,
    **settings: Any,
) -> JobReport:
    """SIGKILL runs of a job at `kills` random moments, finish it, and compare with an undisturbed run.

    Every kill meets a run that works (see `Watched`). Asserted after every kill: each file under a final name has the size and SHA-256 that its name says; each result
    reported done is in the store, whole. At the end: nothing reported done was begun again or reported twice,
    every file equals the undisturbed run's, and no claim or temporary file is left.

    Args:
        make_job: the job on the store `root`. It must be picklable for start="spawn" and for Ray.
        kills: at most half as many as the job has keys for victim="worker".
        victim: "parent" (with one local worker, that is the worker too), "worker", or "either" at random.
        start: how worker processes start; "fork" is cheap, "spawn" is what users have.
        fresh: each run is a new interpreter, not a fork of this process.
        check: called with the finished job.
        settings: further arguments of `run_job`.

    Returns:
        The report of the undisturbed run.
    """
    undisturbed = make_job(folder / "undisturbed")
    report = run_job(undisturbed)
    assert report.exit_status == 0, report.lines()
    job, log = make_job(folder / "killed"), folder / "log"
    keys = list(job.inputs())
    chance = random.Random(seed)
    goals = sorted(chance.sample(range(1, max(kills + 1, int(1.6 * len(keys)))), kills))
    run = partial(run_job, Watched(job, log), workers=workers, **settings)
    begin = start_fresh if fresh else partial(fork, start=start)

    allow(log, 0)
    pid = begin(run)
    for goal in goals:
        allow(log, goal + chance.randint(1, 8))  # on it goes while the kill is on its way
        reach(log, goal, pid)
        time.sleep(chance.uniform(0, report.seconds / len(keys)))  # anywhere in the work on a key
        kill_parent = victim == "parent" or (victim == "either" and chance.random() < 0.5)
        if not (not kill_parent and kill_one_of(log, chance)):
            os.kill(pid, signal.SIGKILL)
            assert join(pid) == -signal.SIGKILL
            pid = begin(run)
        assert_nothing_lost(job, log)
    let_it_end(log)
    status = join(pid)
    assert status == 0, f"the run ended with status {status}"
    wait_for_the_end_of(log)
    assert_nothing_lost(job, log)
    assert_nothing_twice(log)
    store = Store(job.root)
    assert store.scan(keys, "contents").counts == {DONE: len(keys)}
    store.clean_temporary()
    assert contents(job.root) == contents(undisturbed.root)
    assert list(job.root.glob("??/*.claim")) == list((job.root / "owners").iterdir()) == []
    if check is not None:
        check(job)
    return report


def fork(run: Callable[[], JobReport], start: str = "fork") -> int:
    """`run` in a child, whose exit status is the report's (70: an exception; a SystemExit's own)."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        processes.START_METHOD = start
        status = run().exit_status
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 70
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def start_fresh(run: Callable[[], JobReport]) -> int:
    """`run` in a new interpreter, whose exit status is the report's."""
    process = multiprocessing.get_context("spawn").Process(target=_run_and_exit, args=(run,))
    process.start()
    assert process.pid is not None
    return process.pid


def _run_and_exit(run: Callable[[], JobReport]) -> None:
    raise SystemExit(run().exit_status)


def join(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def told(log: Path) -> list[tuple[str, str, int]]:
    """(begun or done, key, PID), in the order in which it was told."""
    parts = [line.split(" ", 1) for line in lines(log)]
    return [(what, *_key_and_pid(rest)) for what, rest in parts]


def _key_and_pid(text: str) -> tuple[str, int]:
    key, _, pid = text.rpartition(" ")
    return key, int(pid)


def at_work(log: Path) -> set[int]:
    """Workers that have begun something they have not told done, and live."""
    open_keys: dict[int, set[str]] = {}
    for what, key, pid in told(log):
        if what == "begun":
            open_keys.setdefault(pid, set()).add(key)
        else:
            open_keys.setdefault(pid, set()).discard(key)
    return {pid for pid, keys in open_keys.items() if keys and lives(pid)}


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill_one_of(log: Path, chance: random.Random) -> bool:
    """SIGKILL a worker with something in hand; False if there is none at the moment."""
    while at := sorted(at_work(log)):
        with contextlib.suppress(ProcessLookupError):  # it ended of itself a moment ago
            os.kill(chance.choice(at), signal.SIGKILL)
            return True
    return False


def reach(log: Path, goal: int, pid: int) -> None:
    """Wait until so much has been told, or nothing but the run's end is left."""
    deadline = time.monotonic() + PATIENCE
    while len(told(log)) < goal and not any(lives(int(at)) for at in lines(beside(log, "at-the-end"))):
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)  # it is not reaped
        assert ended is None, f"the run ended before it was killed: {ended}"
        assert time.monotonic() < deadline, "the run gets nowhere"
        time.sleep(0.002)


def wait_for_the_end_of(log: Path) -> None:
    """Workers of killed parents notice it and stop; no longer than that is waited."""
    deadline = time.monotonic() + PATIENCE
    while any(lives(pid) for _, _, pid in told(log) if pid != os.getpid()):
        assert time.monotonic() < deadline, "workers outlive their parents"
        time.sleep(0.05)


def assert_nothing_lost(job: Job, log: Path) -> None:
    reported = {key for what, key, _ in told(log) if what == "done"}
    for path in job.root.glob("??/*"):
        match = FINAL_NAME.fullmatch(path.name)
        if match:
            content = path.read_bytes()
            assert len(content) == int(match[1]), f"a half file is visible: {path}"
            assert hashlib.sha256(content).hexdigest()[:12] == match[2], f"a half file is visible: {path}"
    store = Store(job.root)
    assert all(isinstance(store.validate(key, deep=True), Record) for key in reported)


def assert_nothing_twice(log: Path) -> None:
    done: set[str] = set()
    for what, key, pid in told(log):
        assert key not in done, f"{key} was reported done, and then again {what} by {pid}"
        if what == "done":
            done.add(key)


def contents(root: Path) -> dict[str, bytes]:
    """Relative path -> content of all of a store's files, but for its clock and what owners have."""
    files = (path for path in root.glob("??/*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
