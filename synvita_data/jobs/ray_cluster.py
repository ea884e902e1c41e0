"""Workers that Ray places: on the cluster at an address, or on one of this machine that lives as long as the run.

Ray starts actors, says when one died, and carries controls and events; all that must survive stands in the store.
Every machine needs this package, the job's models, and the store's folder under the same path.

Whoever reaches a cluster's ports runs code as its owner. So a cluster that is started here asks every connection for a
fresh token, known to nobody but the cluster's own processes (by their environment), its ports are on the loopback
address alone, and nothing of it stays.
"""

import atexit
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import EngineError, SynvitaError
from ..extras import install_line
from .failures import one_line
from .job import Job
from .processes import environment, usable_cpus
from .worker import LAST, Controls, Event, Task, Tell, run_worker

GRACE = 5.0  # seconds an actor has to end what it does before its claims are released for it
ANSWER = 300.0  # seconds in which a living event log answers, on a machine that does much else too
ADDRESS = "Give the address that 'ray start --head' printed, or none for a cluster on this machine"
STARTS = 3  # attempts to start a cluster
OBJECT_STORE = 100 * 2**20  # bytes; nothing but tasks and events goes through Ray
TOKEN = "RAY_AUTH_TOKEN"
NEEDS = "2.52"  # the first Ray whose clusters can ask for a token


# Actors


class EventLog:
    """An actor beside the run that keeps the events of workers until they are asked for.

    A worker waits until its event is here: what a killed worker had claimed is always known. Should this actor be killed,
    Ray starts it again and repeats the calls that it has not answered; what it held then is lost, which matters little:
    the store knows what is done, and how a worker ended comes with the end of its `work`.
    """

    def __init__(self) -> None:
        self._events: list[tuple[int, Event]] = []

    def tell(self, number: int, event: Event) -> None:
        self._events.append((number, event))

    def drain(self) -> list[tuple[int, Event]]:
        events, self._events = self._events, []
        return events


def _tell(log: Any, number: int, event: Event) -> None:
    """Send a worker's event to the log and wait until it is there."""
    import ray

    ray.get(log.tell.remote(number, event))


class RayWorker:
    """One worker's actor. `work` runs in one thread of it, controls come in another."""

    def __init__(self, task: Task, tell: Tell, private: bool) -> None:
        if private:  # the programs that the worker starts need no token; Ray has read it, and keeps it
            os.environ.pop(TOKEN, None)
        self._task = task
        self._tell = tell
        self._controls = Controls(task.isolated)
        self._store = task.open_store()
        self._ended = threading.Event()

    def work(self) -> Event | None:
        """Do what is free; the last event, which has been told as well."""
        last = None

        def tell(event: Event) -> None:
            nonlocal last
            last = event if event.kind in LAST else None
            self._tell(event)

        try:
            with self._store:
                run_worker(self._task, self._store, self._controls, tell)
        finally:
            self._ended.set()
        return last

    def isolate(self, keys: frozenset[str]) -> None:
        self._controls.isolated = keys

    def stop(self, seconds: float) -> None:
        """Release all claims: by ending what is claimed if that is quick, else by dropping it."""
        self._controls.stop()
        if not self._ended.wait(seconds):
            self._store.close()  # what is committed from now on is lost to the next worker's result


@dataclass(slots=True)
class _Actor:
    """A worker's actor, as the run sees it."""

    actor: Any
    work: Any  # reference to the end of its work
    placed: bool = False  # an event of it has come
    ended: bool = False  # its last event has come


