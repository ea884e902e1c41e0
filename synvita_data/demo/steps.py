"""The steps of a long command: each is done once, what is done is found again after a kill, and the time left is known.

The record is a JSON file that is replaced after each step. A step is done when the record says so and the files that it
leaves are there.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..display import json_text
from ..errors import SynvitaError, of_type, parsing
from ..files import read_json, write_atomic
from ..progress import Progress, duration

FORMAT = 1
ALMOST = 0.9  # of a step: so far the clock alone can bring it
TICK = 1.0  # seconds between two looks at the time left


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: in the record.
        title: what is done, for people.
        seconds: that it took where the demo was measured; only their proportions matter.
        leaves: files and folders without which it is not done.
    """

    name: str
    title: str
    seconds: float
    leaves: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of a step that is done.

    Attributes:
        facts: what it said of itself, JSON-ready.
        seconds: that it took, in the run that did it.
        found: an earlier run had done it.
    """

    facts: dict[str, Any]
    seconds: float
    found: bool


@dataclass
class Course:
    """Runs steps one after the other.

    Args:
        file: the record.
        made_of: all that the results depend on, JSON-ready; steps of anything else are not found again.
        steps: all of them, in order.
        say: takes a title before each step: its number, what is done, and the time left in all.
        progress: makes what shows percent and time left while a step is done; None shows nothing.
        clock: seconds that never go back.

    Attributes:
        done: name -> what is known of it, of the steps that were run or found.

    Raises:
        SynvitaError: the record is of something else, or not a record.
    """

    file: Path
    made_of: Mapping[str, Any]
    steps: Sequence[Step]
    say: Callable[[str, str], None] = field(default=lambda title, note: None)
    progress: Callable[[], Progress] | None = None
    clock: Callable[[], float] = time.monotonic
    done: dict[str, Done] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = self._read()
        self._place = 0
        self._fraction = 0.0
        self._began = self.clock()
        self._spent: list[tuple[float, float]] = []  # (measured elsewhere, here) of each step of this run

    def run(self, name: str, do: Callable[[Callable[[float], None]], Mapping[str, Any]]) -> Done:
        """Do the next step, or find it done.

        Args:
            name: of the step, which must be the next.
            do: does it and says what is to be remembered, JSON-ready; it is given a function that takes how much of
                it is done, 0 to 1.
        """
        step = self.steps[self._place]
        if step.name != name:
            raise ValueError(f"the next step is {step.name}, not {name}")
        title = f"{self._place + 1} of {len(self.steps)}  {step.title}"
        known = self._known.get(name)
        if known is not None and all(path.exists() for path in step.leaves):
            self.say(title, f"done before, in {duration(known['seconds'])}")
            self.done[name] = Done(known["facts"], known["seconds"], True)
        else:
            # What was made of an earlier result of this step is no longer done.
            dropped = [self._known.pop(later.name, None) for later in self.steps[self._place :]]
            if any(dropped):
                self._write()
            self._began, self._fraction = self.clock(), 0.0
            self.say(title, f"{duration(self.seconds_left())} left in all")
            with self._shown():
                facts = dict(do(self._at))
            seconds = self.clock() - self._began
            self._known[name] = {"seconds": round(seconds, 2), "facts": facts}
            self._write()
            self._spent.append((step.seconds, seconds))
            self.done[name] = Done(facts, seconds, False)
        self._place, self._fraction, self._began = self._place + 1, 0.0, self.clock()
        return self.done[name]

    def seconds_left(self) -> float:
        """Estimated from the steps that this run has done, or from the times where the demo was measured."""
        rest = sum(step.seconds for step in self.steps[self._place + 1 :] if step.name not in self._known)
        if self._place < len(self.steps) and self.steps[self._place].name not in self._known:
            rest += self.steps[self._place].seconds * (1.0 - self._done_of_step())
        return rest * self._pace()

    # -- inside ------------------------------------------------------------------------------------------

    def _at(self, fraction: float) -> None:
        self._fraction = max(self._fraction, min(fraction, 1.0))

    def _pace(self) -> float:
        """How many times slower this machine is than where the times were measured; the first half minute counts little.

        A step that takes longer than expected counts as it goes on.
        """
        elsewhere, here = 20.0, 20.0
        for expected, seconds in self._spent:
            elsewhere, here = elsewhere + expected, here + seconds
        if self._place < len(self.steps):
            expected, elapsed = self.steps[self._place].seconds, self.clock() - self._began
            if elapsed > expected * here / elsewhere:
                elsewhere, here = elsewhere + expected, here + elapsed
        return here / elsewhere

    def _done_of_step(self) -> float:
        """Of the step that is being done: what it says itself or what the clock says, whichever is more."""
        expected = self.steps[self._place].seconds * self._pace()
        by_clock = (self.clock() - self._began) / max(expected, 1e-9)
        return max(self._fraction, min(by_clock, ALMOST))

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Percent and time left, once a second."""
        if self.progress is None:
            yield
            return
        stop = threading.Event()

        def tick(progress: Progress) -> None:
            while not stop.wait(TICK):
                left = self.seconds_left()
                whole = sum(step.seconds for step in self.steps) * self._pace()
                progress.at(round(100 * (1 - left / max(whole, 1e-9))), 100, "percent", left=left)

        with self.progress() as progress:
            ticker = threading.Thread(target=tick, args=(progress,), daemon=True)
            ticker.start()
            try:
                yield
            finally:
                stop.set()
                ticker.join()

    def _read(self) -> dict[str, Any]:
        if not self.file.exists():
            return {}
        record = read_json(self.file, "the record of a demo")
        with parsing("not the record of a demo", file=self.file, fix="Name another --out"):
            own, known, version = dict(record["made_of"]), dict(record["steps"]), record["format"]
            for done in known.values():
                _ = of_type(done["seconds"], float, int), of_type(done["facts"], dict)
        if version != FORMAT:
            own = {**own, "format": version}
        if own != dict(self.made_of):
            different = sorted(
                name for name in {*own, *self.made_of} if own.get(name) != self.made_of.get(name)
            )
            raise SynvitaError(
                "the folder holds a demo that was made with other settings",
                file=self.file.parent,
                found=", ".join(f"{name} {own.get(name)}" for name in different),
                expected=", ".join(f"{name} {self.made_of.get(name)}" for name in different),
                fix="Name another --out, or remove the folder",
            )
        return known

    def _write(self) -> None:
        record = {"format": FORMAT, "made_of": dict(self.made_of), "steps": self._known}
        write_atomic(self.file, json_text(record, indent=1) + "\n")
