"""`run_job`: do what a job still needs, by the chosen engine, and report."""

import contextlib
import os
import re
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from ..display import get_logger
from ..errors import EngineError
from .job import Job
from .pool import Crew, ThisProcess
from .records import Record
from .report import JobReport, Standing
from .scan import DONE, QUARANTINED
from .shard import Shard
from .states import Survey, Verify, survey
from .store import Store
from .supervisor import Supervisor

Engine = Literal["local", "ray"]
REASONS_READ = 200  # failures whose reasons are read for the report

_log = get_logger("synvita_data.jobs")


def run_job(
    job: Job,
    *,
    engine: Engine = "local",
    workers: int = 1,
    address: str | None = None,
    shard: Shard | str | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    verify: Verify = "sizes",
    on_progress: Callable[[Standing], None] | None = None,
    devices: Sequence[str] | None = None,
) -> JobReport:
    """Have every key of `job` settled that is neither done nor in quarantine.

    The store is looked at first: where nothing is to be done, this returns without importing anything
    heavy or starting any worker. Any number of runs may work on one folder, on one machine or several; they
    share the work, and each returns when all of it is settled. A worker that is lost is started again, and
    its keys are done by whoever is free; a key that three workers were lost with, the last time alone, is
    quarantined.

    Args:
        engine: "local", this machine; "ray", actors placed by Ray.
        workers: 1 is this process itself (for "local"); N are N processes, one per GPU where there are any.
        address: of a Ray cluster; None starts one on this machine and ends it afterwards.
        shard: only the keys of this part, `"2/8"` or a `Shard`.
        limit: at most so many keys that are not done yet; what other runs hold is not waited for.
        retry_failed: take the shard's keys out of quarantine first.
        verify: how results prove themselves that are found done. "sizes": their files are there in full
            size. "contents": they have the right SHA-256 too, and pass the job's own `check`; reads every file.
            A result that is no good is done again and reported.
        on_progress: called a few times a second at most (more often while results are read for verify),
            in this thread; see `Progress.follow`. Without it only what is worth a warning is logged.
        devices: of the workers in turn ("cuda:0", "cpu"); for "local" only.

    Returns:
        What came of it; failed keys and lost workers are in it, not raised. Its `exit_status` is 0 when all is done.

    Raises:
        EngineError: an argument; no worker can be opened (or what `Job.open_worker` raised).
        StoreError: the disk is full; it names the file. Claims have been given back, a second run goes on.
        KeyboardInterrupt, SystemExit (on SIGTERM, status 143): after the workers have stopped and given back
            their claims.
    """
    began = time.monotonic()
    part = Shard.parse(shard) if isinstance(shard, str) else shard
    _check_arguments(engine, workers, address, limit, verify, devices)
    with Store(job.root, owner=_label("engine")) as store:
        told = on_progress or _log_news
        seen = survey(
            job,
            store,
            shard=part,
            limit=limit,
            retry_failed=retry_failed,
            verify=verify,
            on_checked=lambda n, total: told(Standing(f"checking results of {job.title}", total, n, 0, 0)),
        )
        if not seen.todo:
            return _report(job, store, seen, None, began)
        crew = _crew(job, seen, engine, workers, address, devices)
        supervisor = Supervisor(
            job.title,
            store,
            seen,
            crew,
            wait_for_others=limit is None,
            on_progress=told,
        )
        with _exit_on_sigterm() as check:
            supervisor.run(check)
        if any(os.scandir(store.root / "owners")):  # what lost workers left
            store.clean_temporary()
        return _report(job, store, seen, supervisor, began)


def results(job: Job) -> Iterator[tuple[str, Any, Record | None]]:
    """Each key of a job in its order, with what it needs and its result; None where it has none.

    What a manifest is written from, again at any time.
    """
    store = Store(job.root)
    for key, need in job.needs().items():
        yield key, need, store.record(key)


def _crew(
    job: Job, seen: Survey, engine: Engine, workers: int, address: str | None, devices: Sequence[str] | None
) -> Crew:
    if engine == "local" and workers == 1:
        return ThisProcess(job, seen.needs, _label("w0"), devices[0] if devices else None)
    if engine == "local":
        from .processes import Processes

        return Processes(job, workers, _label("w"), devices)
    from .ray_cluster import RayActors

    return RayActors(job, workers, _label("w"), address)


def _check_arguments(
    engine: str,
    workers: int,
    address: str | None,
    limit: int | None,
    verify: str,
    devices: Sequence[str] | None,
) -> None:
    if engine not in ("local", "ray"):
        raise EngineError("there is no such engine", found=engine, expected="'local' or 'ray'")
    if verify not in ("sizes", "contents"):
        raise EngineError("results cannot be verified so", found=verify, expected="'sizes' or 'contents'")
    if workers < 1:
        raise EngineError("a run needs a worker", found=f"workers={workers}", expected="1 or more")
    if limit is not None and limit < 1:
        raise EngineError("a limit leaves nothing to do", found=f"limit={limit}", expected="1 or more")
    if address is not None and engine != "ray":
        raise EngineError("only Ray has an address", found=address, fix="Use engine='ray' (--engine ray)")
    if devices is not None and (engine == "ray" or not devices):
        raise EngineError(
            "devices cannot be named",
            found=devices,
            expected="one or more names, for engine='local'; Ray places its workers itself",
        )


def _label(role: str) -> str:
    """Host, run and role, for people who look into the store."""
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname())[:20]
    return f"{host}-{secrets.token_hex(3)}-{role}"


def _log_news(standing: Standing) -> None:
    for line in standing.news:
        _log.warning("%s: %s", standing.title, line)


def _report(job: Job, store: Store, seen: Survey, supervisor: Supervisor | None, began: float) -> JobReport:
    states = store.scan(seen.todo).states if supervisor is not None else {}
    newly_failed = [key for key, state in states.items() if state == QUARANTINED]
    newly_done = sum(state == DONE for state in states.values())
    made = min(supervisor.made, newly_done) if supervisor is not None else 0
    failed = [*seen.failed, *newly_failed]
    again = store.scan(seen.damaged).states if seen.damaged else {}
    reasons = (store.failure(key) for key in failed[:REASONS_READ])
    return JobReport(
        title=job.title,
        total=len(seen.keys),
        done=seen.found + newly_done,
        found=seen.found,
        made=made,
        by_others=newly_done - made,
        failed=len(failed),
        failures=tuple(failure for failure in reasons if failure is not None),
        held_back=seen.held_back,
        unfinished=len(seen.todo) - newly_done - len(newly_failed),
        damaged=tuple(seen.damaged.items()),
        mended=sum(state == DONE for state in again.values()),
        deaths=tuple(supervisor.deaths) if supervisor is not None else (),
        lost_workers=supervisor.lost_workers if supervisor is not None else 0,
        seconds=time.monotonic() - began,
    )


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[Callable[[], None]]:
    """SIGTERM raises SystemExit(143) in this thread, so that what is open is closed; main thread only.

    Yields:
        A function that raises it once more. Python drops what a signal's handler raises while a finaliser or a
        callback of the garbage collector runs; the work would go on, deaf to further signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    status = 128 + signal.SIGTERM
    told = threading.Event()

    def leave(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: a second one must not disturb the closing
        told.set()
        raise SystemExit(status)

    def check() -> None:
        if told.is_set():
            raise SystemExit(status)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield check
    except SystemExit:
        if told.is_set():  # Ray passes it on with a status of its own
            raise SystemExit(status) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