class RayActors:
    """A pool of actors, with a GPU each where the cluster has GPUs, else with a CPU each.

    Args:
        job: sent to each worker.
        workers: how many.
        label: of the workers' claims; their numbers follow.
        address: of a running cluster ("auto", "host:port", "ray://…"); None starts one on this machine.

    Raises:
        EngineError: Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, job: Job, workers: int, label: str, address: str | None = None) -> None:
        self.size = workers
        self._job, self._label, self._address = job, label, address
        self._ray: Any = _import_ray()
        self._cluster = contextlib.ExitStack()  # what is to be ended of a connection or a cluster of ours
        self._private = False
        self._on_gpu = False
        self._log: Any = None
        self._actors: dict[int, _Actor] = {}

    def finish(self) -> None:
        """Nothing: leaving stops the workers."""

    def __enter__(self) -> "RayActors":
        ray = self._ray
        with contextlib.ExitStack() as undo:
            undo.callback(self._cluster.close)
            if not ray.is_initialized():
                self._connect()
            self._on_gpu = ray.cluster_resources().get("GPU", 0) > 0
            here = ray.get_runtime_context().get_node_id()
            near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
            lasting = {"max_restarts": -1, "max_task_retries": -1}
            log = ray.remote(EventLog).options(num_cpus=0, scheduling_strategy=near, **lasting)
            self._log = log.remote()
            undo.pop_all()
        return self

    def start(self, number: int, todo: tuple[str, ...], isolated: frozenset[str]) -> None:
        self._remove(number)
        task = Task(self._job, todo, f"{self._label}{number}", "cuda:0" if self._on_gpu else None, isolated)
        resources = {"num_cpus": 1, "num_gpus": 1} if self._on_gpu else {"num_cpus": 1}
        make = self._ray.remote(RayWorker).options(max_concurrency=3, max_restarts=0, **resources)
        actor = make.remote(task, partial(_tell, self._log, number), private=self._private)
        self._actors[number] = _Actor(actor, actor.work.remote())

    def wait(self, tell: Callable[[int, Event], None], seconds: float) -> None:
        ray = self._ray
        at_work = {each.work: (number, each) for number, each in self._actors.items()}
        ready, _ = ray.wait(list(at_work), num_returns=1, timeout=seconds) if at_work else ([], [])
        # Events are asked for after the look at the actors: then nothing of a dead one is missing.
        for number, event in self._drained():
            if (each := self._actors.get(number)) is not None:
                each.placed, each.ended = True, event.kind in LAST
            tell(number, event)
        for work in ready:
            number, actor = at_work[work]
            if self._actors.get(number) is not actor:
                continue  # its worker was started again when its last event came
            try:
                last = ray.get(work) or Event("died", error=EngineError("its Ray actor ended without a word"))
            except ray.exceptions.RayError as error:
                last = Event("died", error=EngineError(f"its Ray actor died: {_first_sentence(error)}"))
            if not actor.ended:
                actor.ended = True
                tell(number, last)
            if self._actors.get(number) is actor:
                self._remove(number)  # another program may want its GPU

    def isolate(self, keys: frozenset[str]) -> None:
        for each in self._actors.values():
            each.actor.isolate.remote(keys)

    def __exit__(self, *error: object) -> None:
        ray = self._ray
        try:
            with contextlib.suppress(EngineError):
                for number, _ in self._drained():
                    if number in self._actors:
                        self._actors[number].placed = True
            # Actors that Ray has not placed yet hold nothing.
            stopping = [each.actor.stop.remote(GRACE) for each in self._actors.values() if each.placed]
            if stopping:
                ray.wait(stopping, num_returns=len(stopping), timeout=GRACE + 5)
        finally:
            for number in list(self._actors):
                self._remove(number)
            if self._log is not None:
                ray.kill(self._log)
            self._cluster.close()

    def _remove(self, number: int) -> None:
        each = self._actors.pop(number, None)
        if each is not None:
            if each.ended:  # it is closing its store
                self._ray.wait([each.work], timeout=GRACE)
            self._ray.kill(each.actor)

    def _drained(self) -> list[tuple[int, Event]]:
        try:
            return self._ray.get(self._log.drain.remote(), timeout=ANSWER)
        except self._ray.exceptions.RayError as error:
            actor = isinstance(error, self._ray.exceptions.RayActorError)
            what = "the actor that keeps the workers' events is" if actor else "the connection to Ray is"
            raise EngineError(
                f"{what} lost: {_first_sentence(error)}",
                fix="Run again when the cluster is well; what was done is in the store",
            ) from error

    def _connect(self) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        try:
            if self._address is None:
                self._private = True
                self._cluster.enter_context(private_cluster(self._ray, max(self.size, usable_cpus())))
            else:
                _check_answers(self._address)
                self._cluster.callback(self._ray.shutdown)
                self._ray.init(address=self._address, log_to_driver=False, logging_level="error")
        except SynvitaError:
            raise
        except Exception as error:  # Ray raises whatever it likes
            raise EngineError(
                f"Ray cannot be reached: {one_line(error)}",
                found=self._address or "a new cluster on this machine",
                fix=ADDRESS,
            ) from error
        finally:
            if threading.current_thread() is threading.main_thread() and handler is not None:
                signal.signal(signal.SIGTERM, handler)  # instead of Ray's own


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "ray":
            raise
        raise EngineError(
            "the engine 'ray' needs Ray, which is not installed", fix=install_line("ray")
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
        raise EngineError(f"Ray cannot be reached: {one_line(error)}", found=address, fix=ADDRESS) from error


def _first_sentence(error: BaseException) -> str:
    """What matters of Ray's page-long text: its first line, and the kind of exit or the error it ends with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    kind = re.search(r"exit type: (\w+)", str(error))
    more = kind[1] if kind else lines[-1]
    return lines[0][:300] + (f" ({more[:200]})" if more != lines[0] else "")


