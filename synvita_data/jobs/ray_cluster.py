"""Workers that Ray places: on the cluster at an address, or on one of this machine that lives as long as the run.

Ray starts actors, says when one died, and carries orders and events; all that must survive stands in the store.
Every machine needs this package, the job's models, and the store's folder under the same path.
"""

import contextlib
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..errors import EngineError, SynvitaError
from .failures import one_line
from .job import Job
from .pool import Tell
from .processes import usable_cpus
from .ray_private import PrivateCluster, forget_token
from .worker import Event, Orders, Task, work_shift

GRACE = 5.0  # seconds an actor has to end what it does before its claims are given back for it
ANSWER = 60.0  # seconds in which a living ledger answers
ADDRESS = "Give the address that 'ray start --head' printed, or none for a cluster on this machine"


class Ledger:
    """An actor beside the engine that keeps what workers tell until it is asked.

    A worker waits until its event is here: what a killed worker had in hand is always known.
    """

    def __init__(self) -> None:
        self._events: list[tuple[int, Event]] = []

    def tell(self, number: int, event: Event) -> None:
        self._events.append((number, event))

    def drain(self) -> list[tuple[int, Event]]:
        events, self._events = self._events, []
        return events


class Hand:
    """One worker's actor. `work` runs in one thread of it, orders come in another."""

    def __init__(self, task: Task, tell: Callable[[Event], None], private: bool) -> None:
        if private:
            forget_token()
        self._task = task
        self._tell = tell
        self._orders = Orders(task.alone)
        self._store = task.open_store()
        self._ended = threading.Event()

    def work(self) -> None:
        try:
            with self._store:
                work_shift(self._task, self._store, self._orders, self._tell)
        finally:
            self._ended.set()

    def order_alone(self, keys: frozenset[str]) -> None:
        self._orders.alone = keys

    def stop(self, seconds: float) -> None:
        """Give all claims back: by ending what is in hand if that is quick, else by dropping it."""
        self._orders.stop()
        if not self._ended.wait(seconds):
            self._store.close()  # what is committed from now on is lost to the next worker's result


