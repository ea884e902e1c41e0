"""How far a job is while it runs, and what is reported at its end."""

from collections import Counter
from dataclasses import dataclass

from ..display import counted
from ..progress import duration
from .records import Failure

SHOWN = 5  # reasons, damaged results and crashed workers that a report spells out


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a running job is; see `run_job`'s `on_progress`.

    Attributes:
        title: the job's.
        total: keys of this run's shard.
        done: of those, how many are done.
        failed: of those, how many are in quarantine.
        found: how many of `done` were done before this run.
        news: what happened since the last call and is worth a line each.
    """

    title: str
    total: int
    done: int
    failed: int
    found: int
    news: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Crash:
    """A worker that broke or was killed.

    Attributes:
        worker: its number.
        reason: why.
        keys: those that it had claimed.
    """

    worker: int
    reason: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobReport:
    """The result of a run. Keys are those of its shard; states are those at its end.

    total = done + failed + held_back + unfinished, and done = found + made + by_others.

    Attributes:
        title: the job's.
        total: keys of the shard.
        done: with a good result.
        found: of those, done before this run and still usable.
        made: of those, made by this run.
        by_others: of those, made meanwhile by other runs on the same folder.
        failed: in quarantine.
        failures: reasons of the first ones.
        held_back: left for another run because of `limit`.
        unfinished: still to do although this run should have done them (its workers crashed).
        damaged: (key, why) of results that were found to be no longer usable.
        mended: how many of those are usable again.
        crashes: workers that broke or were killed.
        lost_workers: how many workers were given up.
        seconds: of the whole run, the scan included.
    """

    title: str
    total: int
    done: int
    found: int
    made: int = 0
    by_others: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()
    held_back: int = 0
    unfinished: int = 0
    damaged: tuple[tuple[str, str], ...] = ()
    mended: int = 0
    crashes: tuple[Crash, ...] = ()
    lost_workers: int = 0
    seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """0: all that was asked for is done. 1: keys are in quarantine or unfinished."""
        return 1 if self.failed or self.unfinished else 0

    def lines(self) -> list[str]:
        """The report for people; the first line stands alone."""
        origins = [f"{self.found:,} found done", f"{self.made:,} made now"]
        if self.by_others:
            origins.append(f"{self.by_others:,} made by other runs")
        lines = [
            f"{self.title}: {self.done:,} of {self.total:,} done ({', '.join(origins)}) "
            f"in {duration(self.seconds)}"
        ]
        if self.held_back:
            lines.append(f"{self.held_back:,} left for another run by the limit")
        if self.damaged:
            lines.append(
                f"{counted(len(self.damaged), 'results were')} damaged, {self.mended:,} of them are mended:"
            )
            lines += _shown([f"  {_short(key)}: {why}" for key, why in self.damaged])
        if self.crashes:
            times = "once" if len(self.crashes) == 1 else f"{len(self.crashes):,} times"
            lost = f", {self.lost_workers:,} given up" if self.lost_workers else ""
            lines.append(f"workers broke or were killed {times}{lost}:")
            lines += _shown([f"  worker {crash.worker}: {crash.reason}" for crash in self.crashes])
        if self.failed:
            lines.append(f"{self.failed:,} failed and are in quarantine (--retry-failed does them again):")
            lines += _reasons(self.failures, self.failed)
        if self.unfinished:
            lines.append(f"{self.unfinished:,} are still to do; run again to continue")
        return lines


def reason(failure: Failure) -> str:
    """One line about a failure, without its key."""
    error = failure.error
    named = {"file": "", "row": "row "}
    place = ", ".join(f"{word}{error[name]}" for name, word in named.items() if error.get(name) is not None)
    text = f"{error.get('reason', 'Error')}: {' '.join(str(error.get('problem', '')).split())[:300]}"
    if error.get("found") is not None:
        text += f", found {error['found']}"
    if wrote := str(error.get("stderr") or "").strip():  # of a program that failed
        text += f", which wrote {wrote.splitlines()[-1][:200]!r}"
    return f"{text} ({place})" if place else text


def _reasons(failures: tuple[Failure, ...], failed: int) -> list[str]:
    """The first reasons with a key each; equal ones once, with how often."""
    first: dict[str, str] = {}
    times: Counter[str] = Counter()
    for failure in failures:
        text = reason(failure)
        first.setdefault(text, failure.key)
        times[text] += 1
    lines = [
        f"  {_short(first[text])}: {text}" + (f" (and {times[text] - 1:,} alike)" if times[text] > 1 else "")
        for text in list(first)[:SHOWN]
    ]
    shown = sum(times[text] for text in list(first)[:SHOWN])
    return lines + ([f"  and {failed - shown:,} more"] if failed > shown else [])


def _shown(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"  and {more:,} more"] if more > 0 else [])


def _short(key: str) -> str:
    return key if len(key) <= 24 else f"{key[:12]}…"
