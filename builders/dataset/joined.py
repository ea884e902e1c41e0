"""The joined rows of a config between join and shard, as Arrow batches by split: the first in memory, the others in a file.

Of a row nothing else is kept but its totals, so a million rows take a few megabytes.
"""

import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.files import SpillFile
from synvita_data.schema import VIDEO_COLUMNS, arrow_schema

from .rows import Row
from .totals import Totals

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a batch, which is also the most of a row group.
BATCH = 1000
# Batches that are held; a config of so many rows needs no disk.
HELD = 20
# The annotation part of a row, for planning only.
ROW_OVERHEAD_BYTES = 2048
# Of a row, what its bytes depend on; where its videos are, and how it refers to them.
KEY = "_key"
SYNTHETIC_PATH, REFERENCE = "_synthetic_path", "_reference"
REAL_PATH, REAL_REFERENCE, REAL_SHA256 = "_real_path", "_real_reference", "_real_sha256"


class JoinedRows:
    """Rows in the order in which they are added, to be read split by split.

    Args:
        folder: where the file is made, once there is need.
        embed_real: rows hold their real videos.
        batch: rows that are written and read at once.
        held: batches that are held.

    Attributes:
        totals: what a report says of them.
    """

    def __init__(self, folder: Path, *, embed_real: bool, batch: int = BATCH, held: int = HELD) -> None:
        self.totals = Totals()
        self._folder, self._embed_real = folder, embed_real
        self._size, self._left = batch, held
        self._open: dict[str, list[dict[str, Any]]] = {}
        # Split -> its batches: held, or begin and size in the file.
        self._batches: dict[str, list[pa.RecordBatch | tuple[int, int]]] = {}
        self._file: SpillFile | None = None
        self._last: tuple[str, int, pa.RecordBatch] | None = None

    def __len__(self) -> int:
        return len(self.totals)

    def add(self, row: Row) -> None:
        """Take one more.

        Raises:
            StoreError: there is no room for the file.
        """
        self.totals.add(row, row_bytes(row, embed_real=self._embed_real))
        split = row.triplet.split
        rows = self._open.setdefault(split, [])
        rows.append(_record(row))
        if len(rows) == self._size:
            self._close(split)

    def finish(self) -> None:
        """Say that there are no more rows."""
        for split in list(self._open):
            self._close(split)

    def batches(self, columns: Sequence[str], split: str | None = None) -> Iterator["pa.RecordBatch"]:
        """Some columns of all rows, or of a split's, in the order of the shards."""
        for name in sorted(self._batches) if split is None else [split]:
            for place in self._batches[name]:
                yield self._read(place, columns).select(columns)

    def table(self, split: str, start: int, stop: int) -> "pa.Table":
        """Rows of a split with all columns, in one piece.

        Args:
            split: its name.
            start: the first row, from 0.
            stop: behind the last one.
        """
        import pyarrow as pa

        pieces = []
        for number in range(start // self._size, (stop - 1) // self._size + 1):
            if self._last is None or self._last[:2] != (split, number):
                self._last = split, number, self._read(self._batches[split][number])
            first, batch = number * self._size, self._last[2]
            begin = max(start - first, 0)
            pieces.append(batch.slice(begin, min(stop - first, self._size) - begin))
        return pa.Table.from_batches(pieces).combine_chunks()

    def _close(self, split: str) -> None:
        import pyarrow as pa

        if not (rows := self._open.pop(split)):
            return
        batch = pa.RecordBatch.from_pylist(rows, schema=_schema())
        place: pa.RecordBatch | tuple[int, int] = batch
        if self._left > 0:
            self._left -= 1
        else:
            if self._file is None:
                self._file = SpillFile(self._folder)
            sink = pa.BufferOutputStream()
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
                writer.write_batch(batch)
            data = memoryview(sink.getvalue())
            place = self._file.append(data), len(data)
        self._batches.setdefault(split, []).append(place)

    def _read(
        self, place: "pa.RecordBatch | tuple[int, int]", columns: Sequence[str] | None = None
    ) -> "pa.RecordBatch":
        import pyarrow as pa

        if not isinstance(place, tuple):
            return place
        assert self._file is not None
        fields = None if columns is None else sorted(map(_schema().get_field_index, columns))
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        with pa.ipc.open_stream(pa.py_buffer(self._file.read(*place)), options=options) as reader:
            return reader.read_next_batch()


def row_bytes(row: Row, *, embed_real: bool) -> int:
    """About how many bytes a row takes, with the videos that it embeds."""
    video = row.synthetic
    size = ROW_OVERHEAD_BYTES + (video.path.stat().st_size if video and video.reference is None else 0)
    return size + (row.real.path.stat().st_size if embed_real and row.real else 0)


def _record(row: Row) -> dict[str, Any]:
    columns, video, real = row.columns(), row.synthetic, row.real
    reference = None if video is None else video.reference
    record = {
        **columns,
        # Only where there is one, so that what was built without stays up to date.
        KEY: key_json(
            {
                **columns,
                "real": real and (real.reference, row.real_sha256),
                **({"synthetic": reference} if reference else {}),
            }
        ).encode("utf-8", "surrogatepass"),  # a file's name may be no UTF-8
        REFERENCE: reference,
    }
    if video is not None:
        record[SYNTHETIC_PATH] = os.fsencode(video.path)
    if real is not None:
        record[REAL_PATH], record[REAL_REFERENCE] = os.fsencode(real.path), real.reference
        record[REAL_SHA256] = row.real_sha256
    return record


def key_json(value: Any) -> str:
    """What enters the digest of all inputs, as text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


@cache
def _schema() -> "pa.Schema":
    """All published columns but the videos, and what else of a row is needed to write it."""
    import pyarrow as pa

    published = [
        each for each in arrow_schema(contrast=True) if each.name not in (*VIDEO_COLUMNS, "real_available")
    ]
    own = [(KEY, pa.binary()), (SYNTHETIC_PATH, pa.binary()), (REFERENCE, pa.string())]
    own += [(REAL_PATH, pa.binary()), (REAL_REFERENCE, pa.string()), (REAL_SHA256, pa.string())]
    return pa.schema([*published, *own])
