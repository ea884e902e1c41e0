"""What a run has to do: one look at the store, before any worker is started or anything heavy imported."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import StoreError
from .job import CheckedJob, Job
from .scan import DONE, PENDING, QUARANTINED, Scan
from .shard import Shard
from .store import Store

Verify = Literal["sizes", "contents"]


@dataclass(frozen=True, slots=True)
class Survey:
    """The state of a job's keys when a run begins.

    Attributes:
        needs: all of the job's keys with what they need.
        keys: those of the shard, in the order of work.
        found: how many of `keys` are done.
        failed: those of `keys` in quarantine.
        todo: those this run shall see settled: pending ones and, without a limit, those that other runs hold.
        held_back: how many pending ones the limit leaves for another run.
        damaged: key -> why its result was found to be no longer good.
    """

    needs: dict[str, Any]
    keys: list[str]
    found: int
    failed: list[str]
    todo: list[str]
    held_back: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


def survey(
    job: Job,
    store: Store,
    *,
    shard: Shard | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    verify: Verify = "sizes",
    on_checked: Callable[[int, int], None] = lambda checked, total: None,
) -> Survey:
    """Scan the store for the job's keys; see `run_job` for the arguments.

    Results that are no good are taken out of the store, unless the scan alone makes them pending.

    Args:
        on_checked: called with how many of how many results have been read, for verify="contents".
    """
    needs = job.needs()
    keys = shard.take(needs) if shard is not None else list(needs)
    if retry_failed:
        store.retry_failed(keys)
    scan = store.scan(keys)
    damaged = dict(scan.damaged)
    if verify == "contents":
        damaged |= _no_good(job, store, scan, on_checked)
    failed = [key for key, state in scan.states.items() if state == QUARANTINED]
    pending = [key for key, state in scan.states.items() if state == PENDING]
    if limit is not None:
        todo, held_back = pending[:limit], len(scan.states) - scan.counts[DONE] - len(failed)
        held_back -= len(todo)
    else:
        todo, held_back = [key for key, s in scan.states.items() if s not in (DONE, QUARANTINED)], 0
    return Survey(needs, keys, scan.counts[DONE], failed, todo, held_back, damaged)


def _no_good(job: Job, store: Store, scan: Scan, on_checked: Callable[[int, int], None]) -> dict[str, str]:
    """Finished keys whose files have other bytes, or that the job's own check refuses; now pending in `scan`.

    Reads every file of every result. A key that a live worker holds meanwhile is left to it.
    """
    check = job.check if isinstance(job, CheckedJob) else None

    def why(key: str) -> str | None:
        try:
            record = store.validate(key, deep=True)
        except StoreError as error:
            return str(error)
        return check(record) if check is not None else None

    done = [key for key, state in scan.states.items() if state == DONE]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing and decoding leave the GIL
        found: dict[str, str] = {}
        for number, (key, said) in enumerate(zip(done, pool.map(why, done), strict=True)):
            on_checked(number, len(done))
            if said is not None:
                found[key] = said
    for key in found:
        if store.discard(key):
            scan.states[key] = PENDING
    return found
