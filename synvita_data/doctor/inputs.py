"""What a command reads and where it writes: annotations, real videos found k of n, folders of results."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from ..annotations import Annotations, VideoRef, read_annotations
from ..errors import SynvitaError, VideoError
from ..real_videos.find import RealVideos
from ..tasks import Task
from .report import Check, check_of

# Looking for videos opens those whose length must be known; VideoCon's test set has thousands.
SECONDS = 6.0


def annotation_checks(task: Task, path: Path | None, checks: list[Check]) -> Annotations | None:
    """The annotations of a task, read whole; None, and why, where they cannot be.

    Args:
        task: the benchmark.
        path: file or folder; None where none was named.
        checks: takes what was found.
    """
    if path is None:
        fix = f"--annotations FILE_OR_FOLDER with {' or '.join(task.files)}; {task.homepage}"
        checks.append(Check("bad", "annotations", f"{task.name}: none are named", fix))
        return None
    try:
        read = read_annotations(task, path)
    except SynvitaError as error:
        found = check_of("annotations", error)
        checks.append(
            found if found.fix else Check("bad", found.subject, found.text, f"Get it from {task.homepage}")
        )
        return None
    counts = read.counts()
    text = f"{task.name}: {counts['pairs']:,} texts of {counts['videos']:,} videos"
    if left_out := read.report.left_out:
        checks.append(
            Check("warn", "annotations", f"{len(left_out):,} rows cannot be used, first: {left_out[0]}")
        )
    if read.report.mismatches:
        said = "; ".join(read.report.mismatches)
        checks.append(
            Check("warn", "annotations", f"{text}; not as published: {said}", "The result is not official")
        )
    else:
        checks.append(Check("ok", "annotations", f"{text}, as published"))
    return read


def video_checks(
    read: Annotations,
    task: Task,
    root: Path,
    mapping: Path | None = None,
    *,
    partial: bool = False,
    seconds: float = SECONDS,
) -> Iterator[Check]:
    """How many of a task's videos are under a folder, and whether the first can be read.

    Args:
        read: the annotations.
        task: of them.
        root: folder of real videos.
        mapping: which file is which video.
        partial: whether the command goes on without some.
        seconds: after which no more videos are looked for.
    """
    try:
        videos = RealVideos(root, mapping, source=task.source)
    except SynvitaError as error:
        yield check_of("videos", error)
        return
    missing: list[VideoRef] = []
    found, first, end = 0, None, time.monotonic() + seconds
    stopped = False
    for item in read.items(videos, on_missing=missing.append):
        found += 1
        first = first or item.video
        if time.monotonic() > end:
            stopped = True
            break
    total = len(read.videos)
    looked = f" (of the first {found + len(missing):,} looked for in {seconds:.0f} s)" if stopped else ""
    text = f"{task.name}: {found:,} of {total:,} videos found under {root}{looked}"
    if videos.problems:
        yield check_of("videos", videos.problems[0], "warn")
    if missing:
        some = ", ".join(video.videopath or video.video_id for video in missing[:3])
        text += f"; missing: {some}{', …' if len(missing) > 3 else ''}"
        if found and partial:
            yield Check("warn", "videos", text, "The result will be partial, and never official")
        else:
            fix = "docs/tasks.md says where the videos are published; --partial goes on without them"
            yield Check(
                "bad",
                "videos",
                text,
                fix if found else "Look at --real-root, and --real-mapping for other names",
            )
    else:
        yield Check("ok", "videos", text)
    if isinstance(first, Path):
        yield from readable(first)


def readable(video: Path) -> Iterator[Check]:
    """A check that a video is not one; nothing where it is."""
    from ..video import probe

    try:
        probe(video)
    except VideoError as error:
        yield check_of("videos", error, "warn")


def folder_check(folder: Path, subject: str, what: str) -> Check:
    """Whether a folder that is read is there.

    Args:
        folder: as named.
        subject: of the check.
        what: it is, for the text.
    """
    place = folder.expanduser()
    if place.is_dir():
        return Check("ok", subject, f"{what}: {folder}")
    problem = "is a file, not a folder" if place.is_file() else "does not exist"
    return Check("bad", subject, f"{what}: {folder} {problem}")


def file_check(file: Path, subject: str, what: str) -> Check:
    """Whether a file that is read is there and not empty."""
    place = file.expanduser()
    if not place.is_file():
        problem = "is a folder, not a file" if place.is_dir() else "does not exist"
        return Check("bad", subject, f"{what}: {file} {problem}")
    if place.stat().st_size == 0:
        return Check("bad", subject, f"{what}: {file} is empty")
    return Check("ok", subject, f"{what}: {file}")


def writable_check(folder: Path, subject: str = "out") -> Check | None:
    """Why a folder cannot be written; None where it can, or where it can be made."""
    here = folder.expanduser().absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    if not here.is_dir():
        return Check("bad", subject, f"{folder} cannot be made: {here} is a file", "Name another folder")
    if not os.access(here, os.W_OK | os.X_OK):
        return Check(
            "bad", subject, f"{folder} cannot be written", "Name another folder, or change its rights"
        )
    return None


def results_check(out: Path) -> Check:
    """What a folder of results holds already."""
    if (refused := writable_check(out)) is not None:
        return refused
    results = sum(1 for _ in out.glob("*.json")) if out.is_dir() else 0
    work = out / ".work"
    runs = sum(1 for each in work.iterdir() if each.is_dir()) if work.is_dir() else 0
    if not results and not runs:
        return Check("ok", "out", f"results go into {out}, which is new or empty")
    return Check(
        "ok",
        "out",
        f"{out} holds {results} result files and {runs} runs: what is scored already is not scored again",
    )