class RayActors:
    """A crew of actors, with a GPU each where the cluster has GPUs, else with a CPU each.

    Args:
        label: of the workers' claims; their numbers follow.
        address: of a running cluster ("auto", "host:port", "ray://…"); None starts one on this machine.

    Raises:
        EngineError: Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, job: Job, workers: int, label: str, address: str | None = None) -> None:
        self.size = workers
        self._job = job
        self._label = label
        self._address = address
        self._ray: Any = _import_ray()
        self._joined = False  # whether the connection to a cluster of others is ours to end
        self._private: PrivateCluster | None = None  # the cluster that is ours to end
        self._on_gpu = False
        self._ledger: Any = None
        self._actors: dict[int, Any] = {}
        self._shifts: dict[Any, int] = {}  # reference to a shift's end -> worker
        self._placed: set[int] = set()  # workers that have told something
        self._ended: set[int] = set()  # workers whose last event has come

    def __enter__(self) -> "RayActors":
        ray = self._ray
        if not ray.is_initialized():
            self._connect()
        try:
            self._on_gpu = ray.cluster_resources().get("GPU", 0) > 0
            here = ray.get_runtime_context().get_node_id()
            near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
            self._ledger = ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=near).remote()
        except BaseException:
            self._disconnect()
            raise
        return self

    def start(self, number: int, todo: tuple[str, ...], alone: frozenset[str]) -> None:
        self._remove(number)
        task = Task(self._job, todo, f"{self._label}{number}", "cuda:0" if self._on_gpu else None, alone)
        resources = {"num_cpus": 1, "num_gpus": 1} if self._on_gpu else {"num_cpus": 1}
        make = self._ray.remote(Hand).options(max_concurrency=3, max_restarts=0, **resources)
        actor = make.remote(task, _Teller(self._ledger, number), private=self._private is not None)
        self._actors[number] = actor
        self._shifts[actor.work.remote()] = number

    def wait(self, tell: Tell, seconds: float) -> None:
        ray = self._ray
        ready, _ = ray.wait(list(self._shifts), num_returns=1, timeout=seconds) if self._shifts else ([], [])
        events = self._drained()  # after the look at the shifts: then nothing of a dead worker is missing
        for number, event in events:
            if event.kind in ("finished", "cannot open", "no room", "broke"):
                self._ended.add(number)
            self._placed.add(number)
            tell(number, event)
        for shift in ready:
            if shift not in self._shifts:
                continue  # its worker was started again when it told its end
            number = self._shifts.pop(shift)
            actor = self._actors[number]
            try:
                ray.get(shift)
                died = "its Ray actor ended without a word"
            except ray.exceptions.RayError as error:
                died = f"its Ray actor died: {_first_sentence(error)}"
            if number not in self._ended:
                self._ended.add(number)
                tell(number, Event("died", error=EngineError(died)))
            if self._actors.get(number) is actor:
                self._remove(number)  # another program may want its GPU

    def order_alone(self, keys: frozenset[str]) -> None:
        for actor in self._actors.values():
            actor.order_alone.remote(keys)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray = self._ray
        try:
            with contextlib.suppress(EngineError):
                self._placed.update(number for number, _ in self._drained())
            placed = self._placed.intersection(self._shifts.values())  # the others hold nothing
            stopping = [self._actors[number].stop.remote(GRACE) for number in placed]
            if stopping:
                ray.wait(stopping, num_returns=len(stopping), timeout=GRACE + 5)
        finally:
            for number in list(self._actors):
                self._remove(number)
            if self._ledger is not None:
                ray.kill(self._ledger)
            self._disconnect()

    def _remove(self, number: int) -> None:
        actor = self._actors.pop(number, None)
        if actor is None:
            return
        shifts = [shift for shift, of in self._shifts.items() if of == number]
        if number in self._ended and shifts:  # it is closing its store
            self._ray.wait(shifts, timeout=GRACE)
        for shift in shifts:
            del self._shifts[shift]
        self._ended.discard(number)
        self._ray.kill(actor)

    def _drained(self) -> list[tuple[int, Event]]:
        try:
            return self._ray.get(self._ledger.drain.remote(), timeout=ANSWER)
        except self._ray.exceptions.RayError as error:
            raise EngineError(
                f"the connection to Ray is lost: {_first_sentence(error)}",
                fix="Run again when the cluster is well; what was done is in the store",
            ) from error

    def _connect(self) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        try:
            if self._address is None:
                self._private = PrivateCluster(self._ray, max(self.size, usable_cpus()))
            else:
                _check_answers(self._address)
                self._ray.init(address=self._address, log_to_driver=False, logging_level="error")
                self._joined = True
        except SynvitaError:
            raise
        except Exception as error:  # Ray raises whatever it likes
            self._disconnect()
            raise EngineError(
                f"Ray cannot be reached: {one_line(error)}",
                found=self._address or "a new cluster on this machine",
                fix=ADDRESS,
            ) from error
        except BaseException:
            self._disconnect()
            raise
        finally:
            if threading.current_thread() is threading.main_thread() and handler is not None:
                signal.signal(signal.SIGTERM, handler)  # instead of Ray's own

    def _disconnect(self) -> None:
        if self._private is not None:
            self._private.end()
        elif self._joined:
            self._ray.shutdown()
        self._private, self._joined = None, False


class _Teller:
    """Sends a worker's events to the ledger and waits until they are there."""

    def __init__(self, ledger: Any, number: int) -> None:
        self._ledger = ledger
        self._number = number

    def __call__(self, event: Event) -> None:
        import ray

        ray.get(self._ledger.tell.remote(self._number, event))


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "ray":
            raise
        raise EngineError(
            "the engine 'ray' needs Ray, which is not installed", fix="pip install 'synvita-data[ray]'"
        ) from None
    return ray


def _check_answers(address: str) -> None:
    """Refuse an address where nothing listens: Ray would end this process without an exception."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/\]]+?)\]?:(\d+)", address)
    if match is None:
        return  # "auto", or a form that only Ray knows
    try:
        socket.create_connection((match[1], int(match[2])), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"Ray cannot be reached: {one_line(error)}",
            found=address,
            fix=ADDRESS,
        ) from error


def _first_sentence(error: BaseException) -> str:
    """What matters of Ray's page-long text: its first line, and the kind of exit or the error it ends with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    kind = re.search(r"exit type: (\w+)", str(error))
    more = kind[1] if kind else lines[-1]
    return lines[0][:300] + (f" ({more[:200]})" if more != lines[0] else "")
