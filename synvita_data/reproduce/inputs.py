"""What a table needs and what of it is there, cell by cell, before any model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..annotations import Annotations, VideoRef, read_annotations
from ..doctor.report import Needs
from ..errors import SynvitaError, first_line
from ..real_videos.roots import RealVideoRoots, Root
from ..tasks import get_task
from .checkpoints import LOCAL, Checkpoints
from .expected import AS_IT_IS, Expected

if TYPE_CHECKING:
    from ..doctor.hub import HubQuestions

MODES = ("clean", "released")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user asks for.

    Attributes:
        rows, tasks: names, in the order of the table.
        modes: of MODES.
        annotations: folder with the annotation files of all tasks; None for none.
        roots: folders of real videos.
        out: the output folder.
        partial: evaluate a task although some of its videos are missing.
    """

    rows: tuple[str, ...]
    tasks: tuple[str, ...]
    modes: tuple[str, ...]
    annotations: Path | None
    roots: tuple[Root, ...]
    out: Path
    partial: bool = False


@dataclass(frozen=True)
class TaskInput:
    """Annotations and videos of a task.

    Attributes:
        task: its name.
        annotations: None where they cannot be read.
        videos: what the videos are found with; None without a folder.
        needed, found: numbers of videos.
        texts: pairs of a video and a text that are scored.
        missing: what is missing, in words.
        doubts: what a reader should know: counts that are not the paper's.
    """

    task: str
    annotations: Annotations | None = None
    videos: RealVideoRoots | None = None
    needed: int = 0
    found: int = 0
    texts: int = 0
    missing: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckpointInput:
    """One checkpoint.

    Attributes:
        name, repository: as in the file of expected results.
        revision: the commit that is taken; None for that of main.
        converted: it lies in OUT already.
        to_fetch: bytes; None where nobody says.
        total: bytes of its files, known so far; None where nobody says.
        licence: as its card or the record says.
        missing: why it cannot be had.
        note: what a reader should know.
        is_made: it is converted, not read as it is.
    """

    name: str
    repository: str
    revision: str | None
    converted: bool
    to_fetch: int | None
    total: int | None = None
    licence: str | None = None
    missing: str | None = None
    note: str | None = None
    is_made: bool = True


@dataclass(frozen=True, slots=True)
class CellInput:
    """One cell.

    Attributes:
        row, task: its place.
        missing: why it cannot be run, in words; empty where it can.
    """

    row: str
    task: str
    missing: tuple[str, ...]


@dataclass
class Manifest:
    """All that was looked at.

    Attributes:
        tasks, checkpoints: by name.
        cells: in the order of the table.
        gib: row -> GiB of GPU memory; None where unknown.
        missing: what keeps every cell from running: packages, the decoder.
        warnings: what a run would meet on this machine: disks without room, no GPU.
    """

    tasks: dict[str, TaskInput] = field(default_factory=dict)
    checkpoints: dict[str, CheckpointInput] = field(default_factory=dict)
    cells: list[CellInput] = field(default_factory=list)
    gib: dict[str, float | None] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def to_fetch(self) -> int:
        """Bytes to download, as far as sizes are known."""
        return sum(each.to_fetch or 0 for each in self.checkpoints.values())

    @property
    def to_write(self) -> int:
        """Bytes that conversion writes, as far as sizes are known: as many as it reads."""
        made = [each for each in self.checkpoints.values() if not each.converted and each.is_made]
        return sum(each.total or 0 for each in made)

    def of_row(self, expected: Expected, row: str) -> list[CheckpointInput]:
        """The checkpoints that a row still needs, and those that it has."""
        return [self.checkpoints[name] for name in expected.needs(row) if name in self.checkpoints]

    def cell(self, row: str, task: str) -> CellInput:
        """The cell of this place."""
        return next(each for each in self.cells if (each.row, each.task) == (row, task))


def look(expected: Expected, asked: Asked) -> Manifest:
    """Look for everything that the asked cells need; loads no model, fetches nothing.

    Raises:
        Nothing for what is missing: that is what the manifest says.
    """
    here = Needs("reproduce")
    found = Manifest(missing=_look_at_packages(expected, here))
    found.tasks = {task: look_for_task(expected, asked, task) for task in asked.tasks}
    found.gib = {row: expected.gib(row) for row in asked.rows}
    checkpoints = Checkpoints(expected, asked.out)
    names = dict.fromkeys(name for row in asked.rows for name in _needed(expected, checkpoints, row))
    found.checkpoints = look_for_checkpoints(expected, asked.out, list(names))
    found.warnings = (*_look_at_disks(asked.out, found, here), *_look_at_gpus(expected, asked, here))
    for row in asked.rows:
        for task in asked.tasks:
            found.cells.append(CellInput(row, task, _missing_of(expected, found, row, task)))
    return found


def _missing_of(expected: Expected, found: Manifest, row: str, task: str) -> tuple[str, ...]:
    if (reason := expected.rows[row].not_public) is not None:
        return (f"not public: {reason}",)
    lacking = [f"{each.repository}: {each.missing}" for each in found.of_row(expected, row) if each.missing]
    return (*lacking, *found.tasks[task].missing, *found.missing)


def _needed(expected: Expected, checkpoints: Checkpoints, row: str) -> list[str]:
    """Names of the checkpoints of a row; what a converted one was made of is not needed any more."""
    made = [name for name in expected.chain(row) if checkpoints.converted(name) is not None]
    spent = {expected.checkpoints[name].towers for name in made}
    return [name for name in expected.needs(row) if name not in spent]


