"""Children by fork after the heavy imports: this process imports, and does nothing else, so that a fork is a fresh start.

What a target imports is learnt from a first child, which does the work once and says what it had to import.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE = 300.0  # seconds that a child may neither say nor do anything


class LostChild(Exception):
    """A child ended without saying how, or said nothing for too long."""

    def __init__(self, status: int | None, trace: str = "") -> None:
        self.status, self.trace = status, trace
        super().__init__("it said nothing" if status is None else f"it ended with status {status}")


def fork(work: Callable[[Callable[[Any], None]], None], *, quiet: bool = True) -> "Child":
    """Start `work(tell)` in a child; what it tells, JSON-ready, comes out of the `Child`."""
    assert not threads(), f"a process with threads is forked: {threads()}"
    reads, writes = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writes)
        return Child(pid, reads)
    status = 70
    try:
        os.close(reads)
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        trace = os.open(f"{tempfile.gettempdir()}/campaign-{os.getpid()}.trace", os.O_RDWR | os.O_CREAT)
        faulthandler.register(signal.SIGUSR1, trace, all_threads=True)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2) if quiet else (0,):
            os.dup2(null, number)

        def tell(value: Any) -> None:
            # One write, which a kill cannot cut as long as it is short; the reader takes whole lines.
            os.write(writes, json.dumps(value).encode() + b"\n")

        work(tell)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        if not quiet:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(status)


class Child:
    """A forked process.

    Args:
        pid: its id, and its group's.
        pipe: descriptor of what it tells.
    """

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid, self.pipe, self.status = pid, pipe, -1
        self.trace = Path(tempfile.gettempdir(), f"campaign-{pid}.trace")

    def told(self, patience: float = PATIENCE) -> Iterator[Any]:
        """What the child tells, until it ends; its `status` is known afterwards.

        Raises:
            LostChild: it neither said nor did anything for so many seconds, and was killed.
        """
        rest, used, idle = b"", 0, 0.0
        while True:
            if not select.select([self.pipe], [], [], patience / 10)[0]:
                # A child that works, or waits for its turn on a busy machine, hangs nowhere.
                before, (used, runnable) = used, self._work()
                idle = 0.0 if runnable or used > before else idle + patience / 10
                if idle < patience:
                    continue
                os.kill(self.pid, signal.SIGUSR1)  # it writes where it hangs
                time.sleep(1)
                trace = self.trace.read_text(errors="replace") if self.trace.exists() else ""
                self.kill()
                self.wait()
                raise LostChild(None, trace)
            block = os.read(self.pipe, 1 << 16)
            if not block:
                self.wait()
                return
            *lines, rest = (rest + block).split(b"\n")
            yield from map(json.loads, lines)

    def _work(self) -> tuple[int, bool]:
        """Ticks of CPU that the child and those that it has waited for have taken; whether it would work now."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0, True
        return sum(map(int, fields[11:15])), fields[0] in "RD"

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit status; minus the signal that ended it."""
        if self.status == -1 and self.pipe >= 0:
            _, status = os.waitpid(self.pid, 0)
            os.close(self.pipe)
            self.pipe, self.status = -1, os.waitstatus_to_exitcode(status)
            self.trace.unlink(missing_ok=True)
            end_group(self.pid)
        return self.status


def end_group(group: int, patience: float = 60.0) -> None:
    """Kill what is left of a child's process group, and wait until it is gone."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.005)


def run(work: Callable[[Callable[[Any], None]], None], *, quiet: bool = True) -> list[Any]:
    """What a child tells, which must end well.

    Raises:
        LostChild: it did not.
    """
    child = fork(work, quiet=quiet)
    told = list(child.told())
    if child.status:
        raise LostChild(child.status)
    return told


def learn_imports(work: Callable[[], Any], *, quiet: bool = True) -> list[Any]:
    """Do `work` in a child and import here what it imported there; what it told, should `work` give a list."""

    def first(tell: Callable[[Any], None]) -> None:
        before = set(sys.modules)
        value = work()
        names = [name for name in sys.modules if name not in before]
        for start in range(0, len(names), 20):
            tell(["import", names[start : start + 20]])
        tell(["value", value])

    try:
        told = run(first, quiet=quiet)
    except LostChild as lost:
        if not quiet:
            print(lost.trace, file=sys.stderr)
        raise
    for kind, names in told:
        if kind == "import":
            for name in names:
                with contextlib.suppress(BaseException):
                    importlib.import_module(name)
                assert not threads(), f"the import of {name} has started {threads()}"
    return told[-1][1]


def threads() -> list[str]:
    """Names of further threads of this process; jemalloc's, which pyarrow brings, bears a fork."""
    own = [task / "comm" for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
    return [name for name in (path.read_text().strip() for path in own) if name != "jemalloc_bg_thd"]


def own_memory() -> int:
    """Bytes of address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
