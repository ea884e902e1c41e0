"""Workers in processes of this machine, one per GPU where there are any."""

import contextlib
import multiprocessing
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .job import Job
from .worker import LAST, Controls, Event, Task, run_worker

# A fresh interpreter: CUDA and threads do not survive a fork. Tests whose jobs use neither may set "fork".
START_METHOD = "spawn"
GRACE = 10.0  # seconds a worker has to release its claims before it is killed
AGAIN = 3.0  # seconds after which a worker that has not stopped gets SIGTERM once more


class Stopped(BaseException):
    """Raised in a worker that shall stop now; no `except Exception` may hold it up."""


@dataclass(slots=True)
class Place:
    """A worker's process with the pipes from and to it."""

    process: Any
    events: Connection
    controls: Connection
    ended: bool = False  # its last event has been passed on


class Processes:
    """A pool of processes; a worker is told to stop by SIGTERM, and stops by itself when this process is gone.

    Args:
        job: sent to each worker.
        workers: how many.
        label: of the workers' claims; their numbers follow.
        devices: of the workers in turn. None: GPU by GPU, each worker seeing its own as `cuda:0`; without
            GPUs, None.
    """

    def __init__(self, job: Job, workers: int, label: str, devices: Sequence[str] | None = None) -> None:
        self.size = workers
        self._job, self._label, self._devices = job, label, devices
        self._gpus = visible_gpus() if devices is None else []
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._places: dict[int, Place] = {}

    def start(self, number: int, todo: tuple[str, ...], isolated: frozenset[str]) -> None:
        self._remove(number)
        device, changes = self._device_and_environment(number)
        task = Task(self._job, todo, f"{self._label}{number}", device, isolated)
        events, tells = self._context.Pipe(duplex=False)
        hears, controls = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_main, args=(task, tells, hears, os.getpid()), name=f"synvita-worker-{number}"
        )
        with environment(changes):  # the child's own: it must be there before its first import
            process.start()
        tells.close()
        hears.close()
        self._places[number] = Place(process, events, controls)

    def wait(self, tell: Callable[[int, Event], None], seconds: float) -> None:
        for number in [number for number, place in self._places.items() if place.ended]:
            self._remove(number)
        waited: dict[Any, int] = {}
        for number, place in self._places.items():
            waited |= {place.events: number, place.process.sentinel: number}
        for number in sorted({waited[thing] for thing in wait(list(waited), seconds)}):
            place = self._places[number]
            gone = not place.process.is_alive()  # before the pipe is emptied: then nothing can follow
            for event in _received(place.events):
                place.ended = event.kind in LAST
                tell(number, event)
            if gone and not place.ended:
                place.ended = True
                place.process.join()
                tell(number, Event("died", error=EngineError(_cause_of_death(place.process.exitcode))))

    def isolate(self, keys: frozenset[str]) -> None:
        for place in self._places.values():
            with contextlib.suppress(OSError):  # just died
                place.controls.send(keys)

    def finish(self) -> None:
        """Nothing: leaving stops the workers."""

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: object) -> None:
        deadline = time.monotonic() + GRACE
        stopping = [place for place in self._places.values() if not place.ended]
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
        """Forget a worker that has ended; a process that will not end is killed."""
        place = self._places.pop(number, None)
        if place is not None:
            place.process.join(GRACE if place.ended else 0)
            place.process.kill()
            place.process.join()
            place.events.close()
            place.controls.close()

    def _device_and_environment(self, number: int) -> tuple[str | None, dict[str, str]]:
        changes = {}
        if "OMP_NUM_THREADS" not in os.environ:
            changes["OMP_NUM_THREADS"] = str(max(1, usable_cpus() // self.size))
        if self._devices is not None:
            return self._devices[number % len(self._devices)], changes
        if self._gpus:
            changes["CUDA_VISIBLE_DEVICES"] = self._gpus[number % len(self._gpus)]
            return "cuda:0", changes
        return None, changes


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
    return [str(number) for number in range(len(re.findall(r"^GPU ", listed.stdout, re.MULTILINE)))]


def _main(task: Task, tells: Connection, hears: Connection, parent: int) -> None:
    """A worker process from its first line to its last."""
    controls = Controls(task.isolated)

    def stop(number: int, frame: object) -> None:
        if controls.releasing:
            return
        controls.stop()
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
        threading.Thread(target=_listen, args=(hears, controls, parent), daemon=True).start()
        with task.open_store() as store:
            try:
                run_worker(task, store, controls, tell)
            finally:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is left to be stopped but the closing


def _listen(hears: Connection, controls: Controls, parent: int) -> None:
    """Follow what the run tells; when the parent is gone, stop this process, by force if it does not stop by itself."""
    with contextlib.suppress(OSError, EOFError):
        while os.getppid() == parent:
            if hears.poll(1.0):
                controls.isolated = hears.recv()
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
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
