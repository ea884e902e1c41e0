"""Cut rows into Parquet shards and write them, streaming the videos through a bounded buffer.

The same rows give the same bytes, whoever writes a shard and however often it was interrupted.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from synvita_data.errors import StoreError, VideoError
from synvita_data.schema import arrow_schema

from .rows import Row

# A row group is what a reader must load to see one row: the Hub's viewer gives up near 286 MiB, and
# the writer holds one group in memory. Videos close a group long before the row limit does.
ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_ROWS = 1000
# The annotation part of a row, for planning only.
ROW_OVERHEAD_BYTES = 2048
_VIDEO_COLUMNS = ("real_video", "synthetic_video")


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive rows of one split that share a Parquet file.

    Attributes:
        contrast: of the config some row says how its contrast caption was written: all its files have the column.
    """

    split: str
    index: int
    count: int
    rows: tuple[Row, ...]
    contrast: bool = False

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}.parquet"


def plan_shards(rows: Sequence[Row], *, embed_real: bool, max_shard_bytes: int) -> list[Shard]:
    """Cut each split into shards of at most `max_shard_bytes` (one row may exceed it), in row order."""
    by_split: dict[str, list[Row]] = {}
    for row in rows:
        by_split.setdefault(row.triplet.split, []).append(row)
    contrast = any(row.triplet.contrast is not None for row in rows)
    shards = []
    for split, members in sorted(by_split.items()):
        groups = list(_cut(members, embed_real, max_shard_bytes, max_rows=None))
        shards += [
            Shard(split, index, len(groups), tuple(group), contrast) for index, group in enumerate(groups)
        ]
    return shards


def write_shard(shard: Shard, path: Path, *, embed_real: bool) -> None:
    """Write one shard to `path`, a place where nobody looks before the file is whole.

    Raises:
        VideoError: a video is gone, or its bytes are not those that were checked before.
        StoreError: the disk is full, or cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(contrast=shard.contrast)
    # Compressing h264 costs time and saves nothing; its statistics and dictionary neither.
    videos = {f"{name}.bytes" for name in _VIDEO_COLUMNS}
    text = [leaf for leaf in _leaf_columns(shard.contrast) if leaf not in videos]
    sink = _Sink(path)
    with (
        sink,
        pq.ParquetWriter(
            sink,
            schema,
            compression=dict.fromkeys(text, "zstd") | dict.fromkeys(videos, "none"),
            use_dictionary=text,
            write_statistics=text,
            write_page_index=True,
            # Chunk boundaries that follow the content: a new version of the dataset uploads what changed.
            use_content_defined_chunking={
                "min_chunk_size": 256 << 10,
                "max_chunk_size": 1 << 20,
                "norm_level": 0,
            },
        ) as writer,
    ):
        for group in _cut(shard.rows, embed_real, ROW_GROUP_BYTES, max_rows=ROW_GROUP_ROWS):
            table = pa.Table.from_pylist([_with_videos(row, embed_real) for row in group], schema=schema)
            writer.write_table(table, row_group_size=len(group))
            del table
            sink.check()
    sink.check()


class _Sink(io.RawIOBase):
    """A file that keeps its error for `check`: Arrow aborts the process when a sink fails under it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = path.open("wb")
        self._position = 0
        self._error: OSError | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        self._position += size
        return size

    def close(self) -> None:
        if not self.closed:
            try:
                self._file.close()
            except OSError as error:
                self._error = self._error or error
        super().close()

    def check(self) -> None:
        """Raise `StoreError` if any write so far has failed."""
        if self._error is not None:
            raise StoreError(
                f"a shard cannot be written: {self._error.strerror}",
                file=self._path,
                fix="Free space and run the build again: it continues where it stopped",
            ) from self._error


def row_bytes(row: Row, *, embed_real: bool) -> int:
    """About how many bytes a row takes, with the videos that it embeds."""
    video = row.synthetic
    size = ROW_OVERHEAD_BYTES + (video.path.stat().st_size if video and video.reference is None else 0)
    return size + (row.real.path.stat().st_size if embed_real and row.real else 0)


def _cut(rows: Sequence[Row], embed_real: bool, max_bytes: int, max_rows: int | None) -> Iterator[list[Row]]:
    group: list[Row] = []
    filled = 0
    for row in rows:
        size = row_bytes(row, embed_real=embed_real)
        if group and (filled + size > max_bytes or len(group) == max_rows):
            yield group
            group, filled = [], 0
        group.append(row)
        filled += size
    if group:
        yield group


def _with_videos(row: Row, embed_real: bool) -> dict[str, Any]:
    columns: dict[str, Any] = {**row.columns(), "real_video": None, "synthetic_video": None}
    video = row.synthetic
    if video is not None and video.reference is not None:
        columns["synthetic_video"] = {"bytes": None, "path": video.reference}
    elif video is not None:
        content = _read_checked(video.path, video.sha256, row.id)
        columns["synthetic_video"] = {"bytes": content, "path": video.path.name}
    embedded = row.real is not None and embed_real
    if row.real is not None and embedded:
        content = _read_checked(row.real.path, row.real_sha256, row.id)
        columns["real_video"] = {"bytes": content, "path": row.real.path.name}
    elif row.real is not None:
        columns["real_video"] = {"bytes": None, "path": row.real.reference}
    # True only where the row itself holds the video: on another machine a path means nothing
    # until `load_triplets(real_root=…)` has found it there.
    return {**columns, "real_available": embedded}


def _read_checked(path: Path, sha256: str | None, row_id: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        problem = "a video that was there when it was checked cannot be read"
        raise VideoError(problem, file=path, row=row_id, found=str(error)) from error
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise VideoError(
            "a video changed while the dataset was being built",
            file=path,
            row=row_id,
            found=f"sha256 {found}",
            expected=f"sha256 {sha256}",
            fix="Delete OUT/.work/videos and run the build again, when nothing writes to that folder",
        )
    return data


@cache
def _leaf_columns(contrast: bool) -> tuple[str, ...]:
    """Parquet leaf paths of the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(arrow_schema(contrast=contrast).empty_table(), sink)
    schema = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return tuple(schema.column(index).path for index in range(len(schema)))


def shard_key_text(shard: Shard) -> Iterator[str]:
    """What the bytes of a shard depend on (the videos by their SHA-256): the text of a JSON list, piece by piece.

    A shard may have a million rows, so it is never whole in memory.
    """
    yield "[" + _key_json(shard.name)
    for row in shard.rows:
        reference = row.synthetic and row.synthetic.reference
        real = row.real and (row.real.reference, row.real_sha256)
        # Only where there is one, so that what was built without stays up to date.
        yield ", " + _key_json(
            {**row.columns(), "real": real, **({"synthetic": reference} if reference else {})}
        )
    yield "]"


def _key_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