# A cluster of this machine that nobody but the run can use


@contextlib.contextmanager
def private_cluster(ray: Any, cpus: int) -> Iterator[None]:
    """A cluster that asks for a token, while the `with` lasts."""
    for attempt in range(1, STARTS + 1):
        with contextlib.ExitStack() as cluster:
            try:
                _start_private(ray, cpus, cluster)
            except EngineError:
                raise
            except Exception:  # a busy machine may not make it within the 30 seconds that Ray allows
                if attempt == STARTS:
                    raise
                continue
            yield
            return


def _start_private(ray: Any, cpus: int, cluster: contextlib.ExitStack) -> None:
    """Start a cluster, and register what ends it with `cluster`."""
    folder = tempfile.mkdtemp(prefix="synvita-ray-", dir=_short_temporary_folder())
    cluster.callback(remove_for_good, Path(folder))
    cluster.callback(_read_environment_again)  # this process may use another cluster next
    cluster.callback(ray.shutdown)
    # Again at the end, after Ray's own last acts: its agents write there while they die.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # What this process can import, its workers can: also from a checkout.
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with _token(), _loopback(ray), environment(paths):
        ray.init(
            address="local",
            num_cpus=cpus,
            object_store_memory=OBJECT_STORE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            # Ray opens it to every user of the machine; the folder above it stays ours.
            _temp_dir=str(Path(folder) / "r"),
        )


@contextlib.contextmanager
def _token() -> Iterator[None]:
    """What Ray starts within asks for a new random token, whatever the user's environment says."""
    with environment({"RAY_AUTH_MODE": "token", TOKEN: secrets.token_hex(32)}):
        if not _read_environment_again():
            import ray

            raise EngineError(
                "Ray would start a cluster that lets anyone in who reaches its ports",
                found=f"ray {ray.__version__}",
                expected=f"ray {NEEDS} or newer, which asks for a token",
                fix=f"{install_line('ray').replace('install', 'install --upgrade', 1)}, or --engine local",
            )
        yield


def _read_environment_again() -> bool:
    """Have Ray read mode and token again, which it reads once in a process and has no public call for.

    Returns:
        Whether it asks for a token now; False for a Ray that cannot.
    """
    try:
        from ray import _raylet

        raylet: Any = _raylet  # what Ray's compiled part declares of itself leaves these out
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()
        return bool(raylet.get_authentication_mode() == raylet.AuthenticationMode.TOKEN)
    except (ImportError, AttributeError):
        return False


@contextlib.contextmanager
def _loopback(ray: Any) -> Iterator[None]:
    """What Ray starts within listens on the loopback address alone.

    Ray does so by itself on macOS and Windows, where it has clusters of one machine only, and elsewhere where this
    switch says so (`_node_ip_address` does not: it is replaced by the address that others see).
    """
    constants = ray._private.ray_constants
    variable = getattr(constants, "ENABLE_RAY_CLUSTERS_ENV_VAR", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    before = getattr(constants, "ENABLE_RAY_CLUSTER", None)  # read when ray was imported
    with environment({variable: "0"}):
        constants.ENABLE_RAY_CLUSTER = False
        try:
            yield
        finally:
            constants.ENABLE_RAY_CLUSTER = before


def remove_for_good(folder: Path) -> None:
    """Remove a folder that dying processes may write to for a moment longer."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)
        if not folder.exists():
            return


def _short_temporary_folder() -> str:
    """Ray's sockets lie some 67 characters below it, and a socket's path may have 107."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 18 or not Path("/tmp").is_dir() else "/tmp"
