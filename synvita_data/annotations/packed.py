"""Annotations in Parquet: one file a task, ids and captions, never videos. Written by `builders/publish/annotations.py`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..captions import Question
from ..errors import SchemaError, parsing
from ..files import atomic_path
from ..schema import MISALIGNMENTS, SCHEMA_VERSION
from ..tables.columns import as_numpy, coded, from_numpy, parquet_errors, read_parquet
from ..tasks import Task
from .table import TYPES, AnnotationReport, Annotations, VideoRef, make_annotations, make_text_id

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = "test-00000-of-00001.parquet"
_VIDEO = ("source", "video_name", "videopath", "video_url", "youtube_key", "start", "end")
_ROW = ("text_id", "caption", "label", "group", "option", "misalignment", "hard", "type", "row")
_COLUMNS = ("video_id", *_VIDEO, *_ROW)


# Further columns, which files have whose texts are questions or whose declaration names breakdowns.
_ASKED = ("question", "answers", "place")
_PAIR = "minimal_pair"
_BREAKDOWN = "breakdown."


def packed_schema() -> "pa.Schema":
    """Columns of the Parquet form that every file has."""
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

    schema = packed_schema()
    for name, kind in _further(annotations):
        schema = schema.append(pa.field(name, kind))
    schema = schema.with_metadata(
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
    for name in schema.names[len(columns) :]:
        columns[name] = _further_column(annotations, name)
    with atomic_path(path) as temporary:
        pq.write_table(
            pa.table([columns[name] for name in schema.names], schema=schema), temporary, compression="zstd"
        )


def _further(annotations: Annotations) -> list[tuple[str, Any]]:
    """Names and types of the further columns, none for the benchmarks of the paper."""
    import pyarrow as pa

    asked = zip(_ASKED, (pa.string(), pa.list_(pa.string()), pa.int32()), strict=True)
    return [
        *(asked if annotations.questions else ()),
        *([(_PAIR, pa.string())] if annotations.minimal_pair is not None else ()),
        *((f"{_BREAKDOWN}{name}", pa.string()) for name in annotations.declared),
    ]


def _further_column(annotations: Annotations, name: str) -> list[Any]:
    if name == _PAIR:
        return [] if annotations.minimal_pair is None else annotations.minimal_pair.tolist()
    if name.startswith(_BREAKDOWN):
        return annotations.declared[name.removeprefix(_BREAKDOWN)].tolist()
    field = {"question": "words"}.get(name, name)
    asked = [None if q is None else getattr(q, field) for q in annotations.questions]
    return [asked[code] for code in annotations.text.tolist()]


def read_packed(task: Task, path: Path) -> Annotations:
    """Read what `write_packed` wrote.

    Raises:
        SchemaError: not readable, another schema version, another task, or cells that do not fit: a text id
            that is not its caption's, a label other than 0 and 1.
    """
    import pyarrow as pa

    schema = packed_schema()
    table, further = _read(path, schema.names)
    metadata = table.schema.metadata
    if (found := metadata.get(b"task", b"").decode(errors="replace")) != task.name:
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
    rows = text_id.first_rows()
    captions = [caption.cell(row) for row in rows.tolist()]
    questions = _questions(further, rows, path)
    made = [make_text_id(*text) for text in zip(captions, questions or [None] * len(captions), strict=True)]
    _check(
        path,
        (np.array(made, object) == np.array(text_id.values, object))[text_id.codes]
        & (np.array(captions, object)[text_id.codes] == np.array(caption.values, object)[caption.codes]),
        "a text id is not that of its caption",
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
    # Where the rows say the times, they are in the id.
    whole = zip(videos, video.values, strict=True)
    videos = [ref if ref.video_id == name else replace(ref, part=True) for ref, name in whole]
    _check(
        path,
        np.array([ref.video_id for ref in videos], object)[video.codes]
        == np.array(video.values, object)[video.codes],
        "a video id is not its source, name and times",
    )
    annotations = make_annotations(
        task.name,
        videos=videos,
        form=task.form,
        captions=captions,
        questions=questions,
        groups=group.values,
        video=video.codes,
        text=text_id.codes,
        group=group.codes,
        label=label,
        option=as_numpy(table.column("option").combine_chunks()).astype(np.int64),
        misalignment=table.column("misalignment").to_pylist(),
        hard=table.column("hard").to_pylist(),
        type=table.column("type").to_pylist(),
        row=as_numpy(table.column("row").combine_chunks()).astype(np.int64),
        declared={
            name.removeprefix(_BREAKDOWN): further.column(name).to_pylist()
            for name in further.column_names
            if name.startswith(_BREAKDOWN)
        },
        minimal_pair=further.column(_PAIR).to_pylist() if _PAIR in further.column_names else None,
        report=AnnotationReport(files=(str(path),), rows=table.num_rows),
    )
    recorded = metadata.get(b"revision", b"").decode(errors="replace")
    if recorded != annotations.revision:
        raise SchemaError(
            "the rows are not those that were packed",
            file=path,
            found=f"revision {annotations.revision}",
            expected=f"revision {recorded}",
            fix="Fetch the file again, or pack the annotations again",
        )
    return annotations


def _read(path: Path, names: list[str]) -> tuple[Any, Any]:
    """The columns that every file has, and those that only some have."""
    import pyarrow.parquet as pq

    table = read_parquet(path, names)
    with parquet_errors(path):
        found = pq.read_schema(path).names
    further = [n for n in found if n in (*_ASKED, _PAIR) or n.startswith(_BREAKDOWN)]
    return table, read_parquet(path, further)


def _questions(further: Any, rows: Any, path: Path) -> list[Question | None]:
    """The question of each text, by its first row; none where the file has no such columns."""
    if not set(_ASKED) <= set(further.column_names):
        return []
    cells = further.select(_ASKED).take(from_numpy(rows)).to_pylist()
    with parsing("a question is not usable", file=path):
        return [
            None
            if cell["question"] is None
            else Question(cell["question"], tuple(cell["answers"]), cell["place"])
            for cell in cells
        ]


def _check(path: Path, good: Any, problem: str) -> None:
    wrong = np.flatnonzero(~good)
    if wrong.size:
        raise SchemaError(problem, file=path, row=int(wrong[0]))
