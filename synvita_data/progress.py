"""Progress of a long job: a bar on a terminal, an occasional line elsewhere, silence when told so."""

import sys
import time
from types import TracebackType
from typing import Any, TextIO

LINE_EVERY = 15.0  # seconds between lines where there is no terminal


class Progress:
    """How far a job is, its rate and the time left, on standard error.

    The rate is that of this run: what an earlier run had done already counts as done, not as fast.

    Args:
        title: what is being done. enabled: False shows nothing (all processes but the first).
        stream: default standard error, so that output can be piped.
    """

    def __init__(self, title: str, *, enabled: bool = True, stream: TextIO | None = None) -> None:
        self._title = title
        self._enabled = enabled
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._task: Any = None
        self._first: tuple[float, int] | None = None  # when and where this run began to count
        self._said = 0.0

    def __enter__(self) -> "Progress":
        if self._enabled and self._stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(compact=True),
                console=Console(file=self._stream),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, done: int, total: int, title: str | None = None) -> None:
        """`done` of `total` units are done; another `title` begins another count."""
        if not self._enabled:
            return
        now = time.monotonic()
        if title is not None and title != self._title:
            self._title, self._task, self._first = title, None, None
        if self._first is None:
            self._first = (now, done)
        began, already = self._first
        rate = (done - already) / (now - began) if now > began and done > already else 0.0
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self._title, total=total, rate="")
            self._bar.update(self._task, completed=done, total=total, rate=f"{rate:.1f}/s" if rate else "")
        elif now - self._said >= LINE_EVERY and now - began >= LINE_EVERY:
            self._said = now
            left = f", {duration((total - done) / rate)} left" if rate else ""
            print(f"{self._title}: {done:,} of {total:,}, {rate:.1f}/s{left}", file=self._stream, flush=True)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
