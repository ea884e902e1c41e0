"""Cut rows into Parquet shards and write them, streaming the videos through a bounded buffer.

The same rows give the same bytes, whoever writes a shard and however often it was interrupted.
"""

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import StoreError, VideoError
from synvita_data.schema import arrow_schema

from .joined import (
    BATCH,
    KEY,
    REAL_PATH,
    REAL_REFERENCE,
    REAL_SHA256,
    REFERENCE,
    SYNTHETIC_PATH,
    JoinedRows,
    key_json,
)
from .totals import Totals

if TYPE_CHECKING:
    import pyarrow as pa

# A row group is what a reader must load to see one row: the Hub's viewer gives up near 286 MiB, and
# the writer holds one group in memory. Videos close a group long before the row limit does.
ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_ROWS = BATCH
_VIDEO_COLUMNS = ("real_video", "synthetic_video")


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive rows of one split that share a Parquet file.

    Attributes:
        start, stop: its rows, among those of the split.
        contrast: of the config some row says how its contrast caption was written: all its files have the column.
    """

    split: str
    index: int
    count: int
    start: int
    stop: int
    contrast: bool = False

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}.parquet"

    @property
    def rows(self) -> int:
        """How many."""
        return self.stop - self.start


def plan_shards(totals: Totals, *, max_shard_bytes: int) -> list[Shard]:
    """Cut each split into shards of at most `max_shard_bytes` (one row may exceed it), in row order."""
    shards = []
    for split, members in totals.in_order():
        groups = list(_cut(members.sizes, max_shard_bytes, max_rows=None))
        shards += [
            Shard(split, index, len(groups), start, stop, bool(totals.writers))
            for index, (start, stop) in enumerate(groups)
        ]
    return shards


def write_shard(shard: Shard, rows: JoinedRows, path: Path, *, embed_real: bool) -> None:
    """Write one shard to `path`, a place where nobody looks before the file is whole.

    Args:
        shard: which rows.
        rows: of all shards.
        path: of the file.
        embed_real: put the real videos into it.

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
        sizes = rows.totals.splits[shard.split].sizes[shard.start : shard.stop]
        for start, stop in _cut(sizes, ROW_GROUP_BYTES, max_rows=ROW_GROUP_ROWS):
            group = rows.table(shard.split, shard.start + start, shard.start + stop)
            table = pa.Table.from_arrays(list(_with_videos(group, schema, embed_real)), schema=schema)
            writer.write_table(table, row_group_size=stop - start)
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


def _cut(sizes: Sequence[int], max_bytes: int, max_rows: int | None) -> Iterator[tuple[int, int]]:
    """First row of each group, and the one behind its last."""
    start = filled = 0
    for row, size in enumerate(sizes):
        if row > start and (filled + size > max_bytes or row - start == max_rows):
            yield start, row
            start, filled = row, 0
        filled += size
    if len(sizes) > start:
        yield start, len(sizes)


def _with_videos(group: "pa.Table", schema: "pa.Schema", embed_real: bool) -> Iterator["pa.Array"]:
    """The published columns of some rows, their videos read."""
    import pyarrow as pa

    def cells(name: str) -> list[Any]:
        found: list[Any] = group.column(name).to_pylist()
        return found

    for field in schema:
        if field.name == "synthetic_video":
            digests = (generation and generation["sha256"] for generation in cells("generation"))
            given = zip(cells("id"), cells(SYNTHETIC_PATH), cells(REFERENCE), digests, strict=True)
            yield pa.array([_synthetic(*each) for each in given], field.type)
        elif field.name == "real_video":
            given = zip(cells("id"), cells(REAL_PATH), cells(REAL_REFERENCE), cells(REAL_SHA256), strict=True)
            yield pa.array([_real(*each, embed_real) for each in given], field.type)
        elif field.name == "real_available":
            # True only where the row itself holds the video: on another machine a path means nothing
            # until `load_triplets(real_root=…)` has found it there.
            yield pa.array([embed_real and path is not None for path in cells(REAL_PATH)], field.type)
        else:
            yield group.column(field.name).combine_chunks()


def _synthetic(
    row_id: str, path: bytes | None, reference: str | None, sha256: str | None
) -> dict[str, Any] | None:
    if reference is not None:
        return {"bytes": None, "path": reference}
    return None if path is None else _embedded(row_id, path, sha256)


def _real(
    row_id: str, path: bytes | None, reference: str, sha256: str | None, embed: bool
) -> dict[str, Any] | None:
    if path is None:
        return None
    return _embedded(row_id, path, sha256) if embed else {"bytes": None, "path": reference}


def _embedded(row_id: str, place: bytes, sha256: str | None) -> dict[str, Any]:
    path = Path(os.fsdecode(place))
    return {"bytes": _read_checked(path, sha256, row_id), "path": path.name}


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


def shard_keys(shards: Sequence[Shard], rows: JoinedRows) -> Iterator[bytes]:
    """What the bytes of shards depend on (the videos by their SHA-256): of each the text of a JSON list, piece by piece.

    A shard may have a million rows, so it is never whole in memory.
    """
    keys: Iterator[bytes] = iter(())
    for shard in shards:
        if shard.start == 0:
            keys = (key for batch in rows.batches([KEY], shard.split) for key in batch.column(0).to_pylist())
        yield f"[{key_json(shard.name)}".encode()
        for key in islice(keys, shard.rows):
            yield b", " + key
        yield b"]"
