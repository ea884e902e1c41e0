"""Readers while a build replaces what they read, two writers of one output, and disks that fill up."""

import contextlib
import os
import random
import resource
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from synvita_data.errors import SynvitaError

from . import zygote
from .kills import Killer, _look, finish, start
from .runs import RUNS, Run, _build, _build_inputs, fresh
from .tally import Tally


@dataclass(frozen=True)
class Other:
    """A campaign's target.

    Attributes:
        name: as in `--target`.
        turn: does it once in a folder; what is wrong, or None. `Skip` where the machine does not permit it.
    """

    name: str
    turn: Callable[["Worlds", random.Random, Tally], str | None]


class Skip(Exception):
    """The machine does not permit it."""


class Worlds:
    """Commands with their inputs and unbroken outputs, made when they are asked for."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.seed = work, seed
        self._killers: dict[str, Killer] = {}

    def of(self, run: Run) -> Killer:
        if run.name not in self._killers:
            self._killers[run.name] = Killer(run, self.work / run.name, self.seed)
        return self._killers[run.name]


# --- readers during replacement -------------------------------------------------------------------


def _two_versions(folder: Path) -> None:
    """Inputs of two builds of one config: of six rows and of four."""
    (folder / "a").mkdir()
    _build_inputs(folder / "a")
    shutil.copytree(folder / "a", folder / "b")
    lines = (folder / "b" / "triplets.csv").read_text().splitlines(keepends=True)
    (folder / "b" / "triplets.csv").write_text("".join(lines[:5]))


REPLACED = Run("replaced", _two_versions, lambda inputs, out: _build(inputs / "a", out))
READS = 25  # a turn


def read_while_replaced(worlds: Worlds, rng: random.Random, tally: Tally) -> str | None:
    """Builds of two versions in turn, while another process reads; a reader sees one of the two, whole."""
    world = worlds.of(REPLACED)
    out = world.out / "set"

    def write(tell: Callable[[Any], None]) -> None:
        turn = 0
        while not (world.out / "enough").exists():
            turn += 1
            assert _build(world.inputs / "ab"[turn % 2], world.out) == 0
            tell(turn)

    def read(tell: Callable[[Any], None]) -> None:
        from synvita_data.dataset.built import open_dataset
        from synvita_data.dataset.inspection import inspect_dataset
        from synvita_data.dataset.load import load_triplets

        for number in range(READS):
            try:
                summary = inspect_dataset(open_dataset(str(out)), "tiny").total
                cache = world.out / f"cache{number}"
                loaded = load_triplets(str(out), cache_dir=str(cache))
                shutil.rmtree(cache, ignore_errors=True)
                rows = sum(len(part) for part in loaded.values())
                tell({"rows": [summary.rows, rows]})
            except Exception:
                tell({"failure": traceback.format_exc(limit=-5)[-1500:]})

    fresh(world.out)
    assert "failure" not in finish(REPLACED, world.inputs, world.out)
    writer, reader = zygote.fork(write), zygote.fork(read)
    told = list(reader.told())
    (world.out / "enough").touch()
    turns = list(writer.told())
    tally.inputs += len(told)
    tally.runs += len(turns)
    bad = [each["failure"] for each in told if "failure" in each]
    bad += [f"rows {each['rows']}" for each in told if not set(each.get("rows", (4,))) <= {4, 6}]
    if writer.status or reader.status or bad:
        return f"{len(bad)} of {len(told)} reads during {len(turns)} builds: {bad[:1]} {writer.status} {reader.status}"
    return None


# --- two writers at once ----------------------------------------------------------------------------


def two_writers(worlds: Worlds, rng: random.Random, tally: Tally, *, run: Run) -> str | None:
    """The same command twice at once: each ends well or refuses in our words, and the output is that of one."""
    world = worlds.of(run)
    fresh(world.out)
    both = [start(run, world.inputs, world.out) for _ in range(2)]
    ends = []
    for child in both:
        told: dict[str, Any] = {}
        for each in child.told():
            told |= each
        ends.append(told)
    tally.runs += 2
    for told, child in zip(ends, both, strict=True):
        if "failure" in told or told.get("status") not in (0, 2):
            return f"{told} {child.status}"
    if 0 not in [told["status"] for told in ends]:
        return (
            f"neither of two writers came to its end: {ends} {(world.out.parent / 'said').read_text()[-500:]}"
        )
    return _as_unbroken(world)


def _as_unbroken(world: Killer) -> str | None:
    told = finish(replace(world.run, start=world.run.again or world.run.start), world.inputs, world.out)
    if "failure" in told:
        return f"it does not finish afterwards: {told['failure']}"
    seen = _look(world.run, world.out)
    if seen["half"] or seen["left"]:
        return f"half-written {seen['half']}, left over {seen['left']}"
    if seen["contents"] != world.expected:
        return (
            f"other than an unbroken run: {sorted({*seen['contents'].items()} ^ {*world.expected.items()})}"
        )
    return None


# --- disks that fill up ---------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A file system of so many bytes at `folder`; gives what makes it large again.

    Raises:
        Skip: this user may not mount one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Skip(str(error)) from error
    if done.returncode:
        raise Skip(f"no small file system can be mounted: {done.stderr.strip()}")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=1G", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def full_disk(worlds: Worlds, rng: random.Random, tally: Tally, *, run: Run) -> str | None:
    """A disk that is full somewhere in the run: an error of ours, no half file; with room the command goes on."""
    world = worlds.of(run)
    size = max(4096, int(sum(_sizes(world)) * rng.uniform(0.02, 1.1)))
    shutil.rmtree(world.out, ignore_errors=True)
    with small_disk(world.out, size) as enlarge:
        wrong = _starved(world, start(run, world.inputs, world.out), tally)
        if wrong is None:
            enlarge()
            wrong = _as_unbroken(world)
    return None if wrong is None else f"on a disk of {size:,} bytes: {wrong}"


def _sizes(world: Killer) -> list[int]:
    """Bytes of each file that an unbroken run leaves."""
    if world.sizes is None:
        assert "failure" not in finish(world.run, world.inputs, fresh(world.out))
        world.sizes = [path.stat().st_size for path in world.out.rglob("*") if path.is_file()]
    return world.sizes


def _starved(world: Killer, child: zygote.Child, tally: Tally) -> str | None:
    told: dict[str, Any] = {}
    for each in child.told():
        told |= each
    tally.runs += 1
    said = (world.out.parent / "said").read_text(errors="replace")
    if "failure" in told:
        return str(told["failure"])
    if told.get("status") not in (0, 1, 2, 3):
        return f"status {told.get('status', child.status)}: {said[-600:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-1500:]}"
    if half := _look(world.run, world.out)["half"]:
        return f"half-written {half}"
    return None


def short_files(worlds: Worlds, rng: random.Random, tally: Tally, *, run: Run) -> str | None:
    """A limit on the size of files, which meets every writer in the middle of one."""
    world = worlds.of(run)
    limit = max(1, int(rng.choice(_sizes(world)) * rng.uniform(0, 1.1)))
    fresh(world.out)

    def work(tell: Callable[[Any], None]) -> None:
        log = os.open(world.out.parent / "said", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            tell({"status": run.start(world.inputs, world.out)})
        except OSError as error:  # the log itself is such a file
            if str(world.out) in str(error):
                tell({"failure": traceback.format_exc(limit=-6)[-2000:]})
            else:
                tell({"status": 2})
        except Exception:
            tell({"failure": traceback.format_exc(limit=-6)[-2000:]})

    wrong = _starved(world, zygote.fork(work), tally) or _as_unbroken(world)
    return None if wrong is None else f"files of at most {limit:,} bytes: {wrong}"


def run(
    targets: list[Any],
    seed: int,
    until: float,
    work: Path,
    say: Callable[[str], None],
    most: int | None = None,
) -> list[Tally]:
    """Every target in turn until the time is over, at least once each."""
    tallies = {target.name: Tally("others", target.name) for target in targets}
    worlds, turn = Worlds(work, seed), 0
    while not turn or (time.monotonic() < until and (most is None or turn < most)):
        for target in targets:
            tally = tallies[target.name]
            if tally.skipped or (turn and time.monotonic() > until):
                continue
            began, rng = os.times(), random.Random(f"{target.name}/{seed}/{turn}")
            try:
                wrong = target.turn(worlds, rng, tally)
            except Skip as skip:
                tally.skipped, wrong = str(skip), None
            except (zygote.LostChild, AssertionError, SynvitaError) as lost:
                wrong = f"{type(lost).__name__}: {getattr(lost, 'trace', '') or lost}"
                tally.skipped = "see above"
            tally.cpu_seconds += os.times().children_user - began.children_user
            if wrong is not None:
                tally.failures += 1
                say(f"{target.name}, seed {seed}, turn {turn}: {wrong}")
        turn += 1
    return list(tallies.values())


_SHORT = [each for each in RUNS if each.name not in ("train", "generate-workers")]
TARGETS = (
    Other("read-while-replaced", read_while_replaced),
    *(Other(f"two-writers-{each.name}", partial(two_writers, run=each)) for each in _SHORT),
    *(Other(f"full-disk-{each.name}", partial(full_disk, run=each)) for each in _SHORT),
    *(Other(f"short-files-{each.name}", partial(short_files, run=each)) for each in _SHORT),
)
