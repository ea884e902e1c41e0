"""The two file forms of VQAScore tables: our Parquet, written and read, and the long CSV, read only.

`vqascores` says what the rows mean; here they are only cells with names.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SchemaError, ScoreError
from ..files import atomic_path
from ..schema import check_schema_version
from ..weights import check_probability
from .csv_text import read_table

if TYPE_CHECKING:
    import pyarrow as pa

# Of score tables. 1.1 says which video was scored: `sha256`, `generator`, `sample`; readers of 1.0 pass over them.
SCORES_VERSION = "1.1"
SHA256 = re.compile(r"[0-9a-f]{64}")


class Cells(NamedTuple):
    """One row as it stands in the file: text, numbers (Parquet), None for a null or absent cell."""

    id: Any
    row: Any
    model: Any
    revision: Any
    method: Any
    frame: Any
    neg_caption_score: Any
    caption_score: Any
    videopath: Any
    caption: Any
    neg_caption: Any
    sha256: Any
    generator: Any
    sample: Any


REQUIRED = ("model", "neg_caption_score", "caption_score")


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row of a score table to be written.

    Attributes:
        id: row id (or pair id) of the dataset. model: name of the VQA model.
        neg_caption_score, caption_score: probabilities in [0, 1]; see `ModelScore`.
        revision, method: of the model, and how it looked at the video.
        frame: index of the one frame that was scored, None for a mean over frames.
        sha256: of the scored video's bytes, 64 lower-case hex digits.
        generator, sample: what made the video, and which of its samples it is, from 1.
    """

    id: str
    model: str
    neg_caption_score: float
    caption_score: float
    revision: str | None = None
    method: str | None = None
    frame: int | None = None
    sha256: str | None = None
    generator: str | None = None
    sample: int | None = None


def score_schema() -> "pa.Schema":
    """Columns of a score table in Parquet, with `schema_version` in the metadata."""
    import pyarrow as pa

    text, score = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("model", text, nullable=False),
            pa.field("revision", text),
            pa.field("method", text),
            pa.field("frame", pa.int32()),  # null: mean over frames
            pa.field("neg_caption_score", score, nullable=False),
            pa.field("caption_score", score, nullable=False),
            # Which video was scored; null where it is not known.
            pa.field("sha256", text),
            pa.field("generator", text),
            pa.field("sample", pa.int32()),
        ],
        metadata={"schema_version": SCORES_VERSION},
    )


def write_scores(path: str | Path, rows: Iterable[ScoreRow]) -> int:
    """Write a score table as Parquet, all of it or nothing; equal rows give equal bytes.

    Args:
        rows: taken as they come and written in batches.

    Returns:
        How many rows were written.

    Raises:
        ScoreError: an id or model is empty, a score NaN or outside [0, 1], a digest or sample is none, or a
            row comes twice; nothing is written and an older file stays as it was.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, schema = Path(path), score_schema()
    seen: set[tuple[Any, ...]] = set()
    remaining = iter(rows)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(islice(remaining, 50_000)):
            for row in batch:
                _check_row(row, seen, path)
            writer.write_table(
                pa.Table.from_pylist(
                    [{name: getattr(row, name) for name in schema.names} for row in batch], schema=schema
                )
            )
    return len(seen)


def _check_row(row: ScoreRow, seen: set[tuple[Any, ...]], path: Path) -> None:
    number = len(seen)
    video = (row.sha256, row.generator, row.sample)
    identity = (row.id, row.model, row.revision, row.method, row.frame, *video)
    if not row.id or not row.model or (row.frame is not None and row.frame < 0):
        raise ScoreError(
            "a score does not say whose it is",
            file=path,
            row=number,
            found=repr(row),
            expected="an id, a model, and a frame index or None",
        )
    if (row.sha256 is not None and not SHA256.fullmatch(row.sha256)) or (
        row.sample is not None and row.sample < 1
    ):
        raise ScoreError(
            "a score does not say which video it is of",
            file=path,
            row=number,
            found=f"sha256 {row.sha256!r}, sample {row.sample!r}",
            expected="64 lower-case hex digits and a sample from 1, or None",
        )
    if identity in seen:
        raise ScoreError(f"model {row.model} has two scores for one id", file=path, row=number, found=row.id)
    seen.add(identity)
    for name in ("neg_caption_score", "caption_score"):
        label = f"the {name} of model {row.model} for {row.id}"
        check_probability(getattr(row, name), label, file=str(path), row=number)


def read_cells(path: Path) -> Iterator[Cells]:
    """Rows of a score table, in file order: `.parquet` (or `.pq`), or else CSV.

    Raises:
        SchemaError: not readable, a column missing or there twice, another schema version.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return _parquet_cells(path)
    return _csv_cells(path)


def _csv_cells(path: Path) -> Iterator[Cells]:
    header, rows = read_table(path)
    positions = _positions(path, header)
    # An absent column reads the empty cell put after the last one.
    pick = itemgetter(*(len(header) if i is None else i for i in positions))
    for _, cells in rows:
        yield Cells._make(pick([*cells, ""]))


def _parquet_cells(path: Path) -> Iterator[Cells]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if schema.metadata and b"schema_version" in schema.metadata:
                check_schema_version(schema.metadata, file=str(path))
            positions = _positions(path, schema.names)
            for batch in file.iter_batches(columns=[schema.names[i] for i in positions if i is not None]):
                absent = [None] * len(batch)
                columns = [
                    absent if i is None else batch.column(schema.names[i]).to_pylist() for i in positions
                ]
                yield from map(Cells, *columns)
    except (pa.ArrowException, OSError) as error:
        raise SchemaError("not readable as Parquet", file=path, found=str(error)) from error


def _positions(path: Path, header: Sequence[str]) -> list[int | None]:
    """Where each field of `Cells` stands in the file, None for those that do not."""
    names = [name.strip().lower() for name in header]
    missing = [name for name in REQUIRED if name not in names]
    if not {"id", "row"} & set(names):
        missing.insert(0, "id (or row)")
    twice = [name for name in Cells._fields if names.count(name) > 1]
    if missing or twice:
        raise SchemaError(
            f"a score table lacks {', '.join(missing)}" if missing else f"a score table has two {twice[0]}",
            file=path,
            found=", ".join(names) or "an empty file",
            expected=f"id or row, {', '.join(REQUIRED)}",
        )
    return [names.index(name) if name in names else None for name in Cells._fields]
