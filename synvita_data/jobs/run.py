"""`run_job`: do what a job still needs, by the chosen engine, and report.

A run scans the store, starts workers for what is to be done, notices when one crashes, starts it again, and returns
when every key is done or in quarantine. `run_here` does the same with a worker of this process whose errors are
raised, and `complete` with a function instead of a job.
"""

import contextlib
import os
import re
import secrets
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..display import get_logger
from ..errors import EngineError, StoreError, SynvitaError
from .claim import Claim
from .job import CheckedJob, Job, RunOptions, SameFaultJob
from .records import CLAIMED, DONE, PENDING, QUARANTINED, Failure, Record, Scan
from .report import Crash, JobProgress, JobReport, reason
from .store import Store
from .worker import Event, ThisProcess, WorkerPool

CRASHES_IN_A_ROW = 5  # of one worker without a result in between; then it is given up
CRASHES_OF_A_KEY = 3  # workers that crash with it claimed, the last with it alone; then it is quarantined
IDLE_ROUNDS = 3  # times that workers may find nothing to claim although something seems free
POLL = 0.5  # seconds between looks at the workers
LOOK_EVERY = 5.0  # seconds between scans of the store, for what other runs do; more where a scan takes long
SAY_EVERY = 0.2  # seconds between calls of `on_progress`
REASONS_READ = 200  # failures whose reasons are read for the report

OnProgress = Callable[[JobProgress], None]

_log = get_logger("synvita_data.jobs")


def run_job(
    job: Job, options: RunOptions | None = None, *, on_progress: OnProgress | None = None, **changes: Any
) -> JobReport:
    """Have every key of `job` done that is neither done nor in quarantine.

    The store is scanned first: where nothing is to be done, this returns without importing anything
    heavy or starting any worker. Any number of runs may work on one folder, on one machine or several; they
    share the work, and each returns when all of it is done. A worker that crashes is started again, and
    its keys are done by whoever is free; a key that three workers crashed with, the last time alone, is
    quarantined.

    Args:
        job: what is to be done.
        options: how it is run.
        on_progress: called a few times a second at most (more often while results are read for verify),
            in this thread; see `Progress.follow`. Without it only what is worth a warning is logged.
        changes: options by name, such as `workers=8`, in place of those of `options`.

    Returns:
        The counts and what went wrong; failed keys and crashed workers are in it, not raised. Its `exit_status` is
        0 when all is done.

    Raises:
        EngineError: an option; no worker can be opened (or what `Job.open_worker` raised).
        StoreError: the disk is full; it names the file. Claims have been released, a second run continues.
        KeyboardInterrupt, SystemExit (on SIGTERM, status 143): after the workers have stopped and released
            their claims.
    """
    options = replace(options or RunOptions(), **changes)
    with Store(job.root, owner=_label("run")) as store:
        run = _Run(job, store, options, on_progress or _log_news)
        if run.todo:
            with _exit_on_sigterm() as check:
                run.work(_open_pool(job, run.inputs, store, options), check, wait=options.limit is None)
        return run.report()


def run_here(
    job: Job,
    *,
    wait: bool = True,
    retry_failed: bool = False,
    verify: bool = False,
    on_progress: OnProgress | None = None,
    store: Store | None = None,
) -> JobReport:
    """`run_job` with a worker of this process, whose errors are raised as they are.

    Args:
        job: what is to be done; it is not sent anywhere, so its worker may be open already.
        wait: until what other runs have claimed is done too.
        retry_failed: take the job's keys out of quarantine first.
        verify: read finished results whole first.
        on_progress: called a few times a second at most, and once at the end.
        store: the job's, where it is open already.
    """
    options = RunOptions(retry_failed=retry_failed, verify="contents" if verify else "sizes")
    tell = on_progress or _log_news
    with contextlib.ExitStack() as closing:
        store = closing.enter_context(Store(job.root)) if store is None else store
        run = _Run(job, store, options, tell)
        if run.todo:
            run.work(ThisProcess(job, run.inputs, store, raises=True), wait=wait)
        report = run.report()
    tell(JobProgress(report.title, report.total, report.done, report.failed, report.found))
    return report


