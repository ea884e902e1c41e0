"""Workers in processes of this machine, one per GPU where there are any."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import EngineError
from .job import Job
from .pool import Tell
from .worker import Event, Orders, Task, work_shift

# A fresh interpreter: CUDA and threads do not survive a fork. Tests whose jobs use neither may set "fork".
START_METHOD = "spawn"
GRACE = 10.0  # seconds a worker has to give its claims back before it is killed
AGAIN = 3.0  # seconds after which a worker that has not stopped gets SIGTERM once more


class Stopped(BaseException):
    """Raised in a worker that shall stop now; no `except Exception` may hold it up."""


@dataclass(slots=True)
class Place:
    """A worker's process with the pipes to it; `None` where no shift is under way."""

    process: Any
    events: Connection
    orders: Connection


class Processes:
    """A crew of processes; a worker is told to stop by SIGTERM, and stops by itself when this process is gone.

    Args:
        label: of the workers' claims; their numbers follow.
        devices: of the workers in turn. None: GPU by GPU, each worker seeing its own as `cuda:0`; without
            GPUs, None.
    """

    def __init__(self, job: Job, workers: int, label: str, devices: Sequence[str] | None = None) -> None:
        self.size = workers
        self._job = job
        self._label = label
        self._devices = devices
        self._gpus = visible_gpus() if devices is None else []
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._places: dict[int, Place] = {}
        self._over: set[int] = set()  # workers whose last event has been passed on

    def start(self, number: int, todo: tuple[str, ...], alone: frozenset[str]) -> None:
        self._remove(number)
        device, changes = self._placing(number)
        task = Task(self._job, todo, f"{self._label}{number}", device, alone)
        events, tells = self._context.Pipe(duplex=False)
        hears, orders = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_main, args=(task, tells, hears, os.getpid()), name=f"synvita-worker-{number}"
        )
        with environment(changes):  # the child's own: it must be there before its first import
            process.start()
        tells.close()
        hears.close()
        self._places[number] = Place(process, events, orders)

    def wait(self, tell: Tell, seconds: float) -> None:
        for number in list(self._over):
            self._remove(number)
        waited: dict[Any, int] = {}
        for number, place in self._places.items():
            waited |= {place.events: number, place.process.sentinel: number}
        ready = {waited[thing] for thing in wait(list(waited), seconds)}
        for number in sorted(ready):
            place = self._places[number]
            gone = not place.process.is_alive()  # before the pipe is emptied: then nothing can follow
            ended = False
            for event in _received(place.events):
                ended = event.kind in ("finished", "cannot open", "no room", "broke")
                if ended:
                    self._over.add(number)
                tell(number, event)
            if gone and not ended and self._places.get(number) is place:
                self._over.add(number)
                place.process.join()
                tell(number, Event("died", error=EngineError(_cause_of_death(place.process.exitcode))))

    def order_alone(self, keys: frozenset[str]) -> None:
        for place in self._places.values():
            with contextlib.suppress(OSError):  # just died
                place.orders.send(keys)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + GRACE
        stopping = [place for number, place in self._places.items() if number not in self._over]
        try:
            due = 0.0
            while stopping and time.monotonic() < deadline:
                if time.monotonic() >= due:
                    for place in stopping:
                        place.process.terminate()
                    due = time.monotonic() + AGAIN
                for place in stopping:
                    for _ in _received(place.events):  # a full pipe must not hold a worker up
                        pass
                wait([place.process.sentinel for place in stopping], 0.05)
                stopping = [place for place in stopping if place.process.is_alive()]
        finally:  # also when the user is impatient
            for number in list(self._places):
                self._remove(number)

    def _remove(self, number: int) -> None:
        """Forget a shift that is over; a process that will not end is killed."""
        place = self._places.pop(number, None)
        if place is not None:
            place.process.join(GRACE if number in self._over else 0)
            self._over.discard(number)
            place.process.kill()
            place.process.join()
            place.events.close()
            place.orders.close()

    def _placing(self, number: int) -> tuple[str | None, dict[str, str]]:
        """Device and environment of a worker."""
        environment = {}
        if "OMP_NUM_THREADS" not in os.environ:
            environment["OMP_NUM_THREADS"] = str(max(1, usable_cpus() // self.size))
        if self._devices is not None:
            return self._devices[number % len(self._devices)], environment
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[number % len(self._gpus)]
            return "cuda:0", environment
        return None, environment


def usable_cpus() -> int:
    """CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; without importing torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        return [name for name in names if name and not name.startswith("-")]
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [
        str(n) for n, _ in enumerate(line for line in listed.stdout.splitlines() if line.startswith("GPU "))
    ]


def _main(task: Task, tells: Connection, hears: Connection, parent: int) -> None:
    """A worker process from its first line to its last."""

    orders = Orders(task.alone)

    def stop(number: int, frame: object) -> None:
        if orders.releasing:
            return
        orders.stop()
        raise Stopped  # Python drops it where a finaliser runs; then the next SIGTERM raises it again

    lock = threading.Lock()

    def tell(event: Event) -> None:
        try:
            with lock:
                tells.send(event)
        except OSError:  # the parent is gone
            raise Stopped from None

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent decides
    with contextlib.suppress(Stopped):
        signal.signal(signal.SIGTERM, stop)
        threading.Thread(target=_listen, args=(hears, orders, parent), daemon=True, name="orders").start()
        with task.open_store() as store:
            try:
                work_shift(task, store, orders, tell)
            finally:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is left to be stopped but the closing


def _listen(hears: Connection, orders: Orders, parent: int) -> None:
    """Follow orders; when the parent is gone, stop this process, by force if it does not stop by itself."""
    with contextlib.suppress(OSError, EOFError):
        while os.getppid() == parent:
            if hears.poll(1.0):
                orders.alone = hears.recv()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def _received(events: Connection) -> Iterator[Event]:
    """What lies in the pipe; a message that a killed worker did not finish is left out."""
    with contextlib.suppress(OSError, EOFError):
        while events.poll(0):
            yield events.recv()


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            name = signal.Signals(-exitcode).name
        except ValueError:
            name = f"signal {-exitcode}"
        hint = ", perhaps for want of memory" if -exitcode == signal.SIGKILL else ""
        return f"killed by {name}{hint}"
    return f"its process ended with status {exitcode}"


@contextlib.contextmanager
def environment(changes: dict[str, str]) -> Iterator[None]:
    """What is started within has these variables; afterwards they are as before."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
