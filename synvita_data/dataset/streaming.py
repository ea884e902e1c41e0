"""Triplets as a stream: `load_triplets(…, streaming=True)`, with the types, checks and videos of a loaded dataset.

Batches of the Parquet files pass through as Arrow tables, so nothing is copied into a cache and memory holds one row group.
As with loaded datasets, real videos and referred synthetic ones are found by a format when a row is read, never in the
table, so that what is published or saved of a stream knows no place of this machine.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import SchemaError
from ..real_videos.find import RealVideos
from ..schema import VIDEO_COLUMNS, features
from ..synthetic_videos.find import SyntheticVideos

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

# Rows that pass through at once: each may hold a video of megabytes.
_ROWS_AT_ONCE = 16


def as_triplets(
    stream: "datasets.IterableDataset",
    name: str,
    *,
    videos: RealVideos | None,
    synthetic: SyntheticVideos,
    refers: bool | None,
) -> "datasets.IterableDataset":
    """A stream of published rows with the columns and types of `load_triplets`, and the videos that are found.

    Args:
        stream: of one split, as `datasets` reads it.
        name: of the dataset, for messages.
        videos: finds real videos; None looks for none.
        synthetic: finds the synthetic videos that rows refer to.
        refers: whether rows refer to their synthetic videos; None where nothing says it: the first rows are asked.

    Raises:
        SchemaError: it lacks columns of a table of triplets.
    """
    from .local_videos import with_stream_videos

    target, found = _target(stream, name), stream.with_format("arrow")
    if refers is None:
        refers = _first_rows_refer(stream)
    if refers:
        target["synthetic_video"] = target["real_video"]

    def published(batch: "pa.Table") -> "pa.Table":
        return _published(batch, target, name)

    typed = found.map(published, batched=True, batch_size=_ROWS_AT_ONCE, features=target)
    if videos is None and not refers:
        return typed.with_format(None)
    return with_stream_videos(typed, videos, synthetic if refers else None)


def _target(stream: "datasets.IterableDataset", name: str) -> "datasets.Features":
    """The features of `load_triplets`, of the columns that a stream has."""
    import datasets

    if stream.features is None:  # files of `to_json` say no types
        stream = stream._resolve_features()
    there, known = stream.features or {}, features(contrast=True)
    missing = [column for column in features() if column not in there and column not in VIDEO_COLUMNS]
    if missing:
        raise SchemaError(
            "the dataset lacks columns of a table of triplets",
            file=name,
            found=f"columns {list(there)}",
            expected=f"also {missing}",
        )
    target = datasets.Features({column: known.get(column, kind) for column, kind in there.items()})
    for column in VIDEO_COLUMNS:
        target.setdefault(column, known[column])
    # As a column of type Video, what it names would be taken for files of this machine.
    target["real_video"] = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    return target


def _published(batch: "pa.Table", target: Mapping[str, Any], name: str) -> "pa.Table":
    """A batch in the published types, without what it says of the machine that saved it."""
    import datasets
    import pyarrow as pa
    from datasets.table import table_cast

    from .local_videos import batch_as_published

    for column in VIDEO_COLUMNS:
        if column not in batch.column_names:
            batch = batch.append_column(column, pa.nulls(batch.num_rows))
    try:
        typed = table_cast(batch.select(list(target)), datasets.Features(target).arrow_schema)
    except (datasets.exceptions.DatasetsError, pa.ArrowException, TypeError, ValueError) as error:
        raise SchemaError(
            "columns of the dataset have other types than published, and cannot be read as those",
            file=name,
            found=str(error),
        ) from error
    return batch_as_published(typed)


def _first_rows_refer(stream: "datasets.IterableDataset") -> bool:
    """Whether the first row with a synthetic video refers to it, of the first few rows."""
    for row in stream.with_format(None).take(_ROWS_AT_ONCE):
        cell = row.get("synthetic_video")
        if isinstance(cell, Mapping) and (cell.get("bytes") or cell.get("path")):
            return cell.get("bytes") is None
    return False