def complete(
    store: Store,
    keys: Iterable[str],
    work: Callable[[Claim], None],
    *,
    threads: int = 1,
    on_done: Callable[[int], None] | None = None,
) -> None:
    """Return when each of `keys` is done or quarantined, by this process or by others.

    What is free is claimed and given to `work`; what live workers of other processes have claimed is waited for, and
    taken over should they die. Two processes that complete the same keys share the work.

    Args:
        store: where the results are.
        keys: what is to be done.
        work: must end its claim by `commit` or `quarantine`. An exception stops the run: it is
            raised here after the other threads have finished what they hold.
        threads: that call `work`.
        on_done: called with how many keys became done or quarantined since its last call.
    """
    job = _FunctionJob(store.root, dict.fromkeys(keys), work, threads)
    reported = 0

    def report(progress: JobProgress) -> None:
        nonlocal reported
        # A key that a thread ends while the store is scanned is counted twice until the next scan.
        done = min(progress.done + progress.failed, progress.total)
        if on_done is not None and done > reported:
            on_done(done - reported)
            reported = done

    unfinished = run_here(job, store=store, on_progress=report).unfinished
    if unfinished:
        raise StoreError("some keys are neither done nor free", file=store.root, found=f"{unfinished:,} keys")


@dataclass(frozen=True)
class _FunctionJob:
    """A job whose worker calls a function for each claim, in threads."""

    root: Path
    keys: dict[str, None]
    work: Callable[[Claim], None]
    threads: int
    title: str = "working"

    def inputs(self) -> dict[str, Any]:
        return self.keys

    def open_worker(self, device: str | None) -> "_FunctionJob":
        return self

    def run(self, claims: Iterator[tuple[Claim, Any]]) -> None:
        if self.threads == 1:
            for claim, _ in claims:
                self.work(claim)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            running: set[Future[None]] = set()
            for claim, _ in claims:
                running.add(pool.submit(self.work, claim))
                if len(running) == self.threads:
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    for each in ended:
                        each.result()
            for each in running:
                each.result()

    def close(self) -> None:
        pass


def results(job: Job) -> Iterator[tuple[str, Any, Record | None]]:
    """Each key of a job in its order, with its input and its result; None where it has none.

    What a manifest is written from, again at any time.
    """
    store = Store(job.root)
    for key, each in job.inputs().items():
        yield key, each, store.record(key)


def _open_pool(job: Job, inputs: dict[str, Any], store: Store, options: RunOptions) -> WorkerPool:
    if options.engine == "ray":
        from .ray_cluster import RayActors

        return RayActors(job, options.workers, _label("w"), options.address)
    if options.workers == 1:
        return ThisProcess(job, inputs, store, options.devices[0] if options.devices else None)
    from .processes import Processes

    return Processes(job, options.workers, _label("w"), options.devices)


def _label(role: str) -> str:
    """Host, run and role, for people who look into the store."""
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname())[:20]
    return f"{host}-{secrets.token_hex(3)}-{role}"


def _log_news(progress: JobProgress) -> None:
    for line in progress.news:
        _log.warning("%s: %s", progress.title, line)


@dataclass(slots=True)
class _Place:
    """One worker's place: it may crash and be started again there."""

    running: bool = False
    claimed_any: bool = False  # since its start
    claimed: set[str] = field(default_factory=set)
    crashes_in_a_row: int = 0
    given_up: bool = False


