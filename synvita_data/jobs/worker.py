"""What one worker does, wherever it runs, and what a pool of workers offers a run.

A worker claims keys from the store, ends their claims, and tells the run about it in events. `ThisProcess` is the
simplest pool: one worker in the calling thread.
"""

import contextlib
import copy
import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..errors import EngineError, SynvitaError
from ..extras import explained
from .claim import Claim
from .failures import disk_error, one_line
from .job import Job, Worker
from .store import Store

Kind = Literal["opened", "claimed", "ended", "finished", "cannot open", "disk full", "broke", "died"]
LAST = ("finished", "cannot open", "disk full", "broke")


@dataclass(frozen=True, slots=True)
class Event:
    """What a worker reports to the run.

    Attributes:
        kind: "claimed" and "ended" are about keys. A worker's last event is one of `LAST`: "finished" (no key is
            free), "cannot open", "disk full", "broke" (an exception left `Worker.run`); or it is "died", reported by the
            pool about a worker that can report nothing any more.
        claimed: a key that the worker has just claimed; None when the event is about something else.
        ended: (key, outcome of its claim) of those that the worker no longer holds.
        error: for the last four kinds.
    """

    kind: Kind
    claimed: str | None = None
    ended: tuple[tuple[str, str], ...] = ()
    error: SynvitaError | None = None


Tell = Callable[[Event], None]


