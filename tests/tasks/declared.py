"""Declared tasks of tests: a declaration and a file of rows, read."""

import csv
import json
from pathlib import Path
from typing import Any

from synvita_data.annotations import Annotations, read_annotations
from synvita_data.tasks import Task, get_task


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def declare(folder: Path, text: str, name: str = "mine") -> Task:
    """The task of a declaration, whose name need not be said."""
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\n{text}\n", encoding="utf-8")
    return get_task(path)


def read(folder: Path, text: str, rows: list[dict[str, Any]], **options: Any) -> Annotations:
    """Rows read as CSV by a declaration."""
    return read_annotations(declare(folder, text), write_csv(folder / "rows.csv", rows), **options)


def cells(annotations: Annotations) -> list[tuple[Any, ...]]:
    """Video, text, group, option and label of each row."""
    return list(
        zip(
            annotations.video_id,
            annotations.caption,
            annotations.group,
            annotations.option.tolist(),
            annotations.label.tolist(),
            strict=True,
        )
    )