class _Run:
    """One run of a job: scans its keys when it is made, has workers do what is to be done, reports.

    Attributes:
        inputs: all of the job's keys with their inputs.
        todo: the keys that this run shall see ended: pending ones and, without a limit, those that other runs have
            claimed.
    """

    def __init__(self, job: Job, store: Store, options: RunOptions, on_progress: OnProgress) -> None:
        self._began = time.monotonic()
        self._job, self._store, self._on_progress = job, store, on_progress
        self._check: Callable[[], None] = lambda: None
        self._places: list[_Place] = []
        self._any_opened = False
        self._fatal: SynvitaError | None = None
        self._crashes_of: Counter[str] = Counter()  # key -> workers that crashed with it claimed
        self._condemned: dict[str, str] = {}  # key -> why it shall be quarantined
        self._done = self._failed = 0  # of `todo`, as far as is known
        self._made = 0  # results that our workers committed
        self._alike: Counter[str] = Counter()  # how keys failed in this run, while none was done
        self._crashes: list[Crash] = []
        self._news: list[str] = []
        self._looked = self._said = self._look_takes = 0.0

        # Scan the store: results that are not usable are taken out of it, unless the scan makes them pending.
        self.inputs = job.inputs()
        self._keys = options.take(self.inputs)
        if options.retry_failed:
            store.retry_failed(self._keys)
        scan = store.scan(self._keys)
        self._damaged = dict(scan.damaged)
        if options.verify == "contents":
            self._damaged |= self._discard_unusable(scan)
        self._found = scan.counts[DONE]
        self._failed_before = scan.keys(QUARANTINED)
        open_keys = [key for key, state in scan.states.items() if state not in (DONE, QUARANTINED)]
        self.todo = open_keys if options.limit is None else scan.pending[: options.limit]
        self._held_back = len(open_keys) - len(self.todo)

    def _discard_unusable(self, scan: Scan) -> dict[str, str]:
        """Finished keys whose files have other bytes, or that the job's own check refuses; now pending in `scan`.

        Reads every file of every result. A key that a live worker holds meanwhile is left to it.
        """
        check = self._job.check if isinstance(self._job, CheckedJob) else lambda record: None

        def why(key: str) -> str | None:
            try:
                return check(self._store.validate(key, deep=True))
            except StoreError as error:
                return str(error)

        done = scan.keys(DONE)
        unusable: dict[str, str] = {}
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing and decoding leave the GIL
            for number, (key, reason) in enumerate(zip(done, pool.map(why, done), strict=True)):
                self._on_progress(
                    JobProgress(f"checking results of {self._job.title}", len(done), number, 0, 0)
                )
                if reason is not None:
                    unusable[key] = reason
        for key in unusable:
            if self._store.discard(key):
                scan.states[key] = PENDING
        return unusable

    def work(self, pool: WorkerPool, check: Callable[[], None] = lambda: None, *, wait: bool = True) -> None:
        """Return when every key is done or quarantined, is another run's business, or no worker is left.

        Args:
            pool: the workers.
            check: called between two looks at the workers; raises where the run shall stop.
            wait: for what other runs have claimed.

        Raises:
            SynvitaError: no worker can be opened; the disk is full. All workers have been stopped by then.
        """
        self._pool, self._check = pool, check
        self._places = [_Place() for _ in range(pool.size)]
        idle = 0
        with pool:
            while True:
                check()
                counts = self._look()
                self._say(0.0)
                if counts[PENDING]:
                    # As many workers as there is work for, until none of them finds a free key.
                    usable = [number for number, place in enumerate(self._places) if not place.given_up]
                    for number in usable[: counts[PENDING]]:
                        self._start(number)
                    if not usable:
                        break
                    idle = 0 if self._watch() else idle + 1
                    if idle == 0:
                        continue
                    if idle == IDLE_ROUNDS:
                        break
                elif not (counts[CLAIMED] and wait):
                    break
                time.sleep(POLL)  # only other runs are working, or keys change hands

    def report(self) -> JobReport:
        """What the run has come to; what killed workers left, of this run and of earlier ones, is removed first."""
        self._store.tidy()
        ran = bool(self._places)
        scan = self._store.scan(self.todo if ran else ())
        newly_done, newly_failed = scan.counts[DONE], scan.keys(QUARANTINED)
        made = min(self._made, newly_done)
        failed = [*self._failed_before, *newly_failed]
        reasons = (self._store.failure(key) for key in failed[:REASONS_READ])
        return JobReport(
            title=self._job.title,
            total=len(self._keys),
            done=self._found + newly_done,
            found=self._found,
            made=made,
            by_others=newly_done - made,
            failed=len(failed),
            failures=tuple(failure for failure in reasons if failure is not None),
            held_back=self._held_back,
            unfinished=len(self.todo) - newly_done - len(newly_failed),
            damaged=tuple(self._damaged.items()),
            mended=self._store.scan(self._damaged).counts[DONE],
            crashes=tuple(self._crashes),
            lost_workers=sum(place.given_up for place in self._places),
            seconds=time.monotonic() - self._began,
        )

    def _look(self) -> Counter[str]:
        """States of the keys by the store itself."""
        began = time.monotonic()
        counts = self._store.scan(self.todo).counts
        self._done, self._failed = counts[DONE], counts[QUARANTINED]
        self._looked = time.monotonic()
        self._look_takes = self._looked - began
        return counts

    def _is_look_due(self) -> bool:
        since = time.monotonic() - self._looked
        return since > max(LOOK_EVERY, 20 * self._look_takes)

    def _start(self, number: int) -> None:
        # Workers begin at different places, so that they seldom ask for the same key.
        first = number * len(self.todo) // len(self._places)
        place = self._places[number]
        place.running, place.claimed_any = True, False
        todo = tuple(self.todo[first:] + self.todo[:first])
        self._pool.start(number, todo, frozenset(self._crashes_of))

    def _watch(self) -> bool:
        """Wait until no worker works any more; whether any of them claimed a key or crashed."""
        crashes = len(self._crashes)
        claimed = False
        while any(place.running for place in self._places):
            self._pool.wait(self._handle, POLL)
            self._check()
            claimed = claimed or any(place.claimed_any for place in self._places)
            if self._fatal is not None:
                raise self._fatal
            self._quarantine_condemned()
            if self._done + self._failed >= len(self.todo) or self._is_look_due():
                counts = self._look()
                if not counts[PENDING] and not counts[CLAIMED]:
                    break  # a worker that has not found a place, or never opens, is not waited for
            self._say(SAY_EVERY)
        return claimed or len(self._crashes) > crashes

    def _handle(self, number: int, event: Event) -> None:
        """Note an event of a worker."""
        place = self._places[number]
        for key, outcome in event.ended:
            if outcome == "released":
                continue  # by a worker that broke, or stops: it counts as claimed until the worker says which
            place.claimed.discard(key)
            self._made += outcome == "committed"
            self._done += outcome == "committed"
            self._failed += outcome == "quarantined"
            if outcome == "quarantined" and self._fatal is None:
                self._fatal = self._same_fault(key)
            place.crashes_in_a_row = 0
        if event.claimed is not None:
            place.claimed.add(event.claimed)
            place.claimed_any = True
        if event.kind == "opened":
            self._any_opened = True
        elif event.kind == "finished":
            place.running = False
            place.claimed.clear()
        elif event.kind == "disk full":
            self._fatal = event.error
        elif event.kind in ("cannot open", "broke", "died"):
            self._crashed(number, event)

        # A worker in this process comes by here between two keys, and nowhere else.
        if self._pool.size == 1 and self._is_look_due():
            self._look()
        self._say(SAY_EVERY)
        self._check()

    def _same_fault(self, key: str) -> SynvitaError | None:
        """Why the run shall end, where a key failed as all before it did: the others would too."""
        if not isinstance(self._job, SameFaultJob) or self._found or self._made:
            return None
        failure = self._store.failure(key)
        if failure is None:
            return None
        known = {name: failure.error.get(name) for name in ("reason", "problem", "found", "stderr")}
        how = reason(Failure("", {name: value for name, value in known.items() if value is not None}))
        self._alike[how] += 1
        if len(self._alike) > 1 or self._alike[how] < self._job.alike or len(self.todo) <= self._job.alike:
            return None
        self._pool.finish()
        return EngineError(
            f"the first {self._alike[how]} failed in the same way, and none was done: so would the other "
            f"{len(self.todo) - self._alike[how]:,}",
            file=self._store.root,
            found=how,
            fix="Mend the cause, then run again with --retry-failed",
        )

    def _crashed(self, number: int, event: Event) -> None:
        place = self._places[number]
        place.running = False
        if event.kind == "cannot open" and not self._any_opened:
            self._fatal = event.error
            return

        # Whose fault it was is not known: the worker may be broken, or any key that it had claimed.
        why = event.error.problem if event.error is not None else event.kind
        keys = self._left_by(place)
        self._crashes.append(Crash(number, why, tuple(keys)))
        place.crashes_in_a_row += 1
        place.given_up = event.kind == "cannot open" or place.crashes_in_a_row >= CRASHES_IN_A_ROW
        self._crashes_of.update(keys)

        # A key that was alone with the worker again and again is to blame; others are done alone from now on.
        if len(keys) == 1 and self._crashes_of[keys[0]] >= CRASHES_OF_A_KEY:
            self._condemned[keys[0]] = why
            self._quarantine_condemned()
        if keys:
            self._pool.isolate(frozenset(self._crashes_of))

        # Report it, and start the worker again.
        what = "could not be opened again" if event.kind == "cannot open" else "crashed"
        then = "it is given up" if place.given_up else "it is started again"
        with_keys = f" with {len(keys)} claimed keys" if keys else ""
        self._news.append(f"worker {number} {what}{with_keys} ({why}); {then}")
        if not place.given_up:
            self._start(number)

    def _left_by(self, place: _Place) -> list[str]:
        """What a crashed worker had claimed and did not end; its last commits count as ours."""
        states = self._store.scan(sorted(place.claimed)).states
        place.claimed.clear()
        done = sum(state == DONE for state in states.values())
        self._made += done
        self._done += done
        if done:
            place.crashes_in_a_row = 0
        return [key for key, state in states.items() if state not in (DONE, QUARANTINED)]

    def _quarantine_condemned(self) -> None:
        """Set aside the keys that workers crash on, as soon as the crashed worker's claim can be taken."""
        for key, why in list(self._condemned.items()):
            claim = self._store.claim(key)
            if claim is not None:
                with claim:
                    times = self._crashes_of[key]
                    claim.quarantine(
                        EngineError(f"{times} workers crashed while doing it, the last time alone: {why}")
                    )
                self._failed += 1
            elif self._store.scan([key]).states[key] not in (DONE, QUARANTINED):
                continue
            del self._condemned[key]

    def _say(self, every: float) -> None:
        now = time.monotonic()
        if now - self._said < every and not self._news:
            return
        self._said = now
        news, self._news = tuple(self._news), []
        done, failed = self._found + self._done, len(self._failed_before) + self._failed
        self._on_progress(JobProgress(self._job.title, len(self._keys), done, failed, self._found, news))


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[Callable[[], None]]:
    """SIGTERM raises SystemExit(143) in this thread, so that what is open is closed; main thread only.

    Yields:
        A function that raises it once more. Python drops what a signal's handler raises while a finaliser or a
        callback of the garbage collector runs; the work would continue, deaf to further signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    status = 128 + signal.SIGTERM
    signalled = threading.Event()

    def leave(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: a second one must not disturb the closing
        signalled.set()
        raise SystemExit(status)

    def check() -> None:
        if signalled.is_set():
            raise SystemExit(status)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield check
    except SystemExit:
        if signalled.is_set():  # Ray passes it on with a status of its own
            raise SystemExit(status) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
