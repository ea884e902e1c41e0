"""Result files with the score tables beside them: what is compared, and what shows mistakes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..annotations import Annotations
from ..errors import SchemaError, ScoreError, SourceError
from ..tables.columns import coded, read_parquet
from ..tasks import FORMS, TASKS, Task, task_of_file, task_of_result
from .results import Result, read_result


@dataclass(frozen=True, eq=False)
class ScoredResult:
    """A result file and the score table beside it.

    Attributes:
        result: the file, which knows its path.
    """

    result: Result

    @property
    def path(self) -> Path:
        """Of the result file."""
        assert self.result.path is not None  # it was read
        return self.result.path

    @property
    def table(self) -> Path:
        """Path of the score table."""
        return self.path.with_suffix(".parquet")

    @property
    def control(self) -> str | None:
        """What was taken away from the videos before they were scored; None for a result of the task itself."""
        return self.result.control

    @property
    def revision(self) -> str:
        """Of the annotations."""
        return str(self.result.record["task"]["annotations"])

    @property
    def kind(self) -> str:
        """What the scores mean."""
        return str(self.result.record["model"]["kind"])

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form: the file's name, not where it lies."""
        model = self.result.record["model"]
        return {
            "model": self.result.model,
            "revision": model.get("revision"),
            "kind": self.kind,
            "file": self.path.name,
            "official": self.result.official,
            "control": self.control,
        }


def read_scored(path: Path) -> ScoredResult:
    """A result file whose score table is there and belongs to it, as far as its metadata says.

    Raises:
        SchemaError: one of the two is missing or broken, or the table is of another task, kind or revision.
    """
    result = read_result(path)
    try:
        record = result.record
        counted = [record["coverage"][name] for name in ("k", "n")]
        if not all(isinstance(count, int) for count in counted):
            raise TypeError(f"coverage {counted}")
        record["task"]["annotations"], record["model"]["kind"], record["main_score"]["name"]
        numbers = [record["main_score"]["value"], *(record["main_score"].get(end) for end in ("low", "high"))]
        if not all(isinstance(number, float | int | None) for number in numbers):
            raise TypeError(f"the main score and its interval {numbers}")
    except (KeyError, TypeError) as error:
        raise SchemaError(
            "this is not a result file", file=path, found=repr(error), expected="a complete result"
        ) from error
    found = ScoredResult(result)
    if not found.table.is_file():
        raise SchemaError(
            "the result has no score table beside it",
            file=path,
            expected=found.table.name,
            fix="Copy both files, or evaluate again",
        )
    table = read_parquet(found.table, ("task",))
    said = {
        key: (table.schema.metadata.get(key.encode()) or b"").decode(errors="replace")
        for key in ("kind", "annotations")
    }
    tasks = coded(table, "task", found.table).values
    expected = {"task": result.task, "kind": found.kind, "annotations": found.revision}
    for name, value in {"task": ", ".join(tasks), **said}.items():
        if value != expected[name]:
            raise not_its_table(found, f"{name} {value or 'none'}", expected[name])
    return found


def task_of(side: ScoredResult, wanted: Mapping[str, Task], annotations: Path | None) -> Task:
    """The task of a result: one that was asked for, one of ours, or what an annotation file without a declaration or the
    result itself says of it.

    Args:
        side: the result.
        wanted: name -> the tasks that were asked for; empty for any.
        annotations: of the task, if given.

    Raises:
        SourceError: the result is of another task.
        SchemaError: the result says not enough of its own task.
    """
    name, form = side.result.task, side.result.record["task"].get("form")
    if wanted:
        if name not in wanted:
            raise SourceError(
                "the result is of another task", file=side.path, found=name, expected=", ".join(wanted)
            )
        return wanted[name]
    if name in TASKS:
        return TASKS[name]
    if annotations is None:
        found = task_of_result(side.result.record["task"])
    else:
        found = task_of_file(annotations, form) if annotations.is_file() and form in FORMS else None
    if found is None or found.name != name:
        raise SchemaError(
            f"the task {name} is not one of ours",
            file=side.path,
            fix="Give its declaration with --task FILE.yaml, or the file it was read from with --annotations",
        )
    return found


def check_annotations(side: ScoredResult, annotations: Annotations) -> None:
    """Refuse annotations that the result was not made on.

    Raises:
        ScoreError: their revision is another one.
    """
    if annotations.revision != side.revision:
        raise ScoreError(
            "the result was made on other annotations than these",
            file=annotations.report.files[0] if annotations.report.files else None,
            found=f"revision {annotations.revision}",
            expected=f"revision {side.revision}, as {side.path} says",
            fix="Give the annotations that the model was evaluated on, or evaluate on these",
        )


def not_its_table(side: ScoredResult, found: str, expected: str) -> SchemaError:
    return SchemaError(
        "the score table does not belong to its result",
        file=side.table,
        found=found,
        expected=f"{expected}, as {side.path.name} says",
        fix="Evaluate again: both files are then written",
    )
