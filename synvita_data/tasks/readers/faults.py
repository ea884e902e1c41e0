"""Errors that several readers raise."""

from pathlib import Path

from ...errors import SchemaError
from ..annotations import AnnotationReport
from ..task import Task


def no_rows(task: Task, path: Path, report: AnnotationReport) -> SchemaError:
    """The file was read, and nothing in it belongs to the task."""
    kept_out = [f"{report.rows:,} rows"]
    if report.other_rows:
        kept_out.append(f"{report.other_rows:,} of another split, or not hard")
    if report.left_out:
        kept_out.append(f"{len(report.left_out):,} not usable, the first: {report.left_out[0]}")
    return SchemaError(f"no row belongs to task {task.name}", file=path, found=", ".join(kept_out))
