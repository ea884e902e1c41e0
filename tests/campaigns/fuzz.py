"""Readers fed with mutated files, in forked children, many a second.

An input is told by three things: the target, the campaign's seed, and its number. It is a failure when a reader
raises anything but a `SynvitaError` (or what the target says that it documents), when it works longer or takes more
memory than it may, or when it ends the process. Work is measured in CPU seconds, so a busy machine hangs nobody.
"""

import json
import math
import os
import random
import resource
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synvita_data.display import plain
from synvita_data.errors import SynvitaError

from . import documents, zygote
from .tally import Tally

BATCH = 200  # inputs a child, or so many
BATCH_CPU = 6.0  # CPU seconds of them
LEAST_CPU = 5.0  # CPU seconds that any input may take,
TIMES = 30.0  # or so many times what the valid one takes
MEMORY = 700 << 20  # bytes more than before
ADDRESSES = 6 << 30  # bytes of address space more than before, which stops what would fill the machine
ROOT = Path(__file__).resolve().parents[2]
# Of files and folders in place of bytes.
_FORMS = ("missing", "empty", "folder", "dangling", "loop", "long name")


@dataclass(frozen=True)
class Target:
    """A reader, and valid files for it.

    Attributes:
        name: as in `--target`.
        make: writes valid files into an empty folder.
        read: reads the folder; it may write to it, for it is made again for each input.
        files: patterns of the files that are mutated; kinds by suffix, or as `kinds` says.
        kinds: pattern -> kind of document.
        documented: exceptions that the reader says it raises.
        weight: share of a campaign's inputs; slow readers get less anyway.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    files: Sequence[str] = ("**/*",)
    kinds: dict[str, str] = field(default_factory=dict)
    documented: tuple[type[BaseException], ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class Input:
    """What is done to which file.

    Attributes:
        file: number of the file among the target's.
        form: one of the forms of a file, or `bytes`.
        steps: numbers of the mutations.
    """

    file: int
    form: str
    steps: tuple[int, ...]

    @classmethod
    def draw(cls, target: str, seed: int, number: int, files: int) -> "Input":
        rng = random.Random(f"{target}/{seed}/{number}")
        form = rng.choice(_FORMS) if rng.random() < 0.01 else "bytes"
        steps = tuple(rng.randrange(1 << 30) for _ in range(rng.choice((1, 1, 1, 2, 3, 6))))
        # Two of three mutations are of structure.
        steps = tuple(step & ~1 if step % 3 else step | 1 for step in steps)
        return cls(rng.randrange(files), form, steps)


class TooMuchWork(BaseException):
    """A reader works on an input for longer than it may."""


class Corpus:
    """The valid files of a target, and the folder in which a mutated one is put among them."""

    def __init__(self, target: Target, valid: Path, scratch: Path) -> None:
        self.target, self.valid, self.scratch = target, valid, scratch
        paths = {
            p for pattern in target.files for p in valid.glob(pattern) if p.is_file() and not p.is_symlink()
        }
        self.paths = sorted(path.relative_to(valid) for path in paths)
        assert self.paths, f"{target.name} has no files"
        self._documents: dict[Path, documents.Document] = {}

    def document(self, path: Path) -> documents.Document:
        if path not in self._documents:
            kind = next((k for pattern, k in self.target.kinds.items() if path.match(pattern)), None)
            self._documents[path] = documents.read(self.valid / path, kind)
        return self._documents[path]

    def bytes_of(self, given: Input) -> bytes:
        path = self.paths[given.file]
        other = self.paths[sum(given.steps) % len(self.paths)]
        return documents.mutated(self.document(path), given.steps, (self.valid / other).read_bytes())

    def lay_out(self, given: Input | None) -> None:
        """The valid files, one of them mutated."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.copytree(self.valid, self.scratch, symlinks=True)
        if given is None:
            return
        path = self.scratch / self.paths[given.file]
        if given.form == "bytes":
            path.write_bytes(self.bytes_of(given))
            return
        path.unlink()
        if given.form == "empty":
            path.write_bytes(b"")
        elif given.form == "folder":
            path.mkdir()
        elif given.form == "dangling":
            path.symlink_to("nothing-there")
        elif given.form == "loop":
            path.symlink_to(path.name)
        elif given.form == "long name":
            path.symlink_to("l" * 255)


