"""What one worker does, wherever it runs: open, take keys from the store, settle them, say so."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import EngineError, SynvitaError
from .claim import Claim
from .failures import as_engine_error, disk_error, no_room, one_line
from .job import Job, Worker
from .store import Store

Kind = Literal["opened", "took", "ended", "finished", "cannot open", "no room", "broke", "died"]


@dataclass(frozen=True, slots=True)
class Event:
    """What a worker tells the engine.

    Attributes:
        kind: "took" and "ended" tell about keys. A shift ends with one of "finished" (nothing is free),
            "cannot open", "no room" (the disk), "broke" (an exception left `Worker.run`), or "died" (told
            by the engine of a worker that can tell nothing any more).
        took: a key that is now in hand; None when the event is about something else.
        ended: (key, outcome of its claim) of those that no longer are.
        error: for the last four kinds.
    """

    kind: Kind
    took: str | None = None
    ended: tuple[tuple[str, str], ...] = ()
    error: SynvitaError | None = None


class Orders:
    """What the engine tells a worker while it works; threads share it.

    Attributes:
        alone: keys that a worker died with: they are done last, and one at a time.
        releasing: the claims are being given back after a stop, which nothing may interrupt.
    """

    def __init__(self, alone: frozenset[str] = frozenset()) -> None:
        self.alone = alone
        self.releasing = False
        self._stop = threading.Event()

    def stop(self) -> None:
        """Take no more keys."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()


@dataclass(frozen=True, slots=True)
class Task:
    """All that a worker is sent: plain data.

    Attributes:
        todo: the keys of this run. label: of its claims, for people.
        device: for `Job.open_worker`.
    """

    job: Job
    todo: tuple[str, ...]
    label: str
    device: str | None = None
    alone: frozenset[str] = frozenset()

    def open_store(self) -> Store:
        """The job's store with claims of this worker's own; to be closed by a `with`."""
        return Store(self.job.root, owner=self.label)


def work_shift(
    task: Task,
    store: Store,
    orders: Orders,
    tell: Callable[[Event], None],
    needs: dict[str, Any] | None = None,
) -> None:
    """Open a worker, settle what is free of the task's keys, close it; the last event says how it ended.

    A `BaseException` that is no `Exception` (an interrupt) gives all claims back and goes on.

    Args:
        store: the task's own (`Task.open_store`), closed by the caller.
        needs: the job's, where they are at hand.
    """
    try:
        needs = task.job.needs() if needs is None else needs
        worker = task.job.open_worker(task.device)
    except Exception as error:
        tell(Event("cannot open", error=as_engine_error(error, "a worker cannot be opened")))
        return
    shift = Shift(worker, store, needs, task.todo, orders, tell)
    try:
        tell(Event("opened"))
        shift.work()
    except Exception as error:
        full = no_room(error)
        if full is not None:
            last = Event("no room", error=disk_error(error, full, store.root))
        else:
            last = Event("broke", error=EngineError(one_line(error)))
    else:
        last = Event("finished")
    finally:
        with contextlib.suppress(Exception):  # a broken worker may break in closing too
            worker.close()
    tell(last)


class Shift:
    """An open worker with the claims it has in hand."""

    def __init__(
        self,
        worker: Worker,
        store: Store,
        needs: dict[str, Any],
        todo: Sequence[str],
        orders: Orders,
        tell: Callable[[Event], None],
    ) -> None:
        self._worker = worker
        self._store = store
        self._needs = needs
        self._todo = todo
        self._orders = orders
        self._tell = tell
        self._in_hand: list[Claim] = []
        self._released: list[str] = []  # by the worker itself, which it must not

    def work(self) -> None:
        """Pass over the keys until a pass finds none that is free."""
        while not self._orders.stopped:
            free = self._store.pending(self._todo)
            together = [key for key in free if key not in self._orders.alone]
            if together:
                took = self._run(together)
            else:
                took = sum([self._run([key]) for key in free if not self._orders.stopped])
            if not took:
                return

    def _run(self, keys: list[str]) -> int:
        """Have the worker settle those of `keys` that can be claimed; how many there were."""
        took = 0
        over = False  # a thread of a broken worker may go on drawing

        def held() -> Iterator[tuple[Claim, Any]]:
            nonlocal took
            for key in keys:
                if over or self._orders.stopped:
                    return
                if key in self._orders.alone and len(keys) > 1:
                    continue
                claim = self._store.claim(key)
                if claim is None:
                    continue
                took += 1
                self._tell(Event("took", took=key, ended=self._ended()))
                self._in_hand.append(claim)
                yield claim, self._needs[key]

        try:
            self._worker.run(held())
            self._refuse_leftovers()
        finally:
            over = True
            self._orders.releasing = self._orders.stopped
            for claim in self._in_hand:
                claim.release()
            self._tell(Event("ended", ended=self._ended()))
        return took

    def _ended(self) -> tuple[tuple[str, str], ...]:
        # Looked at once each: a worker's thread may end a claim meanwhile, which is then told the next time.
        outcomes = [(claim, claim.outcome) for claim in self._in_hand]
        ended = tuple((claim.key, outcome) for claim, outcome in outcomes if outcome != "open")
        self._released += [key for key, outcome in ended if outcome == "released"]
        self._in_hand = [claim for claim, outcome in outcomes if outcome == "open"]
        return ended

    def _refuse_leftovers(self) -> None:
        left = self._released + [c.key for c in self._in_hand if c.outcome in ("open", "released")]
        if left and not self._orders.stopped:
            raise EngineError(
                f"{type(self._worker).__name__}.run ended without a result for key {left[0]!r}",
                expected="each claim ended by commit or quarantine",
            )
