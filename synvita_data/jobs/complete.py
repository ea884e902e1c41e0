"""Drive a store until nothing is left to do: the loop of every job that runs in one process."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

from ..errors import StoreError
from .claim import Claim
from .scan import CLAIMED
from .store import Store


def settle(
    store: Store,
    keys: Iterable[str],
    work: Callable[[Claim], None],
    *,
    threads: int = 1,
    on_settled: Callable[[int], None] | None = None,
    poll: float = 0.5,
) -> None:
    """Return when each of `keys` is done or quarantined, by this process or by others.

    What is free is claimed and given to `work`, in `threads` threads; what live workers of other
    processes hold is waited for, and taken over should they die. Two processes that settle the same
    keys share the work.

    Args:
        work: must end its claim by `commit` or `quarantine`. An exception stops the run: it is
            raised here after the other threads have finished what they hold.
        on_settled: called with how many keys became settled since its last call.
        poll: seconds between looks while only others are working.
    """
    keys = list(dict.fromkeys(keys))
    reported = 0

    def report(settled: int) -> None:
        nonlocal reported
        if on_settled is not None and settled > reported:
            on_settled(settled - reported)
            reported = settled

    while True:
        scan = store.scan(keys)
        pending = scan.pending
        report(len(keys) - len(pending) - scan.counts[CLAIMED])
        if not pending:
            if not scan.counts[CLAIMED]:
                return
            time.sleep(poll)
            continue
        if threads == 1:
            for key in pending:
                if _do(store, key, work):
                    report(reported + 1)
            continue
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(_do, store, key, work) for key in pending]
            try:
                for future in as_completed(futures):
                    if future.result():
                        report(reported + 1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _do(store: Store, key: str, work: Callable[[Claim], None]) -> bool:
    """Whether this call settled the key; False when another worker has it or took it over."""
    claim = store.claim(key)
    if claim is None:
        return False
    with claim:
        work(claim)
        if claim.outcome == "open":
            raise StoreError(f"the work on key {key!r} ended without a result", fix="Report this as a bug")
        return claim.outcome != "lost"
