"""Find a task's annotation file and read it in the form it has."""

from pathlib import Path

from ..errors import SchemaError
from ..tasks import TASKS, Task, get_task
from .forms import find_form
from .packed import packed_file, read_packed
from .table import Annotations


def read_annotations(task: Task | str, path: str | Path) -> Annotations:
    """The annotations of a task.

    Args:
        task: a `Task` or its name.
        path: a published CSV (`Task.files`), a Parquet file of ours, or a folder that holds either. For
            ATP-Hard, `nextqa-atphard.csv` (types and ids of the questions) and `map_vid_vidorID.json`
            (folders of the videos) beside the file are read as well; the report names them.

    Returns:
        The rows and a report of what was left out, with the expected counts that are not met.

    Raises:
        SchemaError: no such file, another form, or a fault of the file, with its row.
    """
    task = get_task(task) if isinstance(task, str) else task
    file = _find(task, Path(path))
    if file.suffix.lower() == ".parquet":
        annotations = read_packed(task, file)
    elif file.suffix.lower() == ".csv":
        annotations = find_form(task).read(task, file)
    else:
        raise SchemaError(
            "this is not a format that annotations are read from",
            file=file,
            expected=".csv as published, or .parquet of ours",
        )
    if len(annotations) == 0:
        raise annotations.report.no_rows(task.name, file)
    annotations.report.mismatches = task.mismatches(annotations.counts())
    return annotations


def tasks_at(path: str | Path) -> list[Task]:
    """The tasks whose annotations a folder holds, or whose published name a file has; in the order of `TASKS`."""
    path = Path(path)
    if not path.is_dir():
        return [task for task in TASKS.values() if path.name in task.files]
    return [
        task
        for task in TASKS.values()
        if packed_file(task, path) is not None or any((path / name).is_file() for name in task.files)
    ]


def _find(task: Task, path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise SchemaError(
                "the annotation file does not exist", file=path, expected=" or ".join(task.files)
            )
        return path
    packed = packed_file(task, path)
    if packed is not None:
        return packed
    found = [path / name for name in task.files if (path / name).is_file()]
    if not found:
        raise SchemaError(
            f"the folder holds no annotations of task {task.name}",
            file=path,
            expected=f"{', '.join(task.files)} or {task.name}/*.parquet",
        )
    return found[0]
