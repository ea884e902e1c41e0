"""What a long job is, and how it is run.

A job says which keys it has, what each of them takes as input, and how a worker that can do them is opened. It says
nothing about processes, GPUs or clusters: that is what `RunOptions` say. An engine sends the job to its workers (so a
job is plain data that other processes can receive), each opens one `Worker`, and the store alone decides who does
which key.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from ..errors import EngineError, choose
from .claim import Claim
from .records import Record, digest_of

Engine = Literal["local", "ray"]
Verify = Literal["sizes", "contents"]
SHARD_FORM = "I/N with 0 <= I < N, such as 0/8 to 7/8 (shards count from 0, like Slurm's --array=0-7)"


@runtime_checkable
class Worker(Protocol):
    """One loaded model (or program) that does the work of claims."""

    def run(self, claims: Iterator[tuple[Claim, Any]]) -> None:
        """End every claim that `claims` gives, with the input of its key, until it gives no more.

        Each claim ends by `commit` or `quarantine`; `with quarantine_errors(claim):` is the usual way. A worker may take
        several before it ends the first, to decode ahead or to batch; only one thread may draw from `claims`.
        `claims` never waits: it ends when no key is free, so that a worker finishes what it has claimed.

        What is wrong with one key is quarantined here. An exception that leaves `run` means that the worker
        itself is broken (out of memory, a lost GPU) or the disk is full: its claims are released and the engine
        reports it, opens another worker, and gives the keys that were claimed one at a time from then on. `run` is
        called again when keys become free again.
        """

    def close(self) -> None:
        """Free what it holds; called once, also after an exception."""


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

    def inputs(self) -> dict[str, Any]:
        """Key -> its input: what a worker needs to do it, in the order of work; plain data.

        Called once in the engine, before anything else, so it imports nothing heavy; and once in each worker.
        Equal inputs give equal keys.
        """

    def open_worker(self, device: str | None) -> Worker:
        """Load what the work needs; heavy imports are here.

        Args:
            device: where to load it; None for the worker's own choice.

        Raises:
            SynvitaError: what is missing (a model, a folder, a package). The run ends at once with it.
        """


@runtime_checkable
class CheckedJob(Protocol):
    """A job that can look into its results, beyond size and SHA-256."""

    def check(self, record: Record) -> str | None:
        """Why this result is not usable ("its video cannot be decoded"), None when it is good.

        Called with `verify="contents"` only, for each finished key, from several threads.
        """


@runtime_checkable
class SameFaultJob(Protocol):
    """A job whose keys may all fail for one reason that is no worker's: a program that is not there, say.

    Attributes:
        alike: a run ends after so many keys that failed in one and the same way, if none was done.
    """

    @property
    def alike(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Shard:
    """The keys whose digest leaves `index` when divided by `count`.

    By digest, not by place in the list: a key stays in its shard when rows are added, removed or moved. The
    shards of one `count` are disjoint and cover every key.

    Raises:
        EngineError: not 0 <= index < count.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise EngineError("unknown shard", found=str(self), expected=SHARD_FORM)

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`"2/8"` as on the command line. Raises EngineError that shows the form."""
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
        if match is None:
            raise EngineError("a shard cannot be read", found=repr(text), expected=SHARD_FORM)
        return cls(int(match[1]), int(match[2]))

    def take(self, keys: Iterable[str]) -> list[str]:
        """The keys of this shard, in the order given."""
        return [key for key in keys if int(digest_of(key), 16) % self.count == self.index]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a job is run; the same for every job, and for every command that runs one.

    A new option is added here, to the options of the command line (`commands/options.py`), and where it acts.

    Attributes:
        engine: "local", this machine; "ray", actors placed by Ray.
        workers: 1 is this process itself (for "local"); N are N processes, one per GPU where there are any.
        address: of a Ray cluster; None starts one on this machine and ends it afterwards.
        shard: only the keys of this part, `"2/8"` or a `Shard`.
        limit: at most so many keys that are not done yet; what other runs have claimed is not waited for.
        retry_failed: take the shard's keys out of quarantine first.
        verify: how results prove themselves that are found done. "sizes": their files are there in full
            size. "contents": they have the right SHA-256 too, and pass the job's own `check`; reads every file.
            A result that is not usable is done again and reported.
        devices: of the workers in turn ("cuda:0", "cpu"); for "local" only.

    Raises:
        EngineError: a value that cannot be used.
    """

    engine: Engine = "local"
    workers: int = 1
    address: str | None = None
    shard: Shard | str | None = None
    limit: int | None = None
    retry_failed: bool = False
    verify: Verify = "sizes"
    devices: Sequence[str] | None = None

    def __post_init__(self) -> None:
        choose(self.engine, get_args(Engine), "engine", error=EngineError)
        choose(self.verify, get_args(Verify), "way to verify results", error=EngineError)
        for name in ("workers", "limit"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise EngineError(f"{name} is too small", found=f"{name}={number}", expected="1 or more")
        if self.address is not None and self.engine != "ray":
            raise EngineError(
                "only Ray has an address", found=self.address, fix="Use engine='ray' (--engine ray)"
            )
        if self.devices is not None and (self.engine == "ray" or not self.devices):
            raise EngineError(
                "devices cannot be named",
                found=self.devices,
                expected="one or more names, for engine='local'; Ray places its workers itself",
            )
        self.take(())  # a shard that cannot be read

    def take(self, keys: Iterable[str]) -> list[str]:
        """The keys of the shard, in the order given; all of them without one."""
        shard = Shard.parse(self.shard) if isinstance(self.shard, str) else self.shard
        return list(keys) if shard is None else shard.take(keys)
