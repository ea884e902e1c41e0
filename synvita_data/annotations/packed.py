"""Annotations in Parquet: one file a task, ids and captions, never videos. Written by `builders/publish/annotations.py`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SchemaError
from ..files import atomic_path
from ..schema import MISALIGNMENTS, SCHEMA_VERSION
from ..tables.columns import as_numpy, coded, from_numpy, read_parquet
from ..tasks import Task
from .table import TYPES, AnnotationReport, Annotations, VideoRef, make_annotations, make_text_id

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = "test-00000-of-00001.parquet"
_VIDEO = ("source", "video_name", "videopath", "video_url", "youtube_key", "start", "end")
_ROW = ("text_id", "caption", "label", "group", "option", "misalignment", "hard", "type", "row")
_COLUMNS = ("video_id", *_VIDEO, *_ROW)


def packed_schema() -> "pa.Schema":
    """Columns of the Parquet form."""
    import pyarrow as pa

    text, integer, real = pa.string(), pa.int32(), pa.float64()
    required = {"video_id": text, "source": text, "video_name": text, "text_id": text, "caption": text}
    required |= {"label": pa.int8(), "group": text, "option": integer, "row": integer}
    optional = {"videopath": text, "video_url": text, "youtube_key": text, "start": real, "end": real}
    optional |= {"misalignment": text, "hard": pa.bool_(), "type": text}
    return pa.schema(
        [pa.field(name, (required | optional)[name], nullable=name in optional) for name in _COLUMNS]
    )


def packed_file(task: Task, folder: Path) -> Path | None:
    """The Parquet file of a task below a folder of packed annotations; None where there is none."""
    for place in (folder / task.name / FILE_NAME, folder / FILE_NAME):
        if place.is_file():
            return place
    return None


def write_packed(annotations: Annotations, path: Path) -> None:
    """Write annotations as Parquet; equal annotations give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = packed_schema().with_metadata(
        {"schema_version": SCHEMA_VERSION, "task": annotations.task, "revision": annotations.revision}
    )

    def repeated(values: list[Any], codes: Any, kind: Any) -> Any:
        return pa.array(values, kind).take(from_numpy(codes))

    videos = annotations.videos
    columns = {
        "video_id": repeated([v.video_id for v in videos], annotations.video, pa.string()),
        "source": repeated([v.source for v in videos], annotations.video, pa.string()),
        "video_name": repeated([v.name for v in videos], annotations.video, pa.string()),
        "text_id": repeated(list(annotations.text_ids), annotations.text, pa.string()),
        "caption": repeated(list(annotations.captions), annotations.text, pa.string()),
        "group": repeated(list(annotations.groups), annotations.group_code, pa.string()),
        "label": from_numpy(annotations.label),
        "option": from_numpy(annotations.option.astype(np.int32)),
        "row": from_numpy(annotations.row.astype(np.int32)),
        "misalignment": pa.array(annotations.misalignment, pa.string()),
        "hard": pa.array(annotations.hard, pa.bool_()),
        "type": pa.array(annotations.type, pa.string()),
    }
    for name in _VIDEO[2:]:
        columns[name] = repeated(
            [getattr(v, name) for v in videos], annotations.video, schema.field(name).type
        )
    with atomic_path(path) as temporary:
        pq.write_table(
            pa.table([columns[name] for name in schema.names], schema=schema), temporary, compression="zstd"
        )


def read_packed(task: Task, path: Path) -> Annotations:
    """Read what `write_packed` wrote.

    Raises:
        SchemaError: not readable, another schema version, another task, or cells that do not fit: a text id
            that is not its caption's, a label other than 0 and 1.
    """
    import pyarrow as pa

    schema = packed_schema()
    table = read_parquet(path, schema.names)
    metadata = table.schema.metadata
    if (found := metadata.get(b"task", b"").decode()) != task.name:
        raise SchemaError(
            "the file holds annotations of another task",
            file=path,
            found=found or "no task",
            expected=task.name,
        )
    try:
        table = table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise SchemaError("a column has another type", file=path, found=str(error)) from error
    for field in schema:
        if not field.nullable:
            _check(path, ~np.array(table.column(field.name).is_null()), f"{field.name} is empty")

    # Texts and their ids.
    caption, text_id, group = (coded(table, name, path) for name in ("caption", "text_id", "group"))
    made = np.array([make_text_id(value) for value in caption.values], object)[caption.codes]
    _check(
        path, made == np.array(text_id.values, object)[text_id.codes], "a text id is not that of its caption"
    )
    # Labels and categories.
    label = as_numpy(table.column("label").combine_chunks())
    _check(path, np.isin(label, (0, 1)), "a label is not 0 or 1")
    for name, known in (("misalignment", MISALIGNMENTS), ("type", TYPES)):
        values = table.column(name).to_pylist()
        _check(path, np.array([v is None or v in known for v in values], bool), f"unknown {name}")
    # Videos, each from its first row.
    video = coded(table, "video_id", path)
    first = table.select(_VIDEO).take(from_numpy(video.first_rows())).to_pylist()
    videos = [
        VideoRef(**{("name" if key == "video_name" else key): value for key, value in cells.items()})
        for cells in first
    ]
    _check(
        path,
        np.array([ref.video_id for ref in videos], object)[video.codes]
        == np.array(video.values, object)[video.codes],
        "a video id is not its source and name",
    )
    annotations = make_annotations(
        task.name,
        videos=videos,
        captions=caption.values,
        groups=group.values,
        video=video.codes,
        text=caption.codes,
        group=group.codes,
        label=label,
        option=as_numpy(table.column("option").combine_chunks()).astype(np.int64),
        misalignment=table.column("misalignment").to_pylist(),
        hard=table.column("hard").to_pylist(),
        type=table.column("type").to_pylist(),
        row=as_numpy(table.column("row").combine_chunks()).astype(np.int64),
        report=AnnotationReport(files=(str(path),), rows=table.num_rows),
    )
    recorded = metadata.get(b"revision", b"").decode()
    if recorded != annotations.revision:
        raise SchemaError(
            "the rows are not those that were packed",
            file=path,
            found=f"revision {annotations.revision}",
            expected=f"revision {recorded}",
            fix="Fetch the file again, or pack the annotations again",
        )
    return annotations


def _check(path: Path, good: Any, problem: str) -> None:
    wrong = np.flatnonzero(~good)
    if wrong.size:
        raise SchemaError(problem, file=path, row=int(wrong[0]))
