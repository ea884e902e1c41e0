"""Where workers run: what an engine must offer the supervisor, and the simplest one, this process."""

import gc
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from .job import Job
from .worker import Event, Orders, Task, work_shift

Tell = Callable[[int, Event], None]


class Crew(Protocol):
    """Workers numbered 0 to size - 1, each of which can be started again when its shift has ended."""

    size: int

    def start(self, number: int, todo: tuple[str, ...], alone: frozenset[str]) -> None:
        """Start worker `number` on the keys `todo`; those `alone` are done last and one at a time."""

    def wait(self, tell: Tell, seconds: float) -> None:
        """Pass on what workers have told, waiting at most about `seconds` for something.

        Each shift's events come in order, and one that ends the shift comes last: "died" if the worker
        can tell nothing any more.
        """

    def order_alone(self, keys: frozenset[str]) -> None:
        """Tell the workers at work that these keys are to be done last and one at a time."""

    def __enter__(self) -> "Crew": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every worker: orderly, so that claims go back, then by force."""


class ThisProcess:
    """One worker in the calling thread: it works inside `wait`, which returns when its shift has ended."""

    size = 1

    def __init__(self, job: Job, needs: dict[str, Any], label: str, device: str | None) -> None:
        self._job = job
        self._needs = needs
        self._label = label
        self._device = device
        self._task: Task | None = None
        self._orders = Orders()

    def start(self, number: int, todo: tuple[str, ...], alone: frozenset[str]) -> None:
        self._orders = Orders(alone)
        self._task = Task(self._job, todo, self._label, self._device, alone)

    def wait(self, tell: Tell, seconds: float) -> None:
        task, self._task = self._task, None
        if task is not None:
            gc.collect()  # a broken worker's model may hang in a cycle with its traceback
            with task.open_store() as store:
                work_shift(task, store, self._orders, lambda event: tell(0, event), self._needs)

    def order_alone(self, keys: frozenset[str]) -> None:
        self._orders.alone = keys

    def __enter__(self) -> "ThisProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._orders.stop()
