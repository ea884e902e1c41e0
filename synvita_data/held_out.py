"""Benchmarks that must not be trained on (`train: never`): data that comes from one is refused.

It is known by the digest of a file that a declaration was checked against, by the source of its videos, and, where the
benchmark's annotations are at hand, by its pairs.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from .annotations import Annotations, read_annotations, tasks_at
from .errors import SchemaError, SourceError
from .files import sha256_file
from .real_videos.names import KNOWN_SOURCES
from .tasks import TASKS, Task, get_task

_FIX = "Train on other data: the benchmark's declaration says `train: never` (docs/tasks.md)"


def refuse_file(path: Path) -> None:
    """Refuse a file that is the annotations of such a benchmark, under whatever name.

    Raises:
        SourceError: it is.
    """
    digests = {each.sha256: task for task in _never(TASKS.values()) for each in task.checked}
    task = digests.get(sha256_file(path)) if path.is_file() else None
    if task is not None:
        raise SourceError(
            f"the file is of {task.title}, which must not be trained on", file=path, found=task.name, fix=_FIX
        )


def refuse_sources(sources: Iterable[str | None], file: str | Path) -> None:
    """Refuse rows whose videos are such a benchmark's own.

    Args:
        sources: of the rows.
        file: or dataset they are of, for the message.

    Raises:
        SourceError: the first such row is named.
    """
    # Datasets of videos that others are made of too, such as MSR-VTT, do not tell.
    own = {task.source: task for task in _never(TASKS.values()) if task.source not in {None, *KNOWN_SOURCES}}
    for row, source in enumerate(sources):
        if (task := own.get(source)) is not None:
            raise SourceError(
                f"a row is of {task.title}, which must not be trained on",
                file=file,
                row=row,
                found=f"source {source}",
                fix=_FIX,
            )


def read_held_out(path: str | Path) -> list[Annotations]:
    """The annotations of benchmarks that must not be trained on.

    Args:
        path: an annotation file or folder, as of `tasks_at`; or the declaration of a task, beside whose file its
            annotations lie.

    Raises:
        SchemaError: there are none, or they cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        found = [(get_task(path), path.parent)]
    else:
        found = [(task, path) for task in tasks_at(path)]
        if path.is_dir():
            found += [(get_task(file), path) for file in sorted(path.glob("*.yaml"))]
    never = [(task, place) for task, place in found if task.train == "never"]
    if not never:
        raise SchemaError(
            "there is no benchmark that forbids training",
            file=path,
            found=", ".join(task.name for task, _ in found) or None,
            expected="annotations of a task whose declaration says train: never",
        )
    return [read_annotations(task, place) for task, place in never]


def refuse_pairs(
    pairs: Iterable[tuple[str, str]], held_out: Collection[Annotations], file: str | Path
) -> None:
    """Refuse rows whose caption and contrast caption are texts of one pair, group or question of a benchmark.

    Args:
        pairs: caption and contrast caption of each row.
        held_out: of `read_held_out`.
        file: or dataset they are of, for the message.

    Raises:
        SourceError: the first such row is named, with how many there are.
    """
    groups: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for annotations in held_out:
        for caption, group in zip(annotations.caption, annotations.group, strict=True):
            groups[caption].add((annotations.task, group))
    none: set[tuple[str, str]] = set()
    rows = []
    for row, (caption, contrast) in enumerate(pairs):
        if shared := groups.get(caption, none) & groups.get(contrast, none):
            rows.append((row, caption, min(shared)))
    if rows:
        row, caption, (task, group) = rows[0]
        raise SourceError(
            f"a row is of {task}, which must not be trained on",
            file=file,
            row=row,
            found=f"{caption!r}, group {group} ({len(rows):,} such rows)",
            fix=_FIX,
        )


def _never(tasks: Iterable[Task]) -> list[Task]:
    return [task for task in tasks if task.train == "never"]
