"""The tasks of this package, one declaration a task, and the tasks of users."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import SchemaError, choose
from .declaration import NAME, declare, read_declaration
from .forms import FORMS
from .published import COLUMNS
from .task import Task

DECLARATIONS = Path(__file__).with_name("declarations")


def _read_ours() -> dict[str, Task]:
    """Those of the paper in its order, then the others by name."""
    read = [read_declaration(path, ours=True) for path in DECLARATIONS.glob("*.yaml")]
    place = {name: at for at, name in enumerate(COLUMNS)}
    return {task.name: task for task in sorted(read, key=lambda t: (place.get(t.name, len(place)), t.name))}


TASKS: dict[str, Task] = _read_ours()


def get_task(name: str | Path) -> Task:
    """The task of this name, or the one that a YAML file declares.

    Args:
        name: of one of ours, or the path of a file that ends in `.yaml` or `.yml`.

    Raises:
        SchemaError: there is none, and the message lists all; or the file is not a declaration, or its task has the
            name of one of ours.
    """
    text = str(name)
    if not text.lower().endswith((".yaml", ".yml")):
        fix = "A task of your own: --task FILE.yaml (docs/tasks.md)"
        return TASKS[choose(text, TASKS, "task", error=SchemaError, fix=fix)]
    path = Path(text)
    if path.is_file() and path.resolve().parent == DECLARATIONS.resolve():
        return TASKS[path.stem]
    return _check_free(read_declaration(path), path)


def task_of_file(path: str | Path, form: str) -> Task:
    """A task for annotations without a declaration, named after their file, whose columns have common names.

    Args:
        path: the annotations.
        form: of FORMS.

    Raises:
        SchemaError: an unknown form, or the file has the name of one of ours.
    """
    path = Path(path)
    choose(form, FORMS, "form of task", error=SchemaError)
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).lstrip("._-")[:100]
    if not NAME.fullmatch(name):
        raise SchemaError(
            "no task can be named after this file", file=path, expected="a name with letters or digits"
        )
    content: dict[str, Any] = {"name": name, "form": form, "files": [path.name], "unchecked": True}
    return _check_free(declare(content), path)


def task_of_result(record: Mapping[str, Any]) -> Task | None:
    """What a result says of a user's task, as far as a table needs it; None where it does not say its form.

    Args:
        record: `task` of a result file, which may have been made elsewhere.
    """
    name, form, column = (record.get(key) for key in ("name", "form", "column"))
    if not isinstance(name, str) or not NAME.fullmatch(name) or form not in FORMS:
        return None
    task = replace(declare({"name": name, "form": form}), digest=str(record.get("declaration", "")))
    main_score = record.get("main_score")
    return replace(
        task,
        column=column if isinstance(column, str) else name,
        main_score=main_score if isinstance(main_score, str) else task.main_score,
    )


def task_setting(tasks: Sequence[Task], name: str, default: Any) -> Any:
    """What tasks declare of `frames` or `prompt`, for one model that is asked all of them.

    Raises:
        SchemaError: two declare different things.
    """
    found = {task.name: getattr(task, name) or default for task in tasks}
    values = list(found.values())
    if any(value != values[0] for value in values):
        raise SchemaError(
            f"the tasks declare different {name}",
            found="; ".join(f"{task}: {value}" for task, value in found.items()),
            expected="one for all tasks of a run",
            fix=f"Evaluate them one by one, or say --{name}",
        )
    return values[0] if values else default


def _check_free(task: Task, path: Path) -> Task:
    if task.name in TASKS:
        raise SchemaError(
            "the name of a task is taken by one of this package",
            file=path,
            found=task.name,
            expected="another name",
            fix=f"Rename it, or take ours: --task {task.name}",
        )
    return task
