"""What a long job is: keys on a store, what each key needs, and how a worker that can do them is opened.

A job says nothing about processes, GPUs or clusters; an engine says nothing about models. An engine sends the
job to its workers (so a job is plain data that other processes can receive), each opens one `Worker`, and the
store alone decides who does which key.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..store import Claim


@runtime_checkable
class Worker(Protocol):
    """One loaded model (or program) that settles claims."""

    def run(self, held: Iterator[tuple[Claim, Any]]) -> None:
        """Settle every claim that `held` gives, with what its key needs, until it gives no more.

        Each claim ends by `commit` or `quarantine`. A worker may take several before it ends the first, to
        decode ahead or to batch. What is wrong with one key is quarantined here; an exception that leaves
        `run` means that the worker itself is broken (no memory, a lost GPU): its claims go back and the
        engine reports it.
        """

    def close(self) -> None:
        """Give back what it holds."""


class Job(Protocol):
    """Plain data: it is sent to other processes and machines.

    Attributes:
        title: a few words for progress and reports ("generating", "scoring with llava-1.5").
        root: folder of its store, on a file system that all workers see.
    """

    title: str
    root: Path

    def needs(self) -> dict[str, Any]:
        """Key -> what a worker needs to do it, in the order of work; plain data.

        Called once in the engine and once in each worker; equal inputs give equal keys.
        """

    def open_worker(self, device: str | None) -> Worker:
        """Load what the work needs, on this device (None: the worker's own choice); heavy imports are here."""
