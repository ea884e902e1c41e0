"""SIGKILL at random points of every long command, the command again, and its output beside that of an unbroken run.

A point is the n-th of all a run's openings for writing, renamings, removals and new folders (so that the windows
between two of them are met, which a clock would meet once in a thousand kills), or so many CPU seconds of it.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import zygote
from .fuzz import _cpu_seconds
from .runs import RUNS, Run, contents, fresh, half_written, leftovers
from .tally import Tally

MOST_KILLS = 4  # of one output, before it is finished
_EFFECTS = frozenset(
    ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime", "subprocess.Popen")
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Effects:
    """Counts what this process does to files, and kills it before the n-th of them.

    Args:
        below: only files in this folder count, and what has no name.
        last: before which one the process is killed; None for never.
    """

    def __init__(self, below: Path, last: int | None) -> None:
        self.count, self._below, self._last = 0, str(below), last

    def install(self) -> None:
        sys.addaudithook(self._hook)

    def _hook(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            if not given[2] or not given[2] & _WRITES or not isinstance(given[0], str | os.PathLike):
                return
        elif event not in _EFFECTS:
            return
        if (
            given
            and isinstance(given[0], str | os.PathLike)
            and not os.fspath(given[0]).startswith(self._below)
        ):
            return
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def start(run: Run, inputs: Path, out: Path, last: int | None = None) -> zygote.Child:
    """The command in a child, which is killed before its `last` effect; it tells its effects, CPU seconds and status."""

    def work(tell: Callable[[Any], None]) -> None:
        # What is said is kept until the end: an error of a run is shown with it.
        log = os.open(out.parent / "said", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        effects, began = Effects(out.parent, last), _cpu_seconds()
        effects.install()
        try:
            status = run.start(inputs, out)
        except Exception:
            tell({"failure": traceback.format_exc(limit=-8)[-3000:]})
            status = 70
        tell({"effects": effects.count, "cpu": _cpu_seconds() - began, "status": status})

    return zygote.fork(work)


def finish(run: Run, inputs: Path, out: Path) -> dict[str, Any]:
    """The command to its end; what it told."""
    child, told = start(run, inputs, out), {}
    for each in child.told():
        told |= each
    if child.status or told.get("status") != 0:
        said = (out.parent / "said").read_text(errors="replace")[-1500:]
        told["failure"] = told.get("failure", f"status {told.get('status', child.status)}: {said}")
    return told


def _look(run: Run, out: Path) -> dict[str, Any]:
    """Half files, leftovers and contents of an output, found in a child."""

    def work(tell: Callable[[Any], None]) -> None:
        # A program that a killed run had started may still be ending, and take away what is being listed.
        for attempt in range(50):
            try:
                seen = {
                    "half": half_written(run, out),
                    "left": leftovers(run, out),
                    "contents": contents(run, out),
                }
                break
            except FileNotFoundError:
                if attempt == 49:
                    raise
                time.sleep(0.1)
        tell(seen)

    return zygote.run(work, quiet=not os.environ.get("CAMPAIGN_LOUD"))[0]


class Killer:
    """One command, its inputs, and what an unbroken run makes of them."""

    def __init__(self, run: Run, work: Path, seed: int) -> None:
        self.run, self.work, self.rng, self.seed = run, work, random.Random(f"{run.name}/{seed}"), seed
        self.inputs, self.out = work / "inputs", work / "world" / "out"
        fresh(self.inputs)

        import pyarrow.parquet  # noqa: F401  (what looks at outputs imports it)

        def first() -> None:
            run.make(self.inputs)
            assert run.start(self.inputs, fresh(self.out)) == 0

        zygote.learn_imports(first, quiet=not os.environ.get("CAMPAIGN_LOUD"))
        fresh(self.out)
        self.whole = finish(run, self.inputs, self.out)
        if "failure" in self.whole:
            raise zygote.LostChild(1, self.whole["failure"])
        seen = _look(run, self.out)
        assert not seen["half"], seen["half"]
        assert not seen["left"], seen["left"]
        self.expected = seen["contents"]
        assert self.expected
        self.sizes: list[int] | None = None

    def world(self, tally: Tally) -> str | None:
        """Some kills of one output, then the command to its end; what is wrong with it, if anything."""
        fresh(self.out)
        points = []
        for _ in range(self.rng.randint(1, MOST_KILLS)):
            if self.rng.random() < 0.75:
                last = self.rng.randint(1, max(1, self.whole["effects"]))
                points.append(f"effect {last}")
                child = start(self.run, self.inputs, self.out, last)
                told = list(child.told())
            else:
                seconds = self.rng.uniform(0, self.whole["cpu"])
                points.append(f"{seconds:.2f} CPU seconds")
                child = start(self.run, self.inputs, self.out)
                told = _killed_after(child, seconds)
            if child.status == -signal.SIGKILL:
                tally.kills += 1
                if half := _look(self.run, self.out)["half"]:
                    return f"after {points}: half-written {half}"
            elif any("failure" in each for each in told):
                return f"after {points}: {told}"
            else:  # it was at its end before
                break
        told = finish(self.run, self.inputs, self.out)
        tally.runs += 1
        if "failure" in told:
            return f"after {points} it does not finish: {told['failure']}"
        seen = _look(self.run, self.out)
        if seen["half"] or seen["left"]:
            return f"after {points}: half-written {seen['half']}, left over {seen['left']}"
        if seen["contents"] != self.expected:
            names = sorted(
                name for name in {*seen["contents"], *self.expected}
                if seen["contents"].get(name) != self.expected.get(name)
            )  # fmt: skip
            return f"after {points}: other than an unbroken run: {names}"
        return None


def _killed_after(child: zygote.Child, seconds: float) -> list[Any]:
    """SIGKILL after so many CPU seconds; what it told."""
    tick = os.sysconf("SC_CLK_TCK")
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        try:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            break
        if (int(fields[11]) + int(fields[12])) / tick >= seconds:
            child.kill()
            break
        time.sleep(0.002)
    return list(child.told())


def run(
    targets: list[Any],
    seed: int,
    until: float,
    most: int | None,
    work: Path,
    found: Path,
    say: Callable[[str], None],
) -> list[Tally]:
    """Worlds of every command in turn until the time is over, or each has had `most` kills."""
    tallies = {target.name: Tally("kills", target.name) for target in targets}
    killers: dict[str, Killer] = {}
    waiting, turn = dict.fromkeys(target.name for target in targets), 0
    by_name = {target.name: target for target in targets}
    with contextlib.suppress(KeyboardInterrupt):  # what was done counts
        while waiting and (time.monotonic() < until or not turn):
            for name in list(waiting):
                tally = tallies[name]
                if turn and time.monotonic() > until:
                    break
                if (
                    turn
                    and by_name[name].share < 1
                    and (turn * by_name[name].share) % 1 >= by_name[name].share
                ):
                    continue
                before = os.times()
                if name not in killers:
                    try:
                        opened = by_name[name]
                        killers[name] = (
                            Killer(opened, work / name, seed)
                            if isinstance(opened, Run)
                            else opened.open(work / name, seed)
                        )
                    except (zygote.LostChild, AssertionError) as lost:
                        tally.failures, tally.skipped = (
                            1,
                            f"an unbroken run fails: {getattr(lost, 'trace', '') or lost}",
                        )
                        say(tally.line())
                        del waiting[name]
                        continue
                wrong = killers[name].world(tally)
                tally.cpu_seconds += os.times().children_user - before.children_user
                if wrong is not None:
                    tally.failures += 1
                    say(f"{name}, seed {seed}: {wrong}")
                    place = found / name / f"killed-{seed}-{tally.runs}"
                    shutil.rmtree(place, ignore_errors=True)
                    shutil.copytree(killers[name].work, place, symlinks=True)
                if most is not None and tally.kills >= most:
                    del waiting[name]
            turn += 1
            say(f"turn {turn}: {sum(each.kills for each in tallies.values()):,} kills")
    return list(tallies.values())


@dataclass(frozen=True)
class Special:
    """A command that is killed in another way.

    Attributes:
        name: as in `--target`.
        open: work folder and seed -> what has `work`, and `world(tally)` as `Killer` has it.
        share: of a campaign's turns.
    """

    name: str
    open: Callable[[Path, int], Any]
    share: float = 1.0


def _push(work: Path, seed: int) -> Any:
    from .pushes import PushKiller

    return PushKiller(work, seed)


def _on_ray(name: str) -> Callable[[Path, int], Any]:
    def opened(work: Path, seed: int) -> Any:
        from .rays import RayKiller

        return RayKiller(name, work, seed)

    return opened


TARGETS = (
    *RUNS,
    Special("push", _push, share=0.5),
    Special("ray-vqascore", _on_ray("vqascore"), share=0.1),
    Special("ray-generate", _on_ray("generate"), share=0.1),
)
