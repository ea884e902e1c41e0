"""Progress of a long job: a bar on a terminal, an occasional line elsewhere, nothing where it is switched off.

A log file gets lines such as

    generate: 1,200 of 16,856, 3 quarantined, 97 reused, 0.52/s, 8 h 22 min left
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from .display import Terminal, plain

if TYPE_CHECKING:
    from .jobs import JobProgress

LINE_EVERY = 15.0  # seconds between lines where there is no terminal
WINDOW = 300.0  # seconds the rate is taken over: what was slow an hour ago says nothing about the rest


class Progress:
    """How far a job is, its rate and the time left, on standard error.

    The rate is that of this run over the last five minutes: what an earlier run had done, which the
    first call of `at` tells, counts as done, not as fast. Threads may share one.

    Args:
        title: what is being done.
        enabled: False shows nothing (all processes but the first).
        stream: default standard error, so that output can be piped.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        title: str,
        *,
        enabled: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = plain(title)
        self._enabled = enabled
        self._stream = stream or sys.stderr
        self._clock = clock
        self._lock = threading.Lock()
        self._bar: Any = None
        self._task: Any = None
        self._began = self._said = clock()
        self._samples: deque[tuple[float, int]] = deque()  # (time, done), a second apart or more

    def __enter__(self) -> "Progress":
        if self._enabled and self._stream.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}", markup=False),
                console=Terminal(stream=self._stream).console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(
        self,
        done: int,
        total: int,
        title: str | None = None,
        *,
        quarantined: int = 0,
        reused: int = 0,
        left: float | None = None,
    ) -> None:
        """Show that `done` of `total` units need no more work; another `title` begins another count.

        Args:
            done: how many units need no more work.
            total: how many there are.
            title: of this count; the earlier one by default.
            quarantined: how many of `done` failed; shown where it is not 0.
            reused: how many of `done` an earlier run had done; shown where it is not 0.
            left: seconds that the rest takes, of whoever knows better than the rate; the rate is not shown then.
        """
        if not self._enabled:
            return
        with self._lock:
            now = self._clock()
            if title is not None and plain(title) != self._title:
                self._title, self._task = plain(title), None
                self._samples.clear()
            if not self._samples:
                self._began = now
            rate = self._rate(now, done)
            if left is not None:
                rate = 0.0
            elif rate:
                left = (total - done) / rate
            parts = [
                f"{quarantined:,} quarantined" if quarantined else "",
                f"{reused:,} reused" if reused else "",
                readable_rate(rate) if rate else "",
                f"{duration(left)} left" if left is not None else "",
            ]
            status = ", ".join(part for part in parts if part)
            if self._bar is not None:
                if self._task is None:
                    self._task = self._bar.add_task(self._title, total=total, status="")
                self._bar.update(self._task, completed=done, total=total, status=status)
            elif now - max(self._said, self._began) >= LINE_EVERY:
                self._said = now
                counted = f"{self._title}: {done:,} of {total:,}"
                self._write(", ".join([counted, *([status] if status else [])]))

    def follow(self, progress: "JobProgress") -> None:
        """`run_job`'s `on_progress`: its counts as of `at`, its news by `say`."""
        for line in progress.news:
            self.say(f"{progress.title}: {line}")
        ended = progress.done + progress.failed
        self.at(ended, progress.total, progress.title, quarantined=progress.failed, reused=progress.found)

    def say(self, line: str) -> None:
        """A line that stays, above the bar where there is one."""
        if not self._enabled:
            return
        with self._lock:
            if self._bar is not None:
                self._bar.console.print(plain(line), markup=False, highlight=False)
            else:
                self._write(line)

    def _write(self, line: str) -> None:
        self._stream.write(f"{plain(line)}\n")
        self._stream.flush()

    def _rate(self, now: float, done: int) -> float:
        """Units a second since the oldest sample of the window; 0.0 before there is any progress."""
        if not self._samples or now - self._samples[-1][0] >= 1:
            self._samples.append((now, done))
            while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW:
                self._samples.popleft()
        then, before = self._samples[0]
        return (done - before) / (now - then) if now > then and done > before else 0.0


def readable_rate(rate: float) -> str:
    """`1,234/s`, `12.3/s`, `0.52/s`; below one in ten seconds `3.1/min`, below one a minute `14/h`."""
    if rate >= 100:
        return f"{rate:,.0f}/s"
    if rate >= 0.1:
        return f"{rate:.3g}/s"
    return f"{rate * 60:.2g}/min" if rate * 60 >= 1 else f"{rate * 3600:.2g}/h"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"