def look_for_task(expected: Expected, asked: Asked, task: str) -> TaskInput:
    """Read a task's annotations and look for its videos.

    Args:
        expected: says where they come from.
        asked: says where to look.
        task: its name.
    """
    come_from = expected.inputs[task]
    if asked.annotations is None:
        return TaskInput(task, missing=(f"no --annotations: {come_from.annotations}",))
    try:
        annotations = read_annotations(task, asked.annotations)
    except SynvitaError as error:
        return TaskInput(task, missing=(f"annotations ({come_from.annotations}): {first_line(error)}",))
    counts, doubts = annotations.counts(), annotations.report.mismatches
    known: dict[str, Any] = {"texts": counts["pairs"], "needed": counts["videos"], "doubts": doubts}
    if not asked.roots:
        return TaskInput(task, annotations, missing=(f"no --real-root: {come_from.videos}",), **known)
    missing: list[VideoRef] = []
    try:
        videos = RealVideoRoots(asked.roots, source=get_task(task).source)
        for _ in annotations.items(videos, on_missing=missing.append):
            pass
    except SynvitaError as error:
        return TaskInput(
            task, annotations, missing=(f"videos ({come_from.videos}): {first_line(error)}",), **known
        )
    known["found"] = counts["videos"] - len(missing)
    lacking: tuple[str, ...] = ()
    if missing and not (asked.partial and known["found"]):
        named = ", ".join(video.video_id for video in missing[:2]) + (", …" if len(missing) > 2 else "")
        lacking = (
            f"videos ({come_from.videos}): {known['found']:,} of {counts['videos']:,} are there, not {named}",
        )
    return TaskInput(task, annotations, videos, missing=lacking, **known)


def look_for_checkpoints(expected: Expected, out: Path, names: Sequence[str]) -> dict[str, CheckpointInput]:
    """What is known of checkpoints: one question to the Hub each, or what the cache and the record say.

    Args:
        expected: where they come from.
        out: the output folder, which may hold them converted.
        names: of the checkpoints.
    """
    from ..doctor.hub import HubQuestions

    hub = HubQuestions()
    checkpoints = Checkpoints(expected, out)
    return {name: _look_at(expected, checkpoints, name, hub) for name in names}


def _look_at(expected: Expected, checkpoints: Checkpoints, name: str, hub: "HubQuestions") -> CheckpointInput:
    from fnmatch import fnmatch

    from ..doctor.repository import look_at

    source = expected.checkpoints[name]
    revision = checkpoints.revision(source)
    converted, is_made = checkpoints.converted(name) is not None, source.convert != AS_IT_IS

    def wanted(paths: Sequence[str]) -> list[str]:
        return [path for path in paths if any(fnmatch(path, pattern) for pattern in source.files)]

    here = Path(source.repository)
    none_fits = f"none of its files is one of {', '.join(source.files)}"
    if here.is_dir():  # its checkpoints of a trainer count here
        paths = [path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()]
        size = sum((here / path).stat().st_size for path in wanted(paths))
        missing = None if converted or wanted(paths) else none_fits
        return CheckpointInput(
            name, source.repository, LOCAL, converted, 0, size, None, missing, source.note, is_made
        )
    facts = look_at(source.repository, revision, hub=hub, wanted=wanted)
    known = facts.bytes > 0
    to_fetch = 0 if converted else facts.bytes_to_fetch if known else None
    # Out of reach is no proof of absence: what is not here is only missing where the Hub said so, or is not asked.
    problem = None
    if not converted:
        if facts.problem is not None:
            problem = first_line(facts.problem).removeprefix(f"{source.repository}: ")
        elif not facts.files and facts.origin == "hub":
            problem = none_fits
    return CheckpointInput(
        name,
        source.repository,
        revision or facts.commit,
        converted,
        to_fetch,
        facts.bytes if known else None,
        facts.licence,
        problem,
        source.note,
        is_made,
    )


def _look_at_packages(expected: Expected, here: Needs) -> tuple[str, ...]:
    here.packages("score")
    here.decoder(expected.evaluate.backend)
    return tuple(f"{check.text} ({check.fix})" for check in here.checks if check.state == "bad")


def _look_at_disks(out: Path, found: Manifest, here: Needs) -> tuple[str, ...]:
    """What does not fit onto the disks of the Hub's cache and of the output folder."""
    here.other_bytes = found.to_fetch
    here.disk(("to write", out, found.to_write))
    disks = [check for check in here.checks if check.subject == "disk" and check.state != "ok"]
    return tuple(f"disk: {check.text}" for check in disks)


def _look_at_gpus(expected: Expected, asked: Asked, here: Needs) -> tuple[str, ...]:
    """What the GPUs of this machine have no room for, or that there are none."""
    needed = max((gib for row in asked.rows if (gib := expected.gib(row)) is not None), default=0.0)
    gpus, why = here.machine.gpus, here.machine.no_gpus
    if not gpus:
        return (f"no GPU ({why}): models would run on the CPU, for days",)
    largest = max(gpus, key=lambda gpu: gpu.free)
    if largest.free < needed * 2**30:
        free = largest.free / 2**30
        return (f"GPU memory: {needed:g} GiB are needed, {free:.1f} GiB are free on the {largest.name}",)
    return ()
