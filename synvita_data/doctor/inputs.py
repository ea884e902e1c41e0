"""What a command reads and where it writes: annotations, real videos found k of n, files, folders of results."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..annotations import Annotations, VideoRef, read_annotations
from ..display import counted
from ..errors import SynvitaError, VideoError
from ..pair_scores.tables import PairTable
from ..real_videos.find import RealVideos
from ..tasks import Task, get_task
from .machine import nearest
from .report import Check, Needs, State, some

# Looking for videos opens those whose length must be known; VideoCon's test set has thousands.
SECONDS = 6.0


def add_annotations(
    needs: Needs, names: Iterable[str | Task], path: Path | None, *, skip_bad: bool = False
) -> list[tuple[Task, Annotations | None]]:
    """Read the annotations of benchmarks, and add what was found.

    Args:
        names: of benchmarks, or paths of their declarations, or tasks themselves.
        path: file or folder; None where none was named.
        skip_bad: whether rows may be left out.

    Returns:
        Each task that is known, with its annotations, or None where they cannot be read.
    """
    found: list[tuple[Task, Annotations | None]] = []
    named = list(names)
    for name in (each for at, each in enumerate(named) if each not in named[:at]):
        try:
            task = name if isinstance(name, Task) else get_task(name)
        except SynvitaError as error:
            needs.failed("task", error)
            continue
        found.append((task, None if path is None else _read(needs, task, path, skip_bad)))
        if path is None:
            fix = f"--annotations FILE_OR_FOLDER with {' or '.join(task.files)}; {task.homepage}"
            needs.bad("annotations", f"{task.name}: none are named", fix)
    return found


def _read(needs: Needs, task: Task, path: Path, skip_bad: bool) -> Annotations | None:
    try:
        read = read_annotations(task, path, skip_bad=skip_bad)
    except SynvitaError as error:
        needs.failed("annotations", error, fix=f"Get it from {task.homepage}")
        return None
    counts, report = read.counts(), read.report
    text = f"{task.name}: {counted(counts['pairs'], 'texts')} of {counts['videos']:,} videos"
    if report.left_out:
        first = f"{counted(len(report.left_out), 'rows')} cannot be used, first: {report.left_out[0]}"
        needs.warn("annotations", first)
    if (report.checked or {}).get("unchecked") and task.columns is not None:
        text += "; unchecked"
    if report.mismatches:
        said = "; ".join(report.mismatches)
        needs.warn("annotations", f"{text}; not as published: {said}", "The result is not official")
    else:
        needs.ok("annotations", f"{text}, as published")
    return read


def add_videos(
    needs: Needs,
    read: Annotations,
    task: Task,
    root: Path,
    mapping: Path | None = None,
    *,
    partial: bool = False,
    seconds: float = SECONDS,
    only: Collection[str] | None = None,
) -> None:
    """Add how many of a task's videos are under a folder, and whether the first can be read.

    Args:
        read: the annotations.
        task: of them.
        root: folder of real videos.
        mapping: which file is which video.
        partial: whether the command goes on without some.
        seconds: after which no more videos are looked for.
        only: ids of the videos that are needed; None for all.
    """
    try:
        videos = RealVideos(root, mapping, source=task.source)
    except SynvitaError as error:
        needs.failed("videos", error)
        return
    missing: list[VideoRef] = []
    found, first, looked, end = 0, None, "", time.monotonic() + seconds
    for item in read.items(videos, on_missing=missing.append, only=only):
        found, first = found + 1, first or item.video
        if time.monotonic() > end:
            looked = f" (of the first {found + len(missing):,} looked for in {seconds:.0f} s)"
            break
    needed = [video for video in read.videos if only is None or video.video_id in only]
    text = f"{task.name}: {found:,} of {len(needed):,} videos found under {root}{looked}"
    if videos.problems:
        needs.failed("videos", videos.problems[0], "warn")
    if not missing:
        needs.ok("videos", text)
    else:
        text += f"; missing: {some(video.videopath or video.video_id for video in missing)}"
        if found and partial:
            needs.warn("videos", text, "The result will be partial, and never official")
        else:
            fix = "docs/tasks.md says where the videos are published; --partial goes on without them"
            other = "Look at --real-root, and --real-mapping for other names"
            needs.bad("videos", text, fix if found else other)
    if isinstance(first, Path):
        from ..video import probe

        try:
            probe(first)
        except VideoError as error:
            needs.failed("videos", error, "warn")


def add_pairs(needs: Needs, table: PairTable) -> None:
    """Add how many rows of a table of videos and texts have their video, and whether the first can be read.

    Args:
        needs: takes what is found.
        table: of `synvita score`.
    """
    from ..video import probe

    videos = dict.fromkeys(pair.video for pair in table.pairs)
    there = [video for video in videos if isinstance(video, Path) and video.exists()]
    text = f"{counted(len(table.pairs), 'rows')}, {len(there):,} of {len(videos):,} videos found under {table.root}"
    if not there:
        needs.bad("pairs", text, "Name the folder that the paths are relative to with --root")
        return
    if len(there) < len(videos):
        needs.warn("pairs", text, "Rows without their video get an error in place of a score")
    else:
        needs.ok("pairs", f"{text}; {table.used}")
    try:
        probe(there[0])
    except VideoError as error:
        needs.failed("pairs", error, "warn")


def count_videos(
    needs: Needs,
    rows: Sequence[Any],
    find: Callable[[Any], object],
    what: str,
    root: str | Path,
    seconds: float = SECONDS,
    state: State = "bad",
) -> None:
    """Add how many rows of a dataset or of triplets find their real video.

    Args:
        rows: that name one each.
        find: gives a row's video, or None.
        what: they are, for the text.
        root: as the user named it.
        seconds: after which no more rows are looked at.
        state: where none does.
    """
    if not rows:
        return
    found, looked, end = 0, 0, time.monotonic() + seconds
    for row in rows:
        looked, found = looked + 1, found + (find(row) is not None)
        if time.monotonic() > end:
            break
    of = f"{looked:,} looked at ({len(rows):,} in all)" if looked < len(rows) else f"{looked:,}"
    text = f"{found:,} of {of} {what} find their real video under {root}"
    fix = "docs/videos.md says where real videos are from; a mapping names files that are called otherwise"
    if found == looked:
        needs.ok("videos", text)
    elif found:
        needs.warn("videos", text, f"{fix}; rows without one train on their synthetic video alone")
    else:
        needs.checks.append(Check(state, "videos", text, fix))


def add_folder(needs: Needs, folder: Path, subject: str, what: str) -> bool:
    """Add whether a folder that is read is there.

    Args:
        folder: as named.
        subject: of the check.
        what: it is, for the text.
    """
    place = folder.expanduser()
    problem = "is a file, not a folder" if place.is_file() else "does not exist"
    return _add_there(needs, subject, f"{what}: {folder}", None if place.is_dir() else problem)


def add_file(needs: Needs, file: Path, subject: str, what: str) -> bool:
    """Add whether a file that is read is there and not empty; see `add_folder`."""
    place, problem = file.expanduser(), None
    if not place.is_file():
        problem = "is a folder, not a file" if place.is_dir() else "does not exist"
    elif place.stat().st_size == 0:
        problem = "is empty"
    return _add_there(needs, subject, f"{what}: {file}", problem)


def _add_there(needs: Needs, subject: str, text: str, problem: str | None) -> bool:
    if problem is None:
        needs.ok(subject, text)
    else:
        needs.bad(subject, f"{text} {problem}")
    return problem is None


def add_output(needs: Needs, folder: Path, text: str, subject: str = "out") -> None:
    """Add whether a folder can be written, or made.

    Args:
        folder: that is written.
        text: what to say where it can.
        subject: of the check.
    """
    here = nearest(folder)
    if not here.is_dir():
        needs.bad(subject, f"{folder} cannot be made: {here} is a file", "Name another folder")
    elif not os.access(here, os.W_OK | os.X_OK):
        needs.bad(subject, f"{folder} cannot be written", "Name another folder, or change its rights")
    else:
        needs.ok(subject, text)


def add_results(needs: Needs, out: Path) -> None:
    """Add what a folder of results holds already."""
    work, text = out / ".work", f"results go into {out}, which is new or empty"
    results = sum(1 for _ in out.glob("*.json")) if out.is_dir() else 0
    runs = sum(1 for each in work.iterdir() if each.is_dir()) if work.is_dir() else 0
    if results or runs:
        text = (
            f"{out} holds {results} result files and {runs} runs: what is scored already is not scored again"
        )
    add_output(needs, out, text)