class Controls:
    """How the run steers a worker while it works; threads share it.

    Attributes:
        isolated: keys that a worker crashed with: they are done last, and one at a time.
        releasing: the claims are being given back after a stop, which nothing may interrupt.
    """

    def __init__(self, isolated: frozenset[str] = frozenset()) -> None:
        self.isolated = isolated
        self.releasing = False
        self._stop = threading.Event()

    def stop(self) -> None:
        """Claim no more keys."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()


@dataclass(frozen=True, slots=True)
class Task:
    """All that a worker is sent: plain data.

    Attributes:
        job: whose keys are to be done.
        todo: the keys of this run.
        label: of the worker's claims, for people.
        device: for `Job.open_worker`.
        isolated: see `Controls`.
    """

    job: Job
    todo: tuple[str, ...]
    label: str
    device: str | None = None
    isolated: frozenset[str] = frozenset()

    def open_store(self) -> Store:
        """The job's store with claims of this worker's own; to be closed by a `with`."""
        return Store(self.job.root, owner=self.label)


def run_worker(
    task: Task,
    store: Store,
    controls: Controls,
    tell: Tell,
    inputs: dict[str, Any] | None = None,
    *,
    raises: bool = False,
) -> None:
    """Open a worker, do what is free of the task's keys, close it; the last event says how it ended.

    A `BaseException` that is not an `Exception` (an interrupt) releases all claims and is raised.

    Args:
        task: what to do.
        store: the task's own (`Task.open_store`), closed by the caller.
        controls: followed while the worker works.
        tell: called with each event.
        inputs: the job's, where they are at hand.
        raises: raise what goes wrong with the worker, instead of reporting it.
    """
    try:
        inputs = task.job.inputs() if inputs is None else inputs
        worker = task.job.open_worker(task.device)
    except Exception as error:
        if raises:
            raise
        known = error if isinstance(error, SynvitaError) else explained(error)
        tell(
            Event("cannot open", error=known or EngineError(f"a worker cannot be opened: {one_line(error)}"))
        )
        return
    loop = WorkerLoop(worker, store, inputs, task.todo, controls, tell)
    last = Event("finished")
    try:
        tell(Event("opened"))
        loop.run()
    except Exception as error:
        if raises:
            raise
        if (full := disk_error(error, store.root)) is not None:
            last = Event("disk full", error=full)
        else:
            last = Event("broke", error=EngineError(one_line(error)))
    finally:
        with contextlib.suppress(Exception):  # a broken worker may break in closing too
            worker.close()
    tell(last)


class WorkerLoop:
    """An open worker with the claims it holds."""

    def __init__(
        self,
        worker: Worker,
        store: Store,
        inputs: dict[str, Any],
        todo: tuple[str, ...],
        controls: Controls,
        tell: Tell,
    ) -> None:
        self._worker, self._store, self._inputs, self._todo = worker, store, inputs, todo
        self._controls, self._tell = controls, tell
        self._claims: list[Claim] = []
        self._released: list[str] = []  # by the worker itself, which it must not do

    def run(self) -> None:
        """Pass over the keys until a pass finds none that is free."""
        while not self._controls.stopped:
            free = self._store.pending(self._todo)
            together = [key for key in free if key not in self._controls.isolated]
            if together:
                count = self._run(together)
            else:
                count = sum([self._run([key]) for key in free if not self._controls.stopped])
            if not count:
                return

    def _run(self, keys: list[str]) -> int:
        """Have the worker do those of `keys` that can be claimed; how many there were."""
        count = 0
        over = False  # a thread of a broken worker may go on drawing

        def claims() -> Iterator[tuple[Claim, Any]]:
            nonlocal count
            for key in keys:
                if over or self._controls.stopped:
                    return
                if key in self._controls.isolated and len(keys) > 1:
                    continue
                claim = self._store.claim(key)
                if claim is None:
                    continue
                count += 1
                self._tell(Event("claimed", claimed=key, ended=self._ended()))
                self._claims.append(claim)
                yield claim, self._inputs[key]

        try:
            self._worker.run(claims())
            self._refuse_leftovers()
        finally:
            over = True
            self._controls.releasing = self._controls.stopped
            for claim in self._claims:
                claim.release()
            self._tell(Event("ended", ended=self._ended()))
        return count

    def _ended(self) -> tuple[tuple[str, str], ...]:
        # Looked at once each: a worker's thread may end a claim meanwhile, which is then reported the next time.
        outcomes = [(claim, claim.outcome) for claim in self._claims]
        ended = tuple((claim.key, outcome) for claim, outcome in outcomes if outcome != "open")
        self._released += [key for key, outcome in ended if outcome == "released"]
        self._claims = [claim for claim, outcome in outcomes if outcome == "open"]
        return ended

    def _refuse_leftovers(self) -> None:
        left = self._released + [c.key for c in self._claims if c.outcome in ("open", "released")]
        if left and not self._controls.stopped:
            raise EngineError(
                f"{type(self._worker).__name__}.run ended without a result for key {left[0]!r}",
                expected="each claim ended by commit or quarantine",
            )


class WorkerPool(Protocol):
    """Workers numbered 0 to size - 1, each of which can be started again when it has ended."""

    size: int

    def start(self, number: int, todo: tuple[str, ...], isolated: frozenset[str]) -> None:
        """Start worker `number`.

        Args:
            number: which one.
            todo: the keys of this run.
            isolated: those of the keys that are done last and one at a time.
        """

    def wait(self, tell: Callable[[int, Event], None], seconds: float) -> None:
        """Pass on the events of workers, waiting at most about `seconds` for something.

        Each worker's events come in order, and the one that says how it ended comes last: "died" if the worker
        can report nothing any more.
        """

    def isolate(self, keys: frozenset[str]) -> None:
        """Tell the workers at work that these keys are to be done last and one at a time."""

    def finish(self) -> None:
        """Let a worker that works inside `wait` claim nothing more; others are stopped on leaving."""

    def __enter__(self) -> "WorkerPool": ...

    def __exit__(self, *_: object) -> None:
        """Stop every worker: orderly, so that claims are released, then by force."""


class ThisProcess:
    """One worker in the calling thread: it works inside `wait`, which returns when it has ended.

    Args:
        job: whose keys are to be done.
        inputs: the job's.
        store: the run's; each worker opens another one like it.
        device: for `Job.open_worker`.
        raises: errors of the worker leave `wait` as they are: another worker would not do better.
    """

    size = 1

    def __init__(
        self,
        job: Job,
        inputs: dict[str, Any],
        store: Store,
        device: str | None = None,
        *,
        raises: bool = False,
    ) -> None:
        self._job, self._inputs, self._store, self._device = job, inputs, store, device
        self._raises = raises
        self._ran = False
        self._task: Task | None = None
        self._controls = Controls()

    def start(self, number: int, todo: tuple[str, ...], isolated: frozenset[str]) -> None:
        self._controls = Controls(isolated)
        self._task = Task(self._job, todo, "", self._device, isolated)

    def wait(self, tell: Callable[[int, Event], None], seconds: float) -> None:
        task, self._task = self._task, None
        if task is None:
            return

        def tell_run(event: Event) -> None:
            tell(0, event)

        if self._ran:
            gc.collect()  # a broken worker's model may hang in a cycle with its traceback
        self._ran = True
        with copy.copy(self._store) as store:
            run_worker(task, store, self._controls, tell_run, self._inputs, raises=self._raises)

    def isolate(self, keys: frozenset[str]) -> None:
        self._controls.isolated = keys

    def finish(self) -> None:
        self._controls.stop()

    def __enter__(self) -> "ThisProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._controls.stop()