def attempt(target: Target, folder: Path) -> dict[str, Any] | None:
    """Read; None where it was taken or well refused, else the failure."""
    try:
        target.read(folder)
    except SynvitaError as error:
        try:  # it must be fit to be shown and to be put into a quarantine file
            plain(str(error)).encode()
            json.dumps(error.to_record(), allow_nan=False).encode()
        except Exception as problem:
            return _failure(problem, "the error itself cannot be written")
        return {"refused": type(error).__name__}
    except target.documented as error:
        return {"refused": type(error).__name__}
    except MemoryError as error:
        return _failure(error, "memory")
    except TooMuchWork as error:
        return _failure(error, "work")
    except SystemExit as stop:
        return {"refused": "exit"} if stop.code in (0, 1, 2, None) else _failure(stop, "exit status")
    except Exception as error:
        return _failure(error, "exception")
    return None


def _failure(error: BaseException, kind: str) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if Path(f.filename).is_relative_to(ROOT) and "tests" not in Path(f.filename).parts
            and ".venv" not in Path(f.filename).parts]  # fmt: skip
    at = ours[-1] if ours else frames[-1] if frames else None
    place = "?" if at is None else f"{Path(at.filename).name}:{at.lineno} {at.name}"
    text = "".join(traceback.format_exception(error, limit=-12))[-3500:]
    return {
        "failure": f"{kind}: {type(error).__name__} at {place}",
        "message": str(error)[:300],
        "traceback": text,
    }


def guarded(target: Target, folder: Path, cpu: float) -> dict[str, Any] | None:
    """`attempt`, within bounds of CPU seconds; those of memory hold for the process."""
    used = _cpu_seconds()
    hard = math.ceil(used + 4 * cpu + 1)  # for a library that never comes back to Python: SIGXCPU
    resource.setrlimit(resource.RLIMIT_CPU, (hard, resource.getrlimit(resource.RLIMIT_CPU)[1]))

    def end(*_: Any) -> None:
        raise TooMuchWork(f"{cpu:.1f} CPU seconds were not enough")

    signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, cpu)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found = attempt(target, folder)
    except TooMuchWork as error:
        found = _failure(error, "work")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if more > MEMORY and "failure" not in (found or {}):
        return {"failure": f"memory: {more >> 20} MiB more", "message": "", "traceback": ""} | {
            "kind": "memory"
        }
    return found


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def limit_memory() -> None:
    space = zygote.own_memory() + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (space, space))


