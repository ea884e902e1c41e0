"""What a long job is: keys on a store, what each key needs, and how a worker that can do them is opened.

A job says nothing about processes, GPUs or clusters; an engine says nothing about models. An engine sends the
job to its workers (so a job is plain data that other processes can receive), each opens one `Worker`, and the
store alone decides who does which key.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .claim import Claim
from .records import Record


@runtime_checkable
class Worker(Protocol):
    """One loaded model (or program) that settles claims."""

    def run(self, held: Iterator[tuple[Claim, Any]]) -> None:
        """Settle every claim that `held` gives, with what its key needs, until it gives no more.

        Each claim ends by `commit` or `quarantine`; `with settling(claim):` is the usual way. A worker may take
        several before it ends the first, to decode ahead or to batch; only one thread may draw from `held`.
        `held` never waits: it ends when nothing is free, so that a worker settles what it has in hand.

        What is wrong with one key is quarantined here. An exception that leaves `run` means that the worker
        itself is broken (no memory, a lost GPU) or the disk is full: its claims go back and the engine says
        so, opens another worker, and gives the keys that were in hand one at a time from then on. `run` is called
        again when keys become free again.
        """

    def close(self) -> None:
        """Give back what it holds; called once, also after an exception."""


class Job(Protocol):
    """Plain data: it is sent to other processes and machines.

    A job may also have a method `check(record) -> str | None` (see `CheckedJob`).

    Attributes:
        title: a few words for progress and reports ("generating", "scoring with llava-1.5").
        root: folder of its store, on a file system that all workers see.
    """

    @property
    def title(self) -> str: ...

    @property
    def root(self) -> Path: ...

    def needs(self) -> dict[str, Any]:
        """Key -> what a worker needs to do it, in the order of work; plain data.

        Called once in the engine, before anything else, so it imports nothing heavy; and once in each worker.
        Equal inputs give equal keys.
        """

    def open_worker(self, device: str | None) -> Worker:
        """Load what the work needs, on this device (None: the worker's own choice); heavy imports are here.

        Raises:
            SynvitaError: what is missing (a model, a folder, a package). The run ends at once with it.
        """


@runtime_checkable
class CheckedJob(Protocol):
    """A job that can look into its results, beyond size and SHA-256."""

    def check(self, record: Record) -> str | None:
        """Why this result is no good ("its video cannot be decoded"), None when it is good.

        Called with `verify="contents"` only, for each finished key, from several threads.
        """
