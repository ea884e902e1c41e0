"""Find a task's annotation file and read it in the form it has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..display import counted
from ..errors import SchemaError
from ..files import sha256_file
from ..tables.columns import parquet_errors
from ..tasks import TASKS, Task, get_task
from .declared import read_declared
from .forms import find_form
from .packed import packed_file, read_packed
from .table import Annotations


def read_annotations(task: Task | str, path: str | Path, *, skip_bad: bool = False) -> Annotations:
    """The annotations of a task.

    Args:
        task: a `Task`, its name, or the path of its declaration.
        path: a published file (`Task.files`), a Parquet file of ours, or a folder that holds either. For
            ATP-Hard, `nextqa-atphard.csv` (types and ids of the questions) and `map_vid_vidorID.json`
            (folders of the videos) beside the file are read as well; the report names them. Where a declaration names
            columns: .csv, .tsv, .jsonl, .json or .parquet.
        skip_bad: rows that cannot be used are left out, counted and reported (`AnnotationReport.left_out`), not
            raised; for tasks whose declaration names columns.

    Returns:
        The rows and a report of what was left out, with the expected counts that are not met.

    Raises:
        SchemaError: no such file, another form, or a fault of the file, with its row.
    """
    task = get_task(task) if isinstance(task, str) else task
    files = _find(task, Path(path))
    if _is_packed(files[0]) or (task.columns is None and files[0].suffix.lower() == ".parquet"):
        annotations = read_packed(task, files[0])
    elif task.columns is not None:
        form = find_form(task)
        annotations = form.read_declared(read_declared(task, files, skip_bad=skip_bad))
    elif files[0].suffix.lower() == ".csv":
        read = find_form(task).read
        assert read is not None
        annotations = read(task, files[0])
    else:
        raise SchemaError(
            "this is not a format that annotations are read from",
            file=files[0],
            expected=".csv as published, or .parquet of ours",
        )
    if len(annotations) == 0:
        raise annotations.report.no_rows(task.name, files[0])
    report = annotations.report
    report.checked = check_files(task, files)
    report.mismatches = task.mismatches(annotations.counts())
    if task.columns is not None:
        report.mismatches += _differences(report.checked)
        if report.left_out:
            report.mismatches += (
                f"{counted(len(report.left_out), 'rows')} cannot be used and were left out",
            )
    return annotations


def check_files(task: Task, files: Sequence[Path]) -> dict[str, Any]:
    """Whether the files that are read are those that a declaration was checked against, JSON-ready.

    Returns:
        `unchecked: true` for a declaration that was not; else `checked_against`, a list of its files with the digest
        that is expected, the one found (None where the file was not read) and whether they are the same.
    """
    if not task.checked:
        return {"unchecked": True}
    # A single file may bear another name; of several each is told by its own.
    by_name = {file.name: file for file in files}
    found = []
    for each in task.checked:
        file = files[0] if len(files) == len(task.checked) == 1 else by_name.get(each.file)
        digest = None if file is None or _is_packed(file) else sha256_file(file)
        found.append(
            {
                "file": each.file,
                "sha256": each.sha256,
                "found": digest,
                "same": None if digest is None else digest == each.sha256,
            }
        )
    return {"unchecked": False, "checked_against": found}


def _differences(checked: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        f"{each['file']} is not the file that the declaration was checked against (sha256 {each['found'][:16]}…, not "
        f"{each['sha256'][:16]}…)"
        for each in checked.get("checked_against", ())
        if each["same"] is False
    )


def _is_packed(file: Path) -> bool:
    """Whether a file is one of `write_packed`: Parquet files of others have no task in their metadata."""
    if file.suffix.lower() != ".parquet":
        return False
    import pyarrow.parquet as pq

    with parquet_errors(file):
        metadata = pq.read_schema(file).metadata or {}
    return b"task" in metadata and b"revision" in metadata


def tasks_at(path: str | Path) -> list[Task]:
    """The tasks whose annotations a folder holds, or whose published name a file has; in the order of `TASKS`."""
    path = Path(path)
    if not path.is_dir():
        return [task for task in TASKS.values() if path.name in task.files]
    return [
        task
        for task in TASKS.values()
        if packed_file(task, path) is not None
        or (any, all)[task.all_files]((path / name).is_file() for name in task.files or ("",))
    ]


def _find(task: Task, path: Path) -> list[Path]:
    """The files to read: one, or all that the annotations are of."""
    if not path.is_dir():
        if not path.is_file():
            raise SchemaError(
                "the annotation file does not exist", file=path, expected=" or ".join(task.files) or "a file"
            )
        return [path]
    packed = packed_file(task, path)
    if packed is not None:
        return [packed]
    found = [path / name for name in task.files if (path / name).is_file()]
    lacking = [name for name in task.files if not (path / name).is_file()]
    if not found or (task.all_files and lacking):
        raise SchemaError(
            f"the folder holds no annotations of task {task.name}"
            if not found
            else f"the folder lacks a file of task {task.name}",
            file=path,
            found=None if not found else f"{len(found)} of {len(task.files)} files",
            expected=f"{', '.join(lacking)} or {task.name}/*.parquet",
        )
    return found if task.all_files else found[:1]
