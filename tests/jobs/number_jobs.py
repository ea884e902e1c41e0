"""Small jobs of real files: numbers are squared, slowly or badly as each test needs."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synvita_data.errors import EngineError
from synvita_data.jobs import Claim, Record, quarantine_errors, work_key


def append(path: Path, line: str) -> None:
    """One write: lines of several processes do not mix."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def lines(path: Path) -> list[str]:
    """The lines of a file; one that is being written at the moment (over the end of a page) is not there yet."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def wait_until(condition: Callable[[], object], patience: float = 300.0) -> None:
    """Look again and again; an event comes when it comes, however busy the machine is."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)


def square(number: int) -> bytes:
    return (f"{number} squared is {number * number}\n" * 200).encode()


@dataclass(frozen=True)
class Squares:
    """Squares of 0 … count - 1, a file each.

    Every commit is told in `log` after it stands: `number pid`.

    Attributes:
        seconds: of work per number. together: claims in hand at a time.
        raises: numbers whose row is bad. breaks: numbers an exception leaves `run` at.
        kills: numbers at which the process is killed by SIGKILL, as often as `once` allows.
        once: breaks and kills happen once only (a file remembers).
        missing: no worker can be opened.
        meet: nothing is settled before so many workers have something in hand.
        opens: the last number is not written before so many workers were opened.
        gate: until this file exists a worker writes `quota` numbers, and then only half of the next.
    """

    root: Path
    log: Path
    count: int = 20
    title: str = "squaring"
    seconds: float = 0.0
    together: int = 1
    raises: tuple[int, ...] = ()
    breaks: tuple[int, ...] = ()
    kills: tuple[int, ...] = ()
    once: bool = True
    missing: bool = False
    meet: int = 0
    opens: int = 0
    gate: Path | None = None
    quota: int = 0

    def inputs(self) -> dict[str, Any]:
        return {self.key(number): number for number in range(self.count)}

    @staticmethod
    def key(number: int) -> str:
        return work_key(square=number)

    def open_worker(self, device: str | None) -> "Squarer":
        if self.missing:
            raise EngineError("there is no such model", file=self.root / "model", fix="Download it")
        append(
            self.log.with_name("opened"), f"{os.getpid()} {device} {os.environ.get('CUDA_VISIBLE_DEVICES')}"
        )
        append(self.log.with_name("variables"), " ".join(sorted(os.environ)))
        return Squarer(self)

    def check(self, record: Record) -> str | None:
        whole = record.path("square.txt").read_bytes() == square(record.fields["number"])
        return None if whole else "not the square"


class Squarer:
    def __init__(self, job: Squares) -> None:
        self.job = job
        self.written = 0

    def run(self, held: Iterator[tuple[Claim, Any]]) -> None:
        batch: list[tuple[Claim, int]] = []
        for claim, number in held:
            batch.append((claim, number))
            if len(batch) == self.job.together:
                self.settle(batch)
                batch = []
        self.settle(batch)

    def settle(self, batch: list[tuple[Claim, int]]) -> None:
        for _, number in batch:
            if number in self.job.kills and self.may("kill", number):
                os.kill(os.getpid(), signal.SIGKILL)
            if number in self.job.breaks and self.may("break", number):
                raise MemoryError(f"no memory at {number}")
        if batch and self.job.meet:
            append(self.job.log.with_name("met"), str(os.getpid()))
            wait_until(lambda: len(set(lines(self.job.log.with_name("met")))) >= self.job.meet)
        for claim, number in batch:
            with quarantine_errors(claim):
                if number in self.job.raises:
                    raise ValueError(f"{number} is a bad number")
                if number == self.job.count - 1:
                    wait_until(lambda: len(lines(self.job.log.with_name("opened"))) >= self.job.opens)
                self.write(claim.path("square.txt"), square(number))
                if claim.commit({"number": number}):
                    append(self.job.log, f"{number} {os.getpid()}")

    def write(self, path: Path, content: bytes) -> None:
        with path.open("wb", buffering=0) as handle:
            for start in range(0, len(content), 1500):
                handle.write(content[start : start + 1500])
                time.sleep(self.job.seconds * 1500 / len(content))
                if (
                    start >= len(content) // 2
                    and self.job.gate is not None
                    and self.written >= self.job.quota
                ):
                    wait_until(Path(self.job.gate).exists)
        self.written += 1

    def may(self, what: str, number: int) -> bool:
        mark = self.job.log.with_name(f"{what}-{number}")
        append(mark, "x")
        return not self.job.once or len(lines(mark)) == 1

    def close(self) -> None:
        append(self.job.log.with_name("closed"), str(os.getpid()))


def made(job: Squares) -> Counter[int]:
    """Number -> how many times it was reported done."""
    return Counter(int(line.split()[0]) for line in lines(job.log))


def workers_of(job: Squares) -> set[str]:
    return {line.split()[1] for line in lines(job.log)}


def assert_whole(job: Squares, without: tuple[int, ...] = ()) -> None:
    """Every number but `without` has its right square in the store, and nothing else is there."""
    from synvita_data.jobs import Store

    store = Store(job.root)
    wanted = [number for number in range(job.count) if number not in without]
    for number in wanted:
        record = store.validate(job.key(number), deep=True)
        assert record.fields == {"number": number}
        assert record.path("square.txt").read_bytes() == square(number)
    files = [path for path in job.root.rglob("*") if path.is_file() and path.name != "clock"]
    failed = [path for path in files if path.name.endswith(".failed.json")]
    assert len(files) == 2 * len(wanted) + len(failed)
    assert list(job.root.glob("??/*.claim")) == list((job.root / "owners").iterdir()) == []