class Fuzzer:
    """One target's inputs.

    Args:
        target: the reader.
        work: an empty folder, best on a file system in memory.
        seed: of the campaign.
    """

    def __init__(self, target: Target, work: Path, seed: int) -> None:
        self.target, self.seed, self.work = target, seed, work
        work.mkdir(parents=True)
        (work / "valid").mkdir()

        def first() -> float:
            target.make(work / "valid")
            Corpus(target, work / "valid", work / "scratch").lay_out(None)
            status = target.read(work / "scratch")
            assert not isinstance(status, int) or not status, status  # of a command
            begin = _cpu_seconds()
            Corpus(target, work / "valid", work / "scratch").lay_out(None)
            target.read(work / "scratch")  # and again: the first one imports
            warm = _cpu_seconds() - begin
            Corpus(target, work / "valid", work / "scratch").bytes_of(Input(0, "bytes", (2, 3)))
            return warm

        cpu = zygote.learn_imports(first, quiet=not os.environ.get("CAMPAIGN_LOUD"))
        self.cost = max(0.001, float(cpu))  # type: ignore[arg-type]
        self.cpu = max(LEAST_CPU, TIMES * self.cost)
        self.corpus = Corpus(target, work / "valid", work / "scratch")
        self.next = 0

    def batch(self, count: int, tally: Tally) -> list[dict[str, Any]]:
        """The next inputs; their failures."""
        failures, last = [], self.next + count
        while self.next < last:
            failures += self._some(last, tally)
        return failures

    def _some(self, last: int, tally: Tally) -> list[dict[str, Any]]:
        first, failures, begun = self.next, [], None

        def work(tell: Callable[[Any], None]) -> None:
            limit_memory()
            for number in range(first, last):
                given = Input.draw(self.target.name, self.seed, number, len(self.corpus.paths))
                tell(["begun", number])
                self.corpus.lay_out(given)
                tell(["done", number, guarded(self.target, self.corpus.scratch, self.cpu)])

        child = zygote.fork(work)
        try:
            for what, number, *found in child.told():
                begun = number
                if what != "done":
                    continue
                self.next, begun = number + 1, None
                tally.inputs += 1
                outcome = found[0] or {}
                tally.refused += "refused" in outcome
                if "failure" in outcome:
                    failures.append(outcome | {"number": number})
        except zygote.LostChild as lost:
            failures.append({"failure": f"hang: {lost}", "number": begun, "traceback": lost.trace})
        else:
            if begun is not None:  # it died of an input
                failures.append({"failure": f"the process ended with status {child.status}", "number": begun})
            elif child.status:
                raise zygote.LostChild(child.status)
        if begun is not None:
            self.next = begun + 1
            tally.inputs += 1
        tally.failures += len(failures)
        return failures

    def fails_alike(self, given: Input, failure: str) -> dict[str, Any] | None:
        """What one input gives in a child of its own, if it is a failure of the same kind."""

        def work(tell: Callable[[Any], None]) -> None:
            limit_memory()
            self.corpus.lay_out(given)
            path = self.corpus.scratch / self.corpus.paths[given.file]
            tell({"bytes": path.stat().st_size if path.is_file() else 0})
            tell(guarded(self.target, self.corpus.scratch, self.cpu) or {})

        child, found = zygote.fork(work), {}
        for told in child.told():
            found |= told
        if child.status:
            found["failure"] = f"the process ended with status {child.status}"
        return found if found.get("failure") == failure else None

    def smallest(self, found: dict[str, Any]) -> tuple[Input, int]:
        """The failing input with as few mutations as give the same failure, and the bytes of its file."""
        given = Input.draw(self.target.name, self.seed, found["number"], len(self.corpus.paths))
        again = self.fails_alike(given, found["failure"])
        if again is None:  # it does not fail by itself
            return given, 1 << 62
        for step in given.steps:
            fewer = Input(given.file, given.form, tuple(each for each in given.steps if each != step))
            if fewer.steps and (less := self.fails_alike(fewer, found["failure"])):
                given, again = fewer, less
        return given, int(again["bytes"])

    def save(self, found: dict[str, Any], given: Input, folder: Path) -> Path:
        """The input's recipe, its file and all others, so that it can be read again without this program."""
        name = "".join(c if c.isalnum() else "-" for c in found["failure"])[:80]
        place = folder / self.target.name / f"{name}-{self.seed}-{found['number']}"
        shutil.rmtree(place, ignore_errors=True)
        zygote.run(lambda tell: self.corpus.lay_out(given))
        shutil.copytree(self.corpus.scratch, place / "input", symlinks=True)
        recipe = found | {
            "target": self.target.name,
            "seed": self.seed,
            "file": str(self.corpus.paths[given.file]),
            "form": given.form,
            "steps": list(given.steps),
            "again": f"python -m campaigns fuzz --target {self.target.name} --seed {self.seed} --only {found['number']}",
        }
        (place / "recipe.json").write_text(json.dumps(recipe, indent=1))
        return place


def smallest_of_each(
    fuzzer: Fuzzer, found: Sequence[dict[str, Any]], folder: Path, say: Callable[[str], None]
) -> None:
    """Print and save one input of each failure, the one with the smallest file after dropping mutations."""
    kinds = Counter(each["failure"] for each in found)
    for kind, count in kinds.items():
        # What fails by its work is slow to try.
        alike = [each for each in found if each["failure"] == kind][
            : 1 if kind.startswith(("work", "hang")) else 5
        ]
        tried = [(fuzzer.smallest(each), each) for each in alike]
        (given, _), each = min(tried, key=lambda pair: (len(pair[0][0].steps), pair[0][1]))
        place = fuzzer.save(each, given, folder)
        say(f"  {count} x {kind}: {each.get('message', '')[:160]}")
        say(f"      seed {fuzzer.seed} input {each['number']} steps {list(given.steps)} of "
            f"{fuzzer.corpus.paths[given.file]}, saved in {place}")  # fmt: skip
